//! What is done with a table's lake: flushes, alterations, indices, dead letters, backfills.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use super::{Table, TableInner};
use crate::alteration::Alteration;
use crate::backfill::{self, BackfillReport};
use crate::dead_letters::{self, DeadLetterFilter, DeadLetterRows, RetryReport};
use crate::error::{Error, Result};
use crate::index::{IndexKind, IndexSpec};
use crate::made_by::{self, MadeBy};
use crate::read::nearest::Nearest;
use crate::tier::maintainer::MaintenanceStatus;
use crate::tier::tierer::Wanted;
use crate::transform::TransformSpec;

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
    /// [`Error::Tiering`] with what a round failed with, when one does. The log keeps the rows, and tiering goes on
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
    /// Tiers everything that was appended before, and returns once it is in the lake: one past the last
    /// offset that is. Dead letters that could not be settled in their dataset before are tried once more.
    ///
    /// # Errors
    ///
    /// [`Error::Tiering`] with what a round failed with, when one does. The log keeps the rows, and tiering goes on
    /// trying in the background. Dead letters that cannot be settled are no error here:
    /// [`TableStatus::dead_letters_error`](crate::TableStatus::dead_letters_error) tells.
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

    /// The records that a transform failed on and whose round is in the lake, oldest first: the table's
    /// columns, `__offset`, `__timestamp`, `__transform`, `__plugin` (its SHA-256) and `__error`. They are read as they
    /// are needed, from the Lance dataset that they are settled in
    /// ([`TableStatus::dead_letters_uri`](crate::TableStatus::dead_letters_uri)) and from the log where they wait for that.
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
    /// [`Error::Plugin`] and [`Error::Transform`] when a transform cannot be opened, [`Error::RecordFailed`] for a letter that
    /// fails in a transform whose `on_error` is `fail`. What was retried before the error stays so.
    /// [`Error::Unavailable`] when the store is closed or open read-only.
    pub fn retry_dead_letters(&self, filter: &DeadLetterFilter) -> Result<RetryReport> {
        self.check_writable("retry dead letters")?;
        dead_letters::retry(&self.inner, filter)
    }

    /// Drops dead letters for good; how many. [`TableStatus::dropped`](crate::TableStatus::dropped) counts them. It survives
    /// a crash once this returned. Where their dataset is gone, [`DeadLetterFilter::all`] gives up what it had, and begins a
    /// new one.
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
