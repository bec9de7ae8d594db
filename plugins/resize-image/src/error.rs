//! Why a picture could not be resized.

use std::fmt;

/// Why a picture could not be resized.
#[derive(Debug)]
pub enum Error {
    /// The picture could not be read or scaled.
    Picture(picture::Error),
    /// The result could not be encoded.
    Encode(String),
}

impl From<picture::Error> for Error {
    fn from(error: picture::Error) -> Self {
        Self::Picture(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Picture(error) => error.fmt(f),
            Self::Encode(message) => write!(f, "the result does not encode: {message}"),
        }
    }
}

impl std::error::Error for Error {}
