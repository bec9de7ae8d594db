//! The log: an append-only sequence of Arrow record batches in preallocated, memory-mapped segments.
//!
//! Imports run one way: [`concurrency`], [`frame`] ◀ [`block`], [`types`], [`encode`], [`decode`] ◀ [`decoder`], [`producers`], [`storage`] ◀ [`segment`],
//! [`spare`] ◀ [`recovery`], [`pool`] ◀ [`append`] with [`writer`], [`publish`], [`sync`], [`keeper`], [`retain`]
//! and [`reader`] ◀ [`open`]. The log knows nothing of transforms, tables or Lance.

pub(crate) mod append;
pub(crate) mod block;
pub(crate) mod concurrency;
mod decode;
pub(crate) mod decoder;
pub(crate) mod encode;
pub(crate) mod frame;
pub(crate) mod keeper;
pub(crate) mod mapping;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod pool;
pub(crate) mod producers;
pub(crate) mod publish;
pub(crate) mod reader;
pub(crate) mod recovery;
pub(crate) mod retain;
pub(crate) mod rows;
pub(crate) mod segment;
pub(crate) mod spare;
pub(crate) mod storage;
pub(crate) mod sync;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tests_damage;
#[cfg(test)]
mod tests_disk;
#[cfg(test)]
mod tests_killed;
#[cfg(test)]
mod tests_staged;
#[cfg(test)]
mod tests_threads;
#[cfg(test)]
mod tests_types;
pub(crate) mod types;
pub(crate) mod writer;

pub(crate) use append::{Log, now_us};
pub(crate) use block::LogKind;
pub(crate) use decoder::Decoder;
pub use options::{Durability, WhenFull};
pub(crate) use options::{LogOptions, RECYCLED_SEGMENTS, Retention, SEGMENT_BYTES};
pub(crate) use producers::Source;
pub(crate) use reader::{Frame, LogReader};
pub(crate) use rows::ReadFrames;
pub use rows::{LogRows, LoggedBatch};
pub(crate) use storage::{create_directory, sync_directory};
pub(crate) use types::check_schema;
