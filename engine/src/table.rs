//! A table: a schema, its log, its transforms and its lake.

mod lake;
mod ticket;

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use uuid::Uuid;

use crate::catalog::FIRST_SCHEMA_ID;
use crate::error::{Error, Result};
use crate::log::{Log, LogKind, LogOptions, LogRows, Source};
use crate::metrics::LogSnapshot;
use crate::options::Settings;
use crate::pipeline::Pipeline;
use crate::read::frames::TableFrames;
use crate::status::TableStatus;
use crate::tier::context::TierContext;
use crate::tier::maintainer::Maintainer;
use crate::tier::metrics::TierSnapshot;
use crate::tier::scheduler::Scheduler;
use crate::tier::tierer::Tierer;
use crate::verify::VerifyReport;
pub use lake::Flush;
pub use ticket::Ticket;

/// A handle on a table of an open [`Store`](crate::Store); cheap to clone, and safe to share between threads.
///
/// What is appended is readable at once, tiered into the table's Lance dataset in the background, and
/// released from the log when it is safe there.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) inner: Arc<TableInner>,
    /// `None` when the store is open read-only.
    pub(crate) scheduler: Option<Arc<Scheduler>>,
}

#[derive(Debug)]
pub(crate) struct TableInner {
    pub(crate) name: String,
    pub(crate) raw: Log,
    pub(crate) pipeline: Pipeline,
    pub(crate) tierer: Tierer,
    pub(crate) maintainer: Maintainer,
}

impl Table {
    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The columns that are appended: those of now, as [`Table::alter`] changes them.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(self.inner.tierer.context.shape().schemas.newest())
    }

    /// The columns of the lake: the table's, what the transforms make of them, and `__bucket`, `__offset`
    /// and `__timestamp` (of the append, microseconds UTC).
    #[must_use]
    pub fn lake_schema(&self) -> SchemaRef {
        Arc::clone(&self.inner.tierer.context.shape().lake_schema)
    }

    /// The Lance dataset that the table is tiered into: a path, or the URI that it was created with.
    #[must_use]
    pub fn lake_uri(&self) -> &str {
        &self.inner.tierer.context.lake.uri
    }

    /// Appends a batch: all of its rows or, on an error, none.
    ///
    /// When this returns the rows are readable and survive the death of the process, and with
    /// [`Durability::Sync`](crate::Durability) power loss too; [`Ticket::wait`] waits for that in the other
    /// modes. The batch's columns must be the table's, in its order, or those that it had before it was
    /// [altered](Table::alter); its buffers are written as they are.
    ///
    /// # Errors
    ///
    /// - [`Error::SchemaMismatch`] and [`Error::RecordTooLarge`]: nothing was written.
    /// - [`Error::Io`]: a new segment could not be made, as when the disk is full. Nothing was written; the
    ///   call can be repeated.
    /// - [`Error::LogFull`]: the log has as many bytes as [`max_log_bytes`](crate::TableOptions::max_log_bytes)
    ///   allows, and tiering made no room in time. Nothing was written; the call can be repeated.
    /// - [`Error::Poisoned`]: a write or fsync failed, now or earlier; see there.
    /// - [`Error::Unavailable`]: the store is closed or open read-only.
    pub fn append(&self, batch: &RecordBatch) -> Result<Ticket> {
        self.append_from(batch, None)
    }

    /// Appends a batch unless it was appended before: a host that does not know whether a call succeeded, as
    /// after a crash, sends the batch again under the same number.
    ///
    /// `producer` tells apart who appends to the table at the same time (a shard's number, a random number that is
    /// kept); `sequence` numbers the producer's batches and grows with each, with gaps if need be: an offset of the
    /// source is a good one. Both are kept in the log beside the rows, so what is known survives a crash exactly when
    /// the rows do. A batch whose sequence is not above the producer's last is not appended: its ticket
    /// [is a duplicate's](Ticket::is_duplicate). An empty batch leaves no trace. The 4096 producers that
    /// appended last are remembered.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use alluvium::{Store, TableOptions};
    /// # use arrow_array::{Int64Array, RecordBatch};
    /// # let directory = tempfile::tempdir()?;
    /// # let store = Store::open(directory.path().join("store"))?;
    /// let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)])?;
    /// let table = store.create_table("numbers", TableOptions::new(batch.schema()))?;
    /// assert_eq!(table.append_once(7, 100, &batch)?.offsets(), 0..2);
    /// let again = table.append_once(7, 100, &batch)?;
    /// assert!(again.is_duplicate());
    /// assert_eq!(again.offsets(), 0..2);
    /// assert_eq!(table.last_sequence(7), Some(100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Table::append`].
    pub fn append_once(&self, producer: u64, sequence: u64, batch: &RecordBatch) -> Result<Ticket> {
        self.append_from(batch, Some(Source { producer, sequence }))
    }

    /// The sequence of a producer's newest batch; `None` for one that never appended or was forgotten, and in a
    /// store that is open read-only.
    #[must_use]
    pub fn last_sequence(&self, producer: u64) -> Option<u64> {
        self.inner.raw.last_sequence(producer)
    }

    fn append_from(&self, batch: &RecordBatch, source: Option<Source>) -> Result<Ticket> {
        let schema_id = self.check_batch(batch)?;
        // A batch that doesn't carry the schema's metadata is as good.
        let appended = self.inner.raw.append(batch, schema_id, source)?;
        Ok(Ticket {
            offsets: appended.base_offset..appended.end_offset,
            is_duplicate: appended.is_duplicate,
            table: Arc::clone(&self.inner),
        })
    }

    /// The rows that the log still has, from an offset on: a batch for each append, as it was appended, up to what
    /// was committed when [`Iterator::next`] is called. The first one may begin before `from`. Batches that were appended
    /// before the table was [altered](Table::alter) have the columns of now; should it be altered meanwhile, those of then
    /// from the first batch on that has them. The batches' buffers
    /// are the log's own mapped memory, which is not used for anything else as long as they live; nothing is copied.
    /// What was written since the store was opened is not checked again for damage ([`Table::verify`] does).
    /// [`LogRows::columns`] reads only some columns, which is several times faster where there are many.
    ///
    /// # Errors
    ///
    /// The iterator ends with [`Error::Invalid`] for an offset that is no longer in the log (it is in the lake), and
    /// [`Error::Corrupt`] for damage.
    pub fn read_log(&self, from: u64) -> LogRows {
        let frames = TableFrames::new(&self.inner.tierer.context);
        LogRows::new(&self.inner.raw, Box::new(frames), from)
    }

    /// What the table's log has counted since the store was opened.
    #[must_use]
    pub fn metrics(&self) -> LogSnapshot {
        self.inner.raw.metrics(self.inner.tierer.report().tiered)
    }

    /// What the table's staged log has counted since the store was opened: what transforms made. `None` for a table
    /// that never had transforms.
    #[must_use]
    pub fn staged_metrics(&self) -> Option<LogSnapshot> {
        let tiered = self.inner.tierer.report().tiered;
        self.inner.pipeline.log().map(|log| log.metrics(tiered))
    }

    /// What the table's tiering has done since the store was opened.
    #[must_use]
    pub fn tier_metrics(&self) -> TierSnapshot {
        self.inner.tierer.metrics.snapshot()
    }

    /// Gathers single rows and small batches into frames; see [`Appender`](crate::Appender). Best one to a table.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for options that cannot be, [`Error::Unavailable`] when the store is open read-only.
    pub fn appender(&self, options: crate::AppenderOptions) -> Result<crate::Appender> {
        crate::Appender::new(self.clone(), options)
    }

    /// The id of the schema that a batch is of.
    pub(crate) fn check_batch(&self, batch: &RecordBatch) -> Result<u16> {
        let fit = self.inner.tierer.context.shape().schemas.fit(batch);
        fit.map_err(|reason| Error::SchemaMismatch {
            table: self.inner.name.clone(),
            reason,
        })
    }

    /// Returns once everything that was appended before survives power loss.
    ///
    /// # Errors
    ///
    /// As [`Ticket::wait`].
    pub fn sync(&self) -> Result<()> {
        self.inner.raw.sync_through(self.inner.raw.committed())
    }

    /// What people ask of a table: how many rows are where, and what went wrong last. In the process that writes it is known
    /// without asking the lake, as of the last round; a store that is open read-only asks it.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] or [`Error::Io`] when the log cannot be read. None for a lake that cannot be reached: its error is
    /// in the status.
    pub fn status(&self) -> Result<TableStatus> {
        crate::status::of(&self.inner)
    }

    /// Reads every frame of the logs and every offset of the lake, and lists what does not hold.
    ///
    /// # Errors
    ///
    /// When it cannot be found out, as when the lake is unreachable; damage is not an error but a problem
    /// in the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        crate::verify::of(&self.inner)
    }
}

