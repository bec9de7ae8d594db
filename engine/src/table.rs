//! A table: a schema, its log, its transforms and its lake.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use uuid::Uuid;

use crate::alteration::Alteration;
use crate::backfill::{self, BackfillReport};
use crate::catalog::FIRST_SCHEMA_ID;
use crate::dead_letters::{self, DeadLetterFilter, DeadLetterRows, RetryReport};
use crate::error::{Error, Result};
use crate::index::{IndexKind, IndexSpec};
use crate::log::{Log, LogKind, LogOptions, LogRows, Source};
use crate::made_by::{self, MadeBy};
use crate::metrics::LogSnapshot;
use crate::options::Settings;
use crate::pipeline::Pipeline;
use crate::read::frames::TableFrames;
use crate::read::nearest::Nearest;
use crate::status::TableStatus;
use crate::tier::context::TierContext;
use crate::tier::maintainer::{Maintainer, MaintenanceStatus};
use crate::tier::metrics::TierSnapshot;
use crate::tier::scheduler::Scheduler;
use crate::tier::tierer::{Tierer, Wanted};
use crate::transform::TransformSpec;
use crate::verify::VerifyReport;

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

/// What [`Table::append`] gives: the rows' offsets, and a way to wait for them to be durable.
#[derive(Debug)]
#[must_use = "rows survive power loss only once `wait` returned, unless the table's durability is Sync"]
pub struct Ticket {
    offsets: Range<u64>,
    is_duplicate: bool,
    table: Arc<TableInner>,
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
    /// [`Error::Poisoned`] or [`Error::Io`] when the disk fails: then it is not known whether they do.
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

/// Rows on their way to the lake, as [`Table::start_flush`] asked. They go on when this is dropped.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use alluvium::{Store, TableOptions};
/// # use arrow_array::{Int64Array, RecordBatch};
/// # let directory = tempfile::tempdir()?;
/// # let store = Store::open(directory.path().join("store"))?;
/// # let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)])?;
/// # let table = store.create_table("numbers", TableOptions::new(batch.schema()))?;
/// table.append(&batch)?.wait()?;
/// let flush = table.start_flush()?;
/// while flush.wait_for(Duration::from_millis(100))?.is_none() {
///     // Something else is done meanwhile.
/// }
/// assert!(flush.is_done());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "wait for it, or ask whether it is done"]
pub struct Flush {
    table: Arc<TableInner>,
    wanted: Wanted,
}

impl Flush {
    /// Returns once the rows are in the lake: one past the last offset that is.
    ///
    /// # Errors
    ///
    /// [`Error::Tiering`] with the reason when a round fails. The log keeps the rows, and tiering goes on
    /// trying in the background.
    pub fn wait(&self) -> Result<u64> {
        let tiered = self.table.tierer.wait(&self.wanted, None)?;
        Ok(tiered.unwrap_or_default())
    }

    /// As [`Flush::wait`], for so long at most; `None` when it is not done by then.
    ///
    /// # Errors
    ///
    /// As [`Flush::wait`].
    pub fn wait_for(&self, patience: Duration) -> Result<Option<u64>> {
        let until = Instant::now().checked_add(patience);
        self.table.tierer.wait(&self.wanted, until)
    }

