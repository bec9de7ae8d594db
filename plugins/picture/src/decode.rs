//! Decoding: from a file's bytes to 8-bit pixels, within limits that are checked beforehand.

use std::io::Cursor;

use fast_image_resize::PixelType;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::memory::Need;
use crate::{Error, MAX_SIDE, MEMORY_BUDGET, Size, Target, jpeg, webp};

/// A picture whose headers were read, and found to be within the limits.
pub struct Decoder<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    format: ImageFormat,
    jpeg: Option<jpeg::Headers>,
    size: Size,
    orientation: Orientation,
}

impl<'a> Decoder<'a> {
    /// Reads the headers. A picture with more than `max_pixels`, or a side longer than
    /// [`MAX_SIDE`], is refused.
    pub fn new(encoded: &'a [u8], max_pixels: u64) -> Result<Self, Error> {
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
        check_size(size, max_pixels)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(Self {
            decoder: Box::new(decoder),
            format,
            jpeg,
            size,
            orientation,
        })
    }

    /// The size as a viewer shows it.
    pub fn oriented_size(&self) -> Size {
        if turns(self.orientation) {
            self.size.turned()
        } else {
            self.size
        }
    }

    /// Decodes the pixels, to be scaled to `target`, of which `results` bytes will be made. A
    /// picture for which all that takes more than [`MEMORY_BUDGET`] is refused.
    pub fn decode(self, target: &Target, results: u64) -> Result<Picture, Error> {
        let Self {
            decoder,
            format,
            jpeg,
            size,
            orientation,
        } = self;
        let colour = decoder.color_type();
        let stored = if turns(orientation) {
            target.turned()
        } else {
            *target
        };
        let needed = Need {
            format,
            colour,
            size,
            target: &stored,
            results,
            jpeg,
        }
        .bytes();
        if needed > MEMORY_BUDGET {
            return Err(Error::TooMuchMemory { size, needed });
        }
        let mut data = vec![0; decoder.total_bytes() as usize];
        decoder.read_image_boxed(&mut data).map_err(decode_error)?;
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
        Ok(Picture {
            size,
            pixel,
            data,
            orientation,
        })
    }
}

impl std::fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("format", &self.format)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A decoded picture.
#[derive(Debug)]
pub struct Picture {
    /// The size as stored.
    pub(crate) size: Size,
    /// What a pixel is made of: 8-bit grey, grey and alpha, RGB, or RGBA.
    pub(crate) pixel: PixelType,
    /// The pixels, row by row.
    pub(crate) data: Vec<u8>,
    /// How the picture is to be turned and mirrored.
    pub(crate) orientation: Orientation,
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
pub(crate) fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn decode_error(error: ImageError) -> Error {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::Truncated
        }
        error => Error::Decode(error.to_string()),
    }
}
