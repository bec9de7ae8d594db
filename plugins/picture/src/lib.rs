//! Decodes and scales pictures (PNG, JPEG, WebP, and GIF's first frame) within limits that are
//! checked before anything is decoded: a few bytes of file can claim gigabytes of pixels.
//!
//! [`Decoder::new`] reads the headers; [`Decoder::decode`] the pixels, or [`Decoder::decode_reduced`]
//! as many as are wanted; [`Picture::scale`] cuts, scales and turns them upright. Colour profiles are
//! not applied.

mod decode;
mod error;
mod jpeg;
mod memory;
mod scale;
mod size;
mod webp;

pub use decode::{Decoder, Picture};
pub use error::Error;
pub use memory::MEMORY_BUDGET;
pub use scale::flatten;
pub use size::{Crop, Size, Target};

/// The longest side of a picture, in pixels, read or written.
pub const MAX_SIDE: u32 = 16_384;
