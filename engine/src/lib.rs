//! Alluvium: an embedded storage engine for streams of multimodal records.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod error;

pub use error::{Error, Result};
