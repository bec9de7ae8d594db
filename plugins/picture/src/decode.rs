//! Decoding: from a file's bytes to 8-bit pixels, within limits that are checked beforehand.

use std::io::Cursor;

use fast_image_resize::PixelType;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use jpeg_decoder::PixelFormat;

use crate::memory::Need;
use crate::{Error, MAX_SIDE, MEMORY_BUDGET, Size, Target, jpeg, webp};

/// A picture whose headers were read, and found to be within the limits.
pub struct Decoder<'a> {
    encoded: &'a [u8],
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
            encoded,
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

    /// Decodes the pixels, to be scaled to `target`, of which `results` bytes will be made. A picture for which all that takes
    /// more than [`MEMORY_BUDGET`] is refused.
    pub fn decode(self, target: &Target, results: u64) -> Result<Picture, Error> {
        let stored = self.stored(target);
        self.decode_whole(&stored, results)
    }

    /// As [`Decoder::decode`], but a JPEG of which much less is wanted is reduced to a half, a quarter or an eighth of its size
    /// while it is decoded, which takes less time and memory. Nobody will see it, though what is made of other copies of the
    /// picture can differ by more than what is made of all pixels does.
    pub fn decode_reduced(self, target: &Target, results: u64) -> Result<Picture, Error> {
        let stored = self.stored(target);
        match self.reduced(&stored, results) {
            Some(picture) => Ok(picture),
            None => self.decode_whole(&stored, results),
        }
    }

    /// A target as the file has it.
    fn stored(&self, target: &Target) -> Target {
        if turns(self.orientation) {
            target.turned()
        } else {
            *target
        }
    }

    /// `None` where that cannot be done, or saves nothing.
    fn reduced(&self, stored: &Target, results: u64) -> Option<Picture> {
        if !self.jpeg?.has_certain_colours() {
            return None;
        }
        let (pixel, format) = match self.decoder.color_type() {
            ColorType::L8 => (PixelType::U8, PixelFormat::L8),
            ColorType::Rgb8 => (PixelType::U8x3, PixelFormat::RGB24),
            _ => return None,
        };
        let by = jpeg::reduction(stored);
        if by == 1 || self.need(stored, results, by).bytes() > MEMORY_BUDGET {
            return None;
        }
        let size = jpeg::reduced(self.size, by);
        Some(Picture {
            size,
            reduced_by: by,
            pixel,
            data: jpeg::decode_reduced(self.encoded, size, format)?,
            orientation: self.orientation,
        })
    }

    fn need<'t>(&self, target: &'t Target, results: u64, reduced_by: u32) -> Need<'t> {
        Need {
            format: self.format,
            colour: self.decoder.color_type(),
            size: self.size,
            target,
            results,
            jpeg: self.jpeg,
            reduced_by,
        }
    }

    fn decode_whole(self, stored: &Target, results: u64) -> Result<Picture, Error> {
        let needed = self.need(stored, results, 1).bytes();
        let Self {
            decoder,
            size,
            orientation,
            ..
        } = self;
        if needed > MEMORY_BUDGET {
            return Err(Error::TooMuchMemory { size, needed });
        }
        let colour = decoder.color_type();
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
            reduced_by: 1,
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
    /// The size of what was decoded, not turned yet.
    pub(crate) size: Size,
    /// How many pixels of the file, each way, became one.
    pub(crate) reduced_by: u32,
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
