//! Resizes pictures: PNG, JPEG, WebP and GIF (its first frame) in; JPEG, PNG or WebP out.
//!
//! Reads the binary column `image`; replaces it and adds `width` and `height`, the original's as a
//! viewer shows it (EXIF orientation applied). What cannot be decoded fails its own row only. Colour
//! profiles are neither applied nor kept. The options are [`Config`]'s fields.

mod canvas;
mod config;
mod encode;
mod error;
mod fit;

use alluvium_plugin::{
    Assets, Batch, BytesBuilder, Failure, Field, Int32Builder, Kind, Output, Plan, Transform,
    field, find_field, parse_config,
};

pub use config::{Colour, Config, Filter, Fit, Format};
pub use error::Error;
pub use fit::Layout;
use picture::{Decoder, MAX_SIDE, Size};

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
    let decoder = Decoder::new(encoded, config.max_pixels)?;
    let original = decoder.oriented_size();
    let layout = Layout::new(original, config);
    check_result(&layout)?;
    // Turned, flattened and padded, a result is held twice, with up to four channels.
    let results = 2 * 4 * layout.scaled.pixels().max(layout.canvas.pixels());
    let target = layout.target();
    let picture = decoder.decode_reduced(&target, results)?;
    let scaled = picture.scale(&target, config.filter.algorithm())?;
    let finished = canvas::finish(scaled, &layout, config);
    Ok(Resized {
        bytes: encode::encode(&finished, config)?,
        original,
    })
}

/// Refuses a result of which a side, which only the aspect decides, would be too long.
fn check_result(layout: &Layout) -> Result<(), picture::Error> {
    let size = layout.canvas;
    if size.width.max(size.height) > MAX_SIDE {
        let limit = format!("once enlarged: the limit is {MAX_SIDE} a side");
        return Err(picture::Error::TooLarge { size, limit });
    }
    Ok(())
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
                    failures.push(Failure::new(row, error));
                    None
                }
                None => None,
            };
            images.push(resized.as_ref().map(|resized| &resized.bytes))?;
            // No side is longer than MAX_SIDE.
            let side = |of: fn(&Size) -> u32| resized.as_ref().map(|it| of(&it.original) as i32);
            widths.push(side(|size| size.width));
            heights.push(side(|size| size.height));
        }
        let columns = vec![images.finish(), widths.finish(), heights.finish()];
        Ok(Output::one_to_one(batch, columns).with_failures(failures))
    }
}
