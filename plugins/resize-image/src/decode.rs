//! Decoding: from a file's bytes to 8-bit pixels, within limits that are checked beforehand.

use std::io::Cursor;

use fast_image_resize::PixelType;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::config::{Config, MAX_SIDE};
use crate::error::Error;
use crate::fit::{Layout, Size};
use crate::memory::{MEMORY_BUDGET, Need};
use crate::{jpeg, webp};

/// A decoded picture.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The size as stored.
    pub(crate) size: Size,
    /// What a pixel is made of: 8-bit grey, grey and alpha, RGB, or RGBA.
    pub(crate) pixel: PixelType,
    /// The pixels, row by row.
    pub(crate) data: Vec<u8>,
    /// How the picture is to be turned and mirrored.
    pub(crate) orientation: Orientation,
}

impl Picture {
    /// The size as a viewer shows it.
    pub(crate) fn oriented_size(&self) -> Size {
        oriented(self.size, self.orientation)
    }

    /// Whether a viewer swaps width and height.
    pub(crate) fn is_turned(&self) -> bool {
        turns(self.orientation)
    }
}

/// Decodes a picture, and lays it out as a viewer shows it.
pub(crate) fn decode(encoded: &[u8], config: &Config) -> Result<(Picture, Layout), Error> {
    let format = image::guess_format(encoded).map_err(|_| Error::UnknownFormat)?;
    let jpeg = match format {
        ImageFormat::Jpeg => Some(jpeg::Headers::read(encoded)?),
        ImageFormat::WebP => webp::check_chunks(encoded).map(|()| None)?,
        ImageFormat::Png | ImageFormat::Gif => None,
        _ => return Err(Error::UnknownFormat),
    };
    let mut reader = ImageReader::with_format(Cursor::new(encoded), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MEMORY_BUDGET);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(decode_error)?;

    let (width, height) = decoder.dimensions();
    let size = Size::new(width, height);
    check_size(size, config.max_pixels)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let layout = Layout::new(oriented(size, orientation), config);
    check_output(&layout)?;
    let colour = decoder.color_type();
    let stored = if turns(orientation) {
        layout.turned()
    } else {
        layout
    };
    let needed = Need {
        format,
        colour,
        size,
        layout: &stored,
        jpeg,
    }
    .bytes();
    if needed > MEMORY_BUDGET {
        return Err(Error::TooMuchMemory { size, needed });
    }

    let mut data = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut data).map_err(decode_error)?;
    let (pixel, data) = match colour {
        ColorType::L8 => (PixelType::U8, data),
        ColorType::La8 => (PixelType::U8x2, data),
        ColorType::Rgb8 => (PixelType::U8x3, data),
        ColorType::Rgba8 => (PixelType::U8x4, data),
        ColorType::L16 => (PixelType::U8, narrow(&data)),
        ColorType::La16 => (PixelType::U8x2, narrow(&data)),
        ColorType::Rgb16 => (PixelType::U8x3, narrow(&data)),
        ColorType::Rgba16 => (PixelType::U8x4, narrow(&data)),
        other => {
            return Err(Error::Decode(format!(
                "{other:?} pixels are not understood"
            )));
        }
    };
    Ok((
        Picture {
            size,
            pixel,
            data,
            orientation,
        },
        layout,
    ))
}

/// Refuses a picture that is empty, or beyond the limits on its pixels.
fn check_size(size: Size, max_pixels: u64) -> Result<(), Error> {
    if size.pixels() == 0 {
        return Err(Error::Decode("it has no pixels".to_owned()));
    }
    if size.width.max(size.height) > MAX_SIDE {
        let limit = format!("the limit is {MAX_SIDE} a side");
        return Err(Error::TooLarge { size, limit });
    }
    if size.pixels() > max_pixels {
        let limit = format!("the limit is {max_pixels} in all (`max_pixels`)");
        return Err(Error::TooLarge { size, limit });
    }
    Ok(())
}

/// Refuses a result of which a side, which only the aspect decides, would be too long.
fn check_output(layout: &Layout) -> Result<(), Error> {
    let size = layout.canvas;
    if size.width.max(size.height) > MAX_SIDE {
        let limit = format!("once enlarged: the limit is {MAX_SIDE} a side");
        return Err(Error::TooLarge { size, limit });
    }
    Ok(())
}

/// 16-bit channels, rounded to 8 bits.
fn narrow(data: &[u8]) -> Vec<u8> {
    let (channels, _) = data.as_chunks();
    let rounded = |channel: &[u8; 2]| (u32::from(u16::from_ne_bytes(*channel)) + 128) / 257;
    channels
        .iter()
        .map(|channel| rounded(channel) as u8)
        .collect()
}

/// Whether an orientation swaps width and height.
fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn oriented(size: Size, orientation: Orientation) -> Size {
    if turns(orientation) {
        size.turned()
    } else {
        size
    }
}

fn decode_error(error: ImageError) -> Error {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::Truncated
        }
        error => Error::Decode(error.to_string()),
    }
}