impl TableInner {
    /// Opens a table's log and prepares its tierer.
    pub(crate) fn open(name: &str, context: TierContext, read_only: bool) -> Result<Self> {
        let (table_id, settings) = (context.table_id, &context.settings);
        let options = raw_options(name, table_id, settings, &context.directory);
        let raw = match read_only {
            true => Log::open_read_only(options)?,
            false => Log::open(options, FIRST_SCHEMA_ID, None)?,
        };
        let tierer = Tierer::new(name, context);
        let tiered = tierer.report().tiered;
        if !read_only && tiered > raw.committed() {
            // Offsets that the lake has must not be given out again.
            return Err(Error::LakeMismatch {
                uri: tierer.context.lake.shown_uri(),
                reason: format!(
                    "it has table {name:?} up to offset {tiered}, and the log ends at {}; the log was replaced by an older copy",
                    raw.committed()
                ),
            });
        }
        if !read_only {
            tierer.context.writers.begin(raw.committed())?;
        }
        Ok(Self {
            maintainer: Maintainer::new(&tierer.context.directory),
            pipeline: Pipeline::open(name, &tierer.context, &raw, tiered, read_only)?,
            name: name.to_owned(),
            raw,
            tierer,
        })
    }
}

/// How a table's raw log is kept.
pub(crate) fn raw_options(
    name: &str,
    table_id: Uuid,
    settings: &Settings,
    directory: &Path,
) -> LogOptions {
    let directory = directory.join(LogKind::Raw.directory());
    LogOptions {
        segment_bytes: settings.segment_bytes,
        durability: settings.durability,
        recycled_segments: settings.recycled_segments,
        max_bytes: settings.max_log_bytes,
        when_full: settings.when_full,
        retention: settings.retention,
        ..LogOptions::new(&directory, name, table_id, LogKind::Raw)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;

    use super::*;
    use crate::{Durability, StoreOptions, TableOptions};

    #[test]
    fn a_lake_is_never_ahead_of_what_the_log_has_after_power_loss() {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreOptions::new()
            .tiering(false)
            .open(dir.path().join("s"))
            .unwrap();
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("n", column as _)]).unwrap();
        let options = TableOptions::new(batch.schema()).durability(Durability::Buffered);
        let table = store.create_table("t", options).unwrap();
        let _ = table.append(&batch).unwrap();
        assert_eq!(table.inner.raw.durable(), 0);
        table.flush_to_lake().unwrap();
        assert_eq!(table.inner.raw.durable(), 3);
    }
}