    /// Whether the rows are in the lake.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.table.tierer.is_done(&self.wanted)
    }
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
        self.inner.raw.metrics()
    }

    /// What the table's staged log has counted since the store was opened: what transforms made. `None` for a table
    /// that never had transforms.
    #[must_use]
    pub fn staged_metrics(&self) -> Option<LogSnapshot> {
        self.inner.pipeline.log().map(|log| log.metrics())
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

    /// Tiers everything that was appended before, and returns once it is in the lake: one past the last
    /// offset that is. Dead letters that could not be settled in their dataset before are tried once more.
    ///
    /// # Errors
    ///
    /// [`Error::Tiering`] with the reason when a round fails. The log keeps the rows, and tiering goes on
    /// trying in the background. Dead letters that cannot be settled are no error here:
    /// [`TableStatus::dead_letters_error`] tells.
    pub fn flush_to_lake(&self) -> Result<u64> {
        self.start_flush()?.wait()
    }

    /// Has everything that was appended before tiered now, and does not wait for it: the handle does, or tells.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the store is open read-only.
    pub fn start_flush(&self) -> Result<Flush> {
        let scheduler = self.scheduler.as_ref().ok_or(Error::Unavailable {
            action: "tier",
            state: "open read-only",
        })?;
        let wanted = self.inner.tierer.want(self.inner.raw.committed());
        scheduler.wake();
        Ok(Flush {
            table: Arc::clone(&self.inner),
            wanted,
        })
    }

    /// Gives the table other transforms, while rows are appended and tiered. Their plugins are copied into the store,
    /// compiled and opened first; they take over at the next frame that isn't transformed yet. A frame is transformed
    /// once, by the ones or the others, and the commit of its round names them. The lake keeps its columns and
    /// gets the new ones, null in the rows that it has. It survives a crash once this returned.
    ///
    /// # Errors
    ///
    /// [`Error::Plugin`] and [`Error::Transform`] for transforms that don't fit, [`Error::Invalid`] when they would
    /// change a column's type, [`Error::Lake`] and [`Error::LakeMismatch`] when the lake cannot be given its new columns:
    /// then the old ones go on. [`Error::Unavailable`] when the store is open read-only.
    pub fn replace_transforms(&self, transforms: &[TransformSpec]) -> Result<()> {
        self.check_writable("replace transforms")?;
        crate::reshape::replace_transforms(&self.inner, transforms)
    }

    /// Adds, widens and drops columns, all of them or none, while rows are appended and tiered. It survives a crash once
    /// this returned.
    ///
    /// From then on [`Table::schema`] is the new one. Rows that were appended before are read under it, wherever they are:
    /// columns that they lack are null, narrower values are cast, dropped columns left out. Batches of the columns that the
    /// table had before are still taken, and appenders and producers that are at work go on. The transforms are opened
    /// anew on the new columns; rows that they made something of already are not transformed again.
    ///
    /// In the lake, adding and dropping columns costs only metadata, whatever its size; a column that is widened is
    /// written anew, during which this table's rounds wait, and an index of it is dropped there and built again. Indices of
    /// dropped columns are wanted no more. Where tables share a lake its columns change for all of them: give each the same
    /// alterations.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use alluvium::{Alteration, Store, TableOptions};
    /// # use arrow_array::{Int32Array, RecordBatch};
    /// # use arrow_schema::{DataType, Field};
    /// # let directory = tempfile::tempdir()?;
    /// # let store = Store::open(directory.path().join("store"))?;
    /// # let batch = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![1, 2])) as _)])?;
    /// let table = store.create_table("numbers", TableOptions::new(batch.schema()))?;
    /// let _ = table.append(&batch)?;
    /// table.alter(&[
    ///     Alteration::Add(Field::new("note", DataType::Utf8, true)),
    ///     Alteration::Widen { column: "n".to_owned(), to: DataType::Int64 },
    /// ])?;
    /// let _ = table.append(&batch)?; // as before: n is cast, note is null
    /// assert_eq!(table.schema().field(0).data_type(), &DataType::Int64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing was changed then. [`Error::Invalid`] for a column that can't be added, widened or dropped;
    /// [`Error::Transform`] when a transform doesn't fit the new columns, as when it reads one that is dropped;
    /// [`Error::Lake`] when the lake cannot be reached or changed, [`Error::LakeMismatch`] when it has a column of that name
    /// and another type; [`Error::Unavailable`] when the store is open read-only.
    ///
    /// Once the lake was reached and what is to become of it written down, an outage in the midst of it is no error: the
    /// columns are the new ones, and the lake gets them before its next round.
    pub fn alter(&self, alterations: &[Alteration]) -> Result<()> {
        self.check_writable("alter a table")?;
        crate::reshape::alter(&self.inner, alterations)
    }

    /// Has the lake keep an index of a column, from the moment when it has rows enough for one to pay: 10,000 for
    /// vectors, 4096 otherwise. It is built and then extended beside the rounds, as the table's
    /// [`Maintenance`](crate::Maintenance) says. An index that is wanted already is no error. Its name is the column's,
    /// `_` and the kind's. The wish survives a crash once this returned.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a column that the lake doesn't have, or that this kind doesn't fit;
    /// [`Error::Unavailable`] when the store is open read-only.
    pub fn create_index(&self, column: &str, kind: IndexKind) -> Result<()> {
        self.check_writable("create an index")?;
        crate::indices::create(&self.inner, IndexSpec::new(column, kind))
    }

    /// Drops an index from the lake, by its name. What read through it reads the rows themselves from then on.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for an index that the table doesn't have, [`Error::Lake`] when the lake can't be changed;
    /// [`Error::Unavailable`] when the store is open read-only.
    pub fn drop_index(&self, name: &str) -> Result<()> {
        self.check_writable("drop an index")?;
        crate::indices::drop(&self.inner, name)
    }

    /// Merges fragments, keeps indices up, removes old versions and garbage, now, until there is nothing left to do; see
    /// [`Maintenance`](crate::Maintenance). Rounds go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Lake`] when the lake can't be reached or changed; what was done before stays done.
    /// [`Error::Unavailable`] when the store is closed or open read-only.
    pub fn maintain(&self) -> Result<MaintenanceStatus> {
        self.check_writable("maintain a table")?;
        self.inner.maintainer.run_now(&self.inner.tierer.context)
    }

    fn check_writable(&self, action: &'static str) -> Result<()> {
        match self.scheduler {
            Some(_) => Ok(()),
            None => Err(Error::Unavailable {
                action,
                state: "open read-only",
            }),
        }
    }

    /// What people ask of a table: how many rows are where, and what went wrong last.
    ///
    /// # Errors
    ///
    /// None for a lake that cannot be reached: its error is in the status.
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

    /// The records that a transform failed on and whose round is in the lake, oldest first: the table's
    /// columns, `__offset`, `__timestamp`, `__transform`, `__plugin` (its SHA-256) and `__error`. They are read as they
    /// are needed, from the Lance dataset that they are settled in
    /// ([`TableStatus::dead_letters_uri`]) and from the log where they wait for that.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] for a damaged log, [`Error::Lake`] when the lake or that dataset cannot be read,
    /// [`Error::LakeMismatch`] when the dataset is gone.
    pub fn dead_letters(&self) -> Result<DeadLetterRows> {
        dead_letters::read(&self.inner, "*")
    }

    /// Puts dead letters through the transforms that the table has now. What comes of them goes to the lake, with the
    /// offsets and times that the rows have, once: also over a crash. They are dead letters no more then; those
    /// that fail again stay, with what they failed on now. The lake gets a commit for each 10,000 letters.
    ///
    /// Rows can be appended meanwhile; the table's rounds wait.
    ///
    /// # Errors
    ///
    /// [`Error::Lake`] and [`Error::LakeMismatch`] when the lake or the dataset of dead letters cannot be read or written,
    /// [`Error::Plugin`] and [`Error::Transform`] when a transform cannot be opened, [`Error::Tiering`] for a letter that
    /// fails in a transform whose `on_error` is `fail`. What was retried before the error stays so.
    /// [`Error::Unavailable`] when the store is closed or open read-only.
    pub fn retry_dead_letters(&self, filter: &DeadLetterFilter) -> Result<RetryReport> {
        self.check_writable("retry dead letters")?;
        dead_letters::retry(&self.inner, filter)
    }

    /// Drops dead letters for good; how many. [`TableStatus::dropped`] counts them. It survives a crash once this
    /// returned. Where their dataset is gone, [`DeadLetterFilter::all`] gives up what it had, and begins a new one.
    ///
    /// # Errors
    ///
    /// [`Error::Lake`] and [`Error::LakeMismatch`] when the lake or the dataset of dead letters cannot be read or written,
    /// [`Error::Unavailable`] when the store is closed or open read-only.
    pub fn drop_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        self.check_writable("drop dead letters")?;
        dead_letters::drop_those(&self.inner, filter)
    }

    /// Computes what a transform of the table makes, for the rows of the lake that it did not make as it is now: those of
    /// before it, and those of before it or its plugin were others. Its columns get their new values a fragment at a time, each
    /// in one commit; rows that it fails on or filters keep what they have. Appends, rounds and maintenance go on meanwhile.
    /// What was done survives a crash: called again, it goes on. It blocks until all is done.
    ///
    /// Only rows of this table's bucket are computed. Rows that were dead letters stay so; see
    /// [`Table::retry_dead_letters`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the table has no such transform, or its transforms were replaced meanwhile;
    /// [`Error::Transform`] when it makes several rows of one, or reads a column that the transforms overwrite;
    /// [`Error::TransformFailed`] when its `on_error` is `fail`; [`Error::Lake`] when the lake cannot be read or written;
    /// [`Error::Unavailable`] when the store is closed or open read-only.
    pub fn backfill(&self, transform: &str) -> Result<BackfillReport> {
        self.check_writable("backfill")?;
        backfill::run(&self.inner, transform)
    }

    /// Which versions of which plugins made how many of the table's rows in the lake. While a backfill runs its rows count to
    /// those that made them before.
    ///
    /// # Errors
    ///
    /// [`Error::Lake`] when the lake cannot be read.
    pub fn made_by(&self) -> Result<Vec<MadeBy>> {
        made_by::of(&self.inner)
    }

    /// The `k` rows of the lake whose `column` is nearest to a vector or a text, nearest first, with a
    /// column `_distance` (cosine). Exact: every row is compared.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is no such column, or, for a text, no transform that makes the column
    /// out of text; [`Error::Query`] when the vector's length is another.
    pub fn nearest(&self, column: &str, to: &Nearest, k: usize) -> Result<RecordBatch> {
        crate::read::nearest::find(&self.inner, column, to, k)
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
                uri: tierer.context.lake.uri.clone(),
                reason: format!(
                    "it has table {name:?} up to offset {tiered}, and the log ends at {}; the log was replaced by an older copy",
                    raw.committed()
                ),
            });
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
