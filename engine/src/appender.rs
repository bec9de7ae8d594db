//! Rows and small batches gathered into frames.

mod gathered;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::rows::Value;
use crate::table::{Table, Ticket};
use gathered::Gathered;

/// With it and a row's greatest size the 32-bit offsets of a frame's columns cannot overflow.
const BYTES_MAX: usize = 256 << 20;
/// How long the background waits at least before it tries again what could not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// When an [`Appender`] writes what it has gathered.
///
/// ```
/// # use std::time::Duration;
/// let options = alluvium::AppenderOptions::new()
///     .linger(Duration::from_millis(50))
///     .bytes(4 << 20);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct AppenderOptions {
    linger: Duration,
    bytes: usize,
}

impl Default for AppenderOptions {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(5),
            bytes: 1 << 20,
        }
    }
}

impl AppenderOptions {
    /// Every default.
    pub fn new() -> Self {
        Self::default()
    }

    /// How old a gathered row may grow before a background thread writes it, even if nothing more is given.
    /// `Duration::MAX`: never. Default: 5 ms.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How many bytes of rows make a frame, between 1 and 256 MiB; about as they take in the log, before
    /// padding. Default: 1 MiB.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

/// Gathers single rows and small batches, and appends them to a table as larger frames; made by
/// [`Table::appender`].
///
/// A frame is written when [`bytes`](AppenderOptions::bytes) are gathered, when the oldest row is as old as
/// [`linger`](AppenderOptions::linger), on [`flush`](Self::flush), and on drop. Rows keep the order in which
/// they were given, single ones and those of batches alike. Any number of threads may share an appender, by
/// reference or in an [`Arc`]; each thread's rows keep their order.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use alluvium::{AppenderOptions, Store, TableOptions};
/// use arrow_array::{Float64Array, RecordBatch, StringArray};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("store");
/// let batch = RecordBatch::try_from_iter([
///     ("celsius", Arc::new(Float64Array::from(vec![12.0, 11.5])) as _),
///     ("sensor", Arc::new(StringArray::from(vec!["cellar", "cellar"])) as _),
/// ])?;
/// let store = Store::open(&path)?;
/// let table = store.create_table("readings", TableOptions::new(batch.schema()))?;
/// let appender = table.appender(AppenderOptions::new().linger(Duration::MAX))?;
/// appender.append_row(&[21.5.into(), "roof".into()])?; // one row, its cells in the schema's order
/// appender.append(&batch)?; // gathered with it
/// assert_eq!(appender.pending_rows(), 3);
/// let ticket = appender.flush()?; // the three are readable, and survive the death of the process
/// assert_eq!(ticket.offsets(), 0..3);
/// ticket.wait()?; // and power loss
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What survives
///
/// Gathered rows are in memory only: they are **not acknowledged**, and lost when the process dies. Once a
/// [`flush`](Self::flush) that was called after they were given has returned, or
/// [`pending_rows`](Self::pending_rows) is 0 after they were given, they are acknowledged as by
/// [`Table::append`]. Drop or flush an appender before its store is closed: what is gathered then can no
/// longer be written.
///
/// # Errors
///
/// `append_row` and `append` have taken their rows if, and only if, they return `Ok`: a call that failed can
/// be repeated. When gathered rows could not be written, be it by a call or in the background, they
/// stay gathered, and the next call tries to write them before anything else: if that fails too it returns
/// the error, and takes nothing. So no more than a frame is ever held, and nothing is lost silently.
///
/// - [`Error::Io`], as when the disk is full: nothing was written. The background goes on trying (every
///   second, or every `linger` if that is longer); so does each call, and when one succeeds the rows are
///   written, once. Where more than that had failed, the next try says `Poisoned`.
/// - [`Error::Poisoned`]: every call fails from here on. Of the gathered rows none was acknowledged, but
///   those of the write that failed may be found in the log when the store is reopened:
///   compare with the table before they are given again.
/// - [`Error::Unavailable`]: the store is closed, and the gathered rows can no longer be written.
///
/// What cannot be written when an appender is dropped is lost, and told by `tracing` at level error.
#[derive(Debug)]
pub struct Appender {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers and the lingering thread share. Who holds both locks took `unwritten` first.
#[derive(Debug)]
struct Shared {
    table: Table,
    /// The table's columns when this was made: what is gathered has them, also once the table was altered.
    schema: SchemaRef,
    schema_id: u16,
    options: AppenderOptions,
    /// What was taken from `gathered` and could not be written yet. Who writes holds this lock, so that
    /// frames keep the order, and others can go on gathering.
    unwritten: Mutex<VecDeque<RecordBatch>>,
    gathered: Mutex<Gathered>,
    pending: AtomicU64,
    /// Told when the first row is gathered, and to stop.
    wake: Condvar,
}

impl Appender {
    pub(crate) fn new(table: Table, options: AppenderOptions) -> Result<Self> {
        if table.scheduler.is_none() {
            return Err(Error::Unavailable {
                action: "append",
                state: "open read-only",
            });
        }
        if !(1..=BYTES_MAX).contains(&options.bytes) {
            let reason = format!("{} is not between 1 and {BYTES_MAX}", options.bytes);
            return Err(Error::invalid("bytes of an appender", reason));
        }
        let schemas = Arc::clone(&table.inner.tierer.context.shape().schemas);
        let schema = Arc::clone(schemas.newest());
        let shared = Shared {
            gathered: Mutex::new(Gathered::new(table.name(), Arc::clone(&schema))),
            schema,
            schema_id: schemas.newest_id(),
            table,
            options,
            unwritten: Mutex::default(),
            pending: AtomicU64::new(0),
            wake: Condvar::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            thread: Mutex::default(),
        })
    }

