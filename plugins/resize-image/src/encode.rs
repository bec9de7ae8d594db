//! Encoding.

use std::io::Cursor;

use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;

use crate::config::{Config, Format};
use crate::error::Error;

/// The picture as a file of the wanted format.
pub(crate) fn encode(image: &DynamicImage, config: &Config) -> Result<Vec<u8>, Error> {
    let mut bytes = Cursor::new(Vec::new());
    match config.format {
        Format::Jpeg => {
            // Validated to be at most 100.
            let quality = u8::try_from(config.quality).unwrap_or(100);
            image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))
        }
        Format::Png => image.write_with_encoder(PngEncoder::new(&mut bytes)),
        Format::Webp => image.write_with_encoder(WebPEncoder::new_lossless(&mut bytes)),
    }
    .map_err(|error| Error::Encode(error.to_string()))?;
    Ok(bytes.into_inner())
}
