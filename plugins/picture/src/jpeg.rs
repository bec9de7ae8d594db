//! What the JPEG decoder does not tell before it decodes.

use crate::Error;

/// What a JPEG's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Whether all components come in one sequential scan, so that rows are decoded as they come.
    pub(crate) one_scan: bool,
    /// How many components there are: grey has 1, colour 3, CMYK 4.
    pub(crate) components: u8,
}

impl Headers {
    /// Reads the headers up to the first scan, and sees that the picture has an end: the decoder
    /// would fill what is missing with grey and call it a picture.
    pub(crate) fn read(encoded: &[u8]) -> Result<Self, Error> {
        let mut rest = encoded.get(2..).ok_or(Error::Truncated)?;
        let mut frame = None;
        loop {
            let (marker, segment, after) = next_segment(rest).ok_or(Error::Truncated)?;
            match marker {
                // A frame of any kind; C4, C8 and CC among these numbers mean something else.
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    let components = *segment.get(5).ok_or(Error::Truncated)?;
                    frame = Some((marker, components));
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
