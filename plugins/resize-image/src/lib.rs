//! Resizes pictures: PNG, JPEG, WebP and GIF (its first frame) in; JPEG, PNG or WebP out.
//!
//! Reads the binary column `image`; replaces it and adds `width` and `height`, the original's as a
//! viewer shows it (EXIF orientation applied). What cannot be decoded fails its own row only. Colour
//! profiles are neither applied nor kept. The options are [`Config`]'s fields.

mod canvas;
mod config;
mod decode;
mod encode;
mod error;
mod fit;
mod jpeg;
mod memory;
mod resize;
mod webp;

use alluvium_plugin::{
    Assets, Batch, BytesBuilder, Failure, Field, Int32Builder, Kind, Output, Plan, Transform,
    field, find_field, parse_config,
};

pub use config::{Colour, Config, Filter, Fit, Format};
pub use error::Error;
pub use fit::{Layout, Size};
pub use memory::MEMORY_BUDGET;

/// The transform.
#[derive(Debug)]
pub struct ResizeImage {
    config: Config,
    nullable: bool,
}

alluvium_plugin::export!(ResizeImage);

/// A picture that was resized.
#[derive(Debug)]
pub struct Resized {
    /// The encoded picture.
    pub bytes: Vec<u8>,
    /// The original's size, as oriented.
    pub original: Size,
}

/// Decodes, resizes and encodes one picture.
pub fn resize_image(encoded: &[u8], config: &Config) -> Result<Resized, Error> {
    let (picture, layout) = decode::decode(encoded, config)?;
    let original = picture.oriented_size();
    let resized = resize::resize(picture, &layout, config.filter)?;
    let finished = canvas::finish(resized, &layout, config);
    Ok(Resized {
        bytes: encode::encode(&finished, config)?,
        original,
    })
}

impl Transform for ResizeImage {
    fn open(config: &str, schema: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        let config = parse_config::<Config>(config)?;
        config.validate()?;
        let image = find_field(schema, "image", Kind::Binary)?;
        let nullable = image.nullable;
        let outputs = vec![
            field("image", Kind::Binary, nullable, 0),
            field("width", Kind::Int32, nullable, 0),
            field("height", Kind::Int32, nullable, 0),
        ];
        Ok((
            Self { config, nullable },
            Plan {
                inputs: vec![image.clone()],
                outputs,
            },
        ))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let mut images = BytesBuilder::new(self.nullable);
        let mut widths = Int32Builder::new(self.nullable);
        let mut heights = Int32Builder::new(self.nullable);
        let mut failures = Vec::new();
        for (row, encoded) in (0u32..).zip(batch.bytes(0)?.iter()) {
            let resized = match encoded.map(|encoded| resize_image(encoded, &self.config)) {
                Some(Ok(resized)) => Some(resized),
                Some(Err(error)) => {
                    failures.push(Failure {
                        row,
                        message: error.to_string(),
                    });
                    None
                }
                None => None,
            };
            images.push(resized.as_ref().map(|resized| resized.bytes.as_slice()))?;
            // No side is longer than MAX_SIDE.
            let side = |of: fn(&Size) -> u32| resized.as_ref().map(|it| of(&it.original) as i32);
            widths.push(side(|size| size.width));
            heights.push(side(|size| size.height));
        }
        let columns = vec![images.finish(), widths.finish(), heights.finish()];
        Ok(Output {
            rows: batch.rows() as u32,
            origin: None,
            columns,
            failures,
        })
    }
}
