//! The log: an append-only sequence of Arrow record batches in preallocated, memory-mapped segments.
//!
//! Imports run one way: [`frame`] ◀ [`block`], [`types`], [`encode`], [`decode`] ◀ [`segment`] ◀ [`recovery`],
//! [`append`], [`sync`], [`reader`] ◀ [`open`]. The log knows nothing of transforms, tables or Lance.

pub(crate) mod append;
pub(crate) mod block;
pub(crate) mod decode;
pub(crate) mod durability;
pub(crate) mod encode;
pub(crate) mod frame;
pub(crate) mod mapping;
pub(crate) mod open;
pub(crate) mod reader;
pub(crate) mod recovery;
pub(crate) mod segment;
pub(crate) mod sync;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_types;
pub(crate) mod types;

pub(crate) use append::{Log, LogOptions, create_directory, now_us};
pub(crate) use block::LogKind;
pub use durability::Durability;
pub(crate) use reader::Frame;
pub(crate) use segment::sync_directory;
pub(crate) use types::check_schema;
