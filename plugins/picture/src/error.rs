//! Why a picture could not be read.

use std::fmt;

use crate::Size;

/// Why a picture could not be read.
#[derive(Debug)]
pub enum Error {
    /// The bytes are of no format that is understood.
    UnknownFormat,
    /// The bytes end before the picture does.
    Truncated,
    /// The bytes break their format's rules.
    Decode(String),
    /// A side is longer, or there are more pixels, than the limits allow.
    TooLarge {
        /// The picture's size.
        size: Size,
        /// The limit that it breaks.
        limit: String,
    },
    /// Decoding or scaling the picture would take more memory than there is.
    TooMuchMemory {
        /// The picture's size.
        size: Size,
        /// The bytes that it would take.
        needed: u64,
    },
    /// The picture could not be scaled.
    Scale(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat => f.write_str("not a PNG, JPEG, WebP or GIF picture"),
            Self::Truncated => f.write_str("the picture is truncated"),
            Self::Decode(message) => write!(f, "the picture does not decode: {message}"),
            Self::TooLarge { size, limit } => {
                write!(f, "the picture is too large: {size} pixels, {limit}")
            }
            Self::TooMuchMemory { size, needed } => write!(
                f,
                "the picture is too large: {size} pixels would take {} MiB of memory, the limit is {} MiB",
                needed.div_ceil(1 << 20),
                crate::MEMORY_BUDGET >> 20
            ),
            Self::Scale(message) => write!(f, "the picture does not scale: {message}"),
        }
    }
}

impl std::error::Error for Error {}
