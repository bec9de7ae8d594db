//! Alluvium: an embedded storage engine for streams of multimodal records.
//!
//! A [`Store`] is a directory of [`Table`]s. What is [appended](Table::append) to a table, as Arrow record
//! batches, goes to its log, where it is readable at once and as durable as [`Durability`] says. In the
//! background, or when [`Table::flush_to_lake`] asks, the rows go through the table's transforms
//! (WebAssembly components, see [`transform`]) into a Lance dataset, the *lake*, exactly once. There
//! [`Store::query`], [`Table::nearest`] and any program that reads Lance find them.
//!
//! ```
//! use std::sync::Arc;
//! use alluvium::{Durability, Store, TableOptions};
//! use arrow_array::{Float64Array, RecordBatch, StringArray};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("store");
//! let batch = RecordBatch::try_from_iter([
//!     ("sensor", Arc::new(StringArray::from(vec!["roof", "cellar"])) as _),
//!     ("celsius", Arc::new(Float64Array::from(vec![21.5, 12.0])) as _),
//! ])?;
//! let store = Store::open(&path)?;
//! let options = TableOptions::new(batch.schema()).durability(Durability::Sync);
//! let readings = store.create_table("readings", options)?;
//! let ticket = readings.append(&batch)?; // survives power loss
//! assert_eq!(ticket.offsets(), 0..2);
//! readings.flush_to_lake()?;
//! for rows in store.query("SELECT sensor, celsius, __offset FROM readings WHERE celsius > 20")? {
//!     assert_eq!(rows?.num_rows(), 1);
//! }
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Terms
//!
//! *Offset*: a row's number in its table, 0, 1, 2, ... without holes. *Committed*: readable. *Durable*: survives
//! power loss. *Tiered*: in the lake, or a *dead letter* (a transform failed on it), or filtered by a transform.
//! *Freshness*: how old a row may grow before it is tiered.
//!
//! # Threads and runtimes
//!
//! Every call blocks and may be made from any thread, also from within an asynchronous runtime (where it
//! blocks that runtime's thread). A store has a runtime of its own for what Lance does.
//!
//! # Errors
//!
//! [`Error`] says what happened, to what, and what to do. After a failed write or fsync a table's log is
//! [poisoned](Error::Poisoned): it acknowledges nothing more until the store is reopened.

#![cfg_attr(
    not(feature = "lake"),
    allow(dead_code, unused_imports, rustdoc::broken_intra_doc_links)
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod benching;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod log;
mod metrics;
mod rows;

pub use self::metrics::{LatencySnapshot, LogSnapshot};
pub use error::{Cause, Error, ErrorKind, Result};
pub use log::{Durability, LogRows, LoggedBatch, WhenFull};
pub use rows::Value;

#[cfg(feature = "lake")]
mod alteration;
#[cfg(feature = "lake")]
mod appender;
#[cfg(feature = "lake")]
mod backfill;
#[cfg(feature = "lake")]
mod backoff;
#[cfg(feature = "lake")]
mod catalog;
#[cfg(feature = "lake")]
mod crash;
#[cfg(feature = "lake")]
mod dead_letters;
#[cfg(feature = "lake")]
mod executor;
#[cfg(feature = "lake")]
mod index;
#[cfg(feature = "lake")]
mod indices;
#[cfg(feature = "lake")]
mod lock;
#[cfg(feature = "lake")]
mod made_by;
#[cfg(feature = "lake")]
mod maintenance;
#[cfg(feature = "lake")]
mod options;
#[cfg(feature = "lake")]
mod pipeline;
#[cfg(feature = "lake")]
mod plugins;
#[cfg(feature = "lake")]
mod read;
#[cfg(feature = "lake")]
mod reshape;
#[cfg(feature = "lake")]
mod schemas;
#[cfg(feature = "lake")]
mod shape;
#[cfg(feature = "lake")]
mod status;
#[cfg(feature = "lake")]
mod store;
#[cfg(feature = "lake")]
mod table;
#[cfg(feature = "lake")]
mod tier;
#[cfg(feature = "transforms")]
pub mod transform;
#[cfg(feature = "lake")]
mod verify;

#[cfg(feature = "lake")]
pub use alteration::Alteration;
#[cfg(feature = "lake")]
pub use appender::{Appender, AppenderOptions};
#[cfg(feature = "lake")]
pub use backfill::BackfillReport;
#[cfg(feature = "lake")]
pub use dead_letters::{DeadLetterFilter, DeadLetterRows, RetryReport};
#[cfg(feature = "lake")]
pub use index::{IndexKind, IndexStatus};
#[cfg(feature = "lake")]
pub use made_by::MadeBy;
#[cfg(feature = "lake")]
pub use maintenance::Maintenance;
#[cfg(feature = "lake")]
pub use options::{StoreOptions, TableOptions};
#[cfg(feature = "lake")]
pub use read::nearest::Nearest;
#[cfg(feature = "lake")]
pub use read::query::QueryResult;
#[cfg(feature = "lake")]
pub use status::{TableStatus, TransformStatus};
#[cfg(feature = "lake")]
pub use store::Store;
#[cfg(feature = "lake")]
pub use table::{Flush, Table, Ticket};
#[cfg(feature = "lake")]
pub use tier::maintainer::MaintenanceStatus;
#[cfg(feature = "lake")]
pub use tier::metrics::TierSnapshot;
#[cfg(feature = "transforms")]
pub use transform::{Limits, OnError, TransformSpec};
#[cfg(feature = "lake")]
pub use verify::VerifyReport;

/// The README's example is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
