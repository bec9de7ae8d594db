//! What the JPEG decoder does not tell before it decodes, and decoding to a part of the size.
//!
//! The inverse cosine transform of a block of 8 by 8 pixels can give its 4 by 4, 2 by 2 or 1 by 1 means for less work (libjpeg's
//! `scale_denom`). What is scaled to less than half of that is as good as from all pixels.

use jpeg_decoder::PixelFormat;

use crate::{Error, MEMORY_BUDGET, Size, Target};

/// A picture is reduced to this many times the size that it is scaled to, or more, as Pillow's thumbnails are.
const GAP: f64 = 2.0;

/// What a JPEG's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Whether all components come in one sequential scan, so that rows are decoded as they come.
    pub(crate) one_scan: bool,
    /// How many components there are: grey has 1, colour 3, CMYK 4.
    pub(crate) components: u8,
    /// What Adobe's segment says of the colours, if there is one: 0 is RGB or CMYK as they are.
    pub(crate) adobe_transform: Option<u8>,
}

/// By how much a picture can be reduced before it is scaled: 1, 2, 4 or 8.
pub(crate) fn reduction(target: &Target) -> u32 {
    let Target { crop, size } = target;
    let across = crop.width / (GAP * f64::from(size.width));
    let down = crop.height / (GAP * f64::from(size.height));
    let most = across.min(down);
    let fits = |by: &u32| f64::from(*by) <= most;
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

/// The size of a picture that is reduced.
pub(crate) fn reduced(size: Size, by: u32) -> Size {
    Size::new(size.width.div_ceil(by), size.height.div_ceil(by))
}

/// Decodes a picture of some pixels to its [reduced] size; `None` when its pixels are others, or this decoder cannot.
pub(crate) fn decode_reduced(encoded: &[u8], size: Size, pixels: PixelFormat) -> Option<Vec<u8>> {
    let (width, height) = (
        u16::try_from(size.width).ok()?,
        u16::try_from(size.height).ok()?,
    );
    let mut decoder = jpeg_decoder::Decoder::new(encoded);
    decoder.set_max_decoding_buffer_size(MEMORY_BUDGET as usize);
    decoder.read_info().ok()?;
    let is_known = decoder.info()?.pixel_format == pixels;
    let is_reduced = is_known && decoder.scale(width, height).ok()? == (width, height);
    is_reduced.then(|| decoder.decode().ok())?
}

impl Headers {
    /// Whether both decoders take the colours for the same.
    pub(crate) fn has_certain_colours(&self) -> bool {
        self.components != 3 || self.adobe_transform != Some(0)
    }

    /// Reads the headers up to the first scan, and sees that the picture has an end: the decoder
    /// would fill what is missing with grey and call it a picture.
    pub(crate) fn read(encoded: &[u8]) -> Result<Self, Error> {
        let mut rest = encoded.get(2..).ok_or(Error::Truncated)?;
        let (mut frame, mut adobe_transform) = (None, None);
        loop {
            let (marker, segment, after) = next_segment(rest).ok_or(Error::Truncated)?;
            match marker {
                // A frame of any kind; C4, C8 and CC among these numbers mean something else.
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    let components = *segment.get(5).ok_or(Error::Truncated)?;
                    frame = Some((marker, components));
                }
                0xee if segment.starts_with(b"Adobe") => {
                    adobe_transform = segment.get(11).copied();
                }
                0xda => {
                    let in_scan = *segment.first().ok_or(Error::Truncated)?;
                    let (marker, components) =
                        frame.ok_or_else(|| Error::Decode("a scan without a frame".to_owned()))?;
                    if !after.windows(2).rev().any(|pair| pair == [0xff, 0xd9]) {
                        return Err(Error::Truncated);
                    }
                    let sequential = matches!(marker, 0xc0 | 0xc1);
                    return Ok(Self {
                        one_scan: sequential && in_scan == components,
                        components,
                        adobe_transform,
                    });
                }
                _ => {}
            }
            rest = after;
        }
    }
}

/// The next segment's marker and content, and what follows it.
fn next_segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    // Any number of FF may precede a marker, and sloppy writers leave other bytes in between.
    let start = bytes
        .windows(2)
        .position(|pair| matches!(pair, [0xff, 1..=0xfe]))?;
    let (marker, rest) = bytes.get(start + 1..)?.split_first()?;
    if matches!(marker, 0x01 | 0xd0..=0xd8) {
        return Some((*marker, &[], rest));
    }
    let (length, _) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    Some((*marker, rest.get(2..length)?, rest.get(length..)?))
}
