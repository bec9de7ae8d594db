//! The promise that appended rows are, or will be, durable.

use std::ops::Range;
use std::sync::Arc;

use super::TableInner;
use crate::error::Result;

/// What [`Table::append`](crate::Table::append) gives: the rows' offsets, and a way to wait for them to be durable.
#[derive(Debug)]
#[must_use = "rows survive power loss only once `wait` returned, unless the table's durability is Sync"]
pub struct Ticket {
    pub(super) offsets: Range<u64>,
    pub(super) is_duplicate: bool,
    pub(super) table: Arc<TableInner>,
}

impl Ticket {
    /// The rows' numbers in the table: 0, 1, 2, ... in the order in which they were appended.
    #[must_use]
    pub fn offsets(&self) -> Range<u64> {
        self.offsets.clone()
    }

    /// Whether nothing was appended, as the producer had appended the batch before. The offsets are those that it
    /// has since; empty when the producer has appended other batches after it.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// Returns once the rows survive power loss, forcing an `fdatasync` unless one has covered them.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`](crate::Error::Poisoned) or [`Error::Io`](crate::Error::Io) when the disk fails: then it is not
    /// known whether they do.
    pub fn wait(&self) -> Result<()> {
        self.table.raw.sync_through(self.offsets.end)
    }

    /// As [`Ticket::wait`], for asynchronous hosts: a background thread of the log syncs, for all who wait, and no
    /// thread of the host is blocked. Needs no particular runtime.
    ///
    /// # Errors
    ///
    /// As [`Ticket::wait`].
    pub async fn durable(&self) -> Result<()> {
        self.table.raw.durable_through(self.offsets.end).await
    }
}
