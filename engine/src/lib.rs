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

mod catalog;
mod error;
mod executor;
mod lock;
mod log;
mod options;
mod plugins;
mod read;
mod status;
mod store;
mod table;
mod tier;
pub mod transform;
mod verify;

pub use error::{Cause, Error, Result};
pub use options::{Durability, StoreOptions, TableOptions};
pub use read::nearest::Nearest;
pub use read::query::QueryResult;
pub use status::{TableStatus, TransformStatus};
pub use store::Store;
pub use table::{Table, Ticket};
pub use transform::{Limits, OnError, TransformSpec};
pub use verify::VerifyReport;