    /// Gathers one row, its cells in the order of the columns that the table had when the appender was made, also once it
    /// was [altered](Table::alter); [`Value`] tells which cells fit which
    /// columns. It takes no record batch, and no allocation of its own.
    ///
    /// # Errors
    ///
    /// The row was not taken, and nothing of it is left behind:
    ///
    /// - [`Error::SchemaMismatch`] names the column that cannot hold its cell, or tells the number of cells.
    /// - [`Error::Invalid`] for a value of a nested column, which only a batch can give; null is well.
    /// - [`Error::RecordTooLarge`] for a row of more than 1 GiB.
    /// - What writing the rows before it failed with; see [`Appender`].
    pub fn append_row(&self, cells: &[Value<'_>]) -> Result<()> {
        self.gather(1, |gathered| gathered.push_row(cells))
    }

    /// Gathers a small batch. One that makes a frame of its own, with [`bytes`](AppenderOptions::bytes) or
    /// more, is written before this returns, as it is and after what was gathered before it.
    ///
    /// # Errors
    ///
    /// None of the batch's rows was taken: what [`Table::append`] fails with, or what writing the rows before
    /// it failed with; see [`Appender`].
    pub fn append(&self, batch: &RecordBatch) -> Result<()> {
        let schema_id = self.shared.table.check_batch(batch)?;
        let rows = batch.num_rows() as u64;
        if rows == 0 {
            return Ok(());
        }
        // What nested columns call their parts can differ from the table, and the table can have been altered; such a batch
        // cannot be joined.
        if schema_id == self.shared.schema_id
            && let Some(batch) = gathered::joinable(&self.shared.schema, batch)
        {
            let bytes = gathered::bytes_of(&batch);
            if bytes < self.shared.options.bytes {
                return self.gather(rows, |gathered| gathered.push_batch(batch, bytes));
            }
        }
        let mut unwritten = self.shared.unwritten.lock();
        self.shared.write(&mut unwritten, |_| true)?;
        self.shared.table.append(batch).map(drop)
    }

    /// Writes what is gathered, and returns when all that was given before is in the log, whoever wrote it.
    ///
    /// The ticket's [`offsets`](Ticket::offsets) are those of the frame that was written: none when the
    /// background had written everything already, the last frame's when rows that could not be written
    /// earlier took more than one. Its [`wait`](Ticket::wait) covers all that was given before, in every case;
    /// that is why there always is a ticket.
    ///
    /// # Errors
    ///
    /// As [`Table::append`]; the rows stay gathered, see [`Appender`].
    pub fn flush(&self) -> Result<Ticket> {
        let mut unwritten = self.shared.unwritten.lock();
        match self.shared.write(&mut unwritten, |_| true)? {
            Some(ticket) => Ok(ticket),
            // No rows make no frame, but their ticket stands where the log ends.
            None => {
                let nothing = RecordBatch::new_empty(self.shared.table.schema());
                self.shared.table.append(&nothing)
            }
        }
    }

    /// How many rows were given and are not in the log yet. When it is 0, all that was given before is
    /// acknowledged, as by [`Table::append`].
    #[must_use]
    pub fn pending_rows(&self) -> u64 {
        self.shared.pending.load(Ordering::Acquire)
    }

    fn gather(&self, rows: u64, add: impl FnOnce(&mut Gathered) -> Result<()>) -> Result<()> {
        let shared = &*self.shared;
        let mut gathered = shared.with_room()?;
        if !gathered.is_thread_running {
            self.start()?;
            gathered.is_thread_running = true;
        }
        add(&mut gathered)?;
        shared.pending.fetch_add(rows, Ordering::Relaxed);
        if gathered.oldest.is_none() {
            gathered.oldest = Some(Instant::now());
            shared.wake.notify_one();
        }
        let is_full = shared.is_due(&gathered);
        drop(gathered);
        if is_full {
            // The rows are taken: what writing them fails with is told by the next call.
            let _ = shared.write(&mut shared.unwritten.lock(), |gathered| {
                shared.is_due(gathered)
            });
        }
        Ok(())
    }

    fn start(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new()
            .name("alluvium-linger".to_owned())
            .spawn(move || shared.run());
        let directory = &self.shared.table.inner.tierer.context.directory;
        let handle = spawned.map_err(Error::io("start the lingering thread of", directory))?;
        *self.thread.lock() = Some(handle);
        Ok(())
    }
}

impl Shared {
    /// Whether what is gathered must be written before more is taken.
    fn is_due(&self, gathered: &Gathered) -> bool {
        gathered.retry_at.is_some() || gathered.bytes() >= self.options.bytes
    }

    /// What is gathered, once there is room for more and nothing waits that could not be written.
    fn with_room(&self) -> Result<MutexGuard<'_, Gathered>> {
        loop {
            let gathered = self.gathered.lock();
            if !self.is_due(&gathered) {
                return Ok(gathered);
            }
            drop(gathered);
            self.write(&mut self.unwritten.lock(), |gathered| self.is_due(gathered))?;
        }
    }

    /// Writes what could not be written before, then what is gathered if `wanted`: the last frame's ticket.
    fn write(
        &self,
        unwritten: &mut VecDeque<RecordBatch>,
        wanted: impl FnOnce(&Gathered) -> bool,
    ) -> Result<Option<Ticket>> {
        let before = self.write_all(unwritten)?;
        let mut gathered = self.gathered.lock();
        if !wanted(&gathered) {
            return Ok(before);
        }
        let pieces = gathered.take()?;
        drop(gathered);
        unwritten.extend(gathered::joined(&self.schema, pieces));
        Ok(self.write_all(unwritten)?.or(before))
    }

    fn write_all(&self, unwritten: &mut VecDeque<RecordBatch>) -> Result<Option<Ticket>> {
        let mut last = None;
        while let Some(batch) = unwritten.front() {
            match self.table.append(batch) {
                Ok(ticket) => last = Some(ticket),
                Err(error) => {
                    self.hold_back(&error);
                    return Err(error);
                }
            }
            self.pending
                .fetch_sub(batch.num_rows() as u64, Ordering::Release);
            unwritten.pop_front();
        }
        self.gathered.lock().retry_at = None;
        Ok(last)
    }

    /// Takes nothing more until what failed is written.
    fn hold_back(&self, error: &Error) {
        let pause = self.options.linger.clamp(RETRY_PAUSE, 60 * RETRY_PAUSE);
        let retry_at = Instant::now() + pause;
        if self.gathered.lock().retry_at.replace(retry_at).is_none() {
            let table = self.table.name();
            tracing::warn!(table, %error, "gathered rows could not be written and are kept");
        }
    }

    /// The lingering thread: writes what has grown old, and tries again what could not be written.
    fn run(&self) {
        let mut gathered = self.gathered.lock();
        while !gathered.stop {
            let linger = |oldest: Instant| oldest.checked_add(self.options.linger);
            match gathered.retry_at.or(gathered.oldest.and_then(linger)) {
                None => self.wake.wait(&mut gathered),
                Some(due) if Instant::now() < due => {
                    self.wake.wait_until(&mut gathered, due);
                }
                // The next call tells of a failure, unless it is mended until then.
                Some(_) => MutexGuard::unlocked(&mut gathered, || {
                    let _ = self.write(&mut self.unwritten.lock(), |_| true);
                }),
            }
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.shared.gathered.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("an appender's lingering thread panicked");
        }
        let written = self
            .shared
            .write(&mut self.shared.unwritten.lock(), |_| true);
        if let Err(error) = written {
            let (table, rows) = (self.shared.table.name(), self.pending_rows());
            tracing::error!(table, rows, %error, "gathered rows are lost");
        }
    }
}
