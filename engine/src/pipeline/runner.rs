//! The thread of a table that has its rows transformed as they are committed, and stages what comes of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::pipeline::log::{StagedLog, StagedPlace};
use crate::pipeline::raw_rows::{Cut, Piece, RawRows};
use crate::shape::Shape;
use crate::table::TableInner;
use crate::tier::context::TierContext;
use crate::transform::{ChainPlan, MadeRows, Pending, TransformPool};

/// What is given to the transforms at a time.
const PIECE: Cut = Cut {
    rows_max: 1024,
    bytes_max: 8 << 20,
    joined_bytes: 1 << 20,
};
/// How often a pipeline that has nothing to do looks around without being woken.
const PAUSE: Duration = Duration::from_millis(500);
/// How often one looks whether a staged log that is full has room again.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Transforms a table's rows as they are committed. Without transforms there is no staged log, and nothing to do.
#[derive(Debug)]
pub(crate) struct Pipeline {
    place: StagedPlace,
    log: RwLock<Option<Arc<StagedLog>>>,
    state: Mutex<State>,
    /// Rows of older generations of transforms than this are staged, if there were any; 0 as long as nobody knows.
    oldest: AtomicU16,
    /// More is staged, an attempt failed, or somebody wants something of the thread.
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    /// The transforms that will be next, opened by who replaced the last ones.
    opened: Option<Current>,
    /// How many attempts failed in all.
    failures_total: u64,
    last_error: Option<Arc<Error>>,
    backoff: Backoff,
    is_closed: bool,
}

/// A generation of transforms, open; `None` when the table has none any more.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) generation: u16,
    pub(crate) plan: Option<ChainPlan>,
}

/// Rows that are being transformed.
struct Underway {
    piece: Piece,
    current: Current,
    /// `None` when there is nothing to do with them.
    pending: Option<Pending>,
}

impl Pipeline {
    /// Prepares a table's pipeline. Staged rows that are still of use are taken over.
    pub(crate) fn open(
        name: &str,
        context: &TierContext,
        raw: &Log,
        tiered: u64,
        read_only: bool,
    ) -> Result<Self> {
        let place = StagedPlace::new(
            name,
            &context.directory,
            context.table_id,
            &context.settings,
        );
        let is_needed = place.exists() || !context.shape().transforms().is_empty();
        let log = match (read_only, is_needed) {
            // It is derived, and may be begun anew right now: a reader does without.
            (true, _) => place.open_read_only().unwrap_or_else(|error| {
                tracing::warn!(table = name, %error, "staged rows cannot be read");
                None
            }),
            (false, true) => {
                let from = tiered.max(raw.first_offset()).min(raw.committed());
                Some(place.open(from, raw.committed())?)
            }
            (false, false) => None,
        };
        Ok(Self {
            place,
            log: RwLock::new(log.map(Arc::new)),
            state: Mutex::default(),
            oldest: AtomicU16::new(0),
            changed: Condvar::new(),
            thread: Mutex::default(),
        })
    }

    /// The staged log; `None` when the table never had transforms.
    pub(crate) fn log(&self) -> Option<Arc<StagedLog>> {
        self.log.read().clone()
    }

    /// Why the last attempt failed, if nothing was staged since.
    pub(crate) fn last_error(&self) -> Option<Arc<Error>> {
        self.state.lock().last_error.clone()
    }

    /// Starts the thread if there is something to do and it isn't running.
    pub(crate) fn start(table: &Arc<TableInner>) -> Result<()> {
        let pipeline = &table.pipeline;
        let mut thread = pipeline.thread.lock();
        if thread.is_some() || pipeline.log().is_none() {
            return Ok(());
        }
        let runner = Arc::clone(table);
        let started = std::thread::Builder::new()
            .name(format!("transform-{}", table.name))
            .spawn(move || runner.pipeline.run(&runner))
            .map_err(Error::io(
                "start the transforms of",
                pipeline.place.directory(),
            ))?;
        *thread = Some(started);
        Ok(())
    }

    /// Ends the thread once the calls that are under way are done; nothing is lost by it.
    pub(crate) fn stop(&self, raw: &Log) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
        raw.wake();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a table's transforms panicked");
        }
    }

    /// The generation of transforms whose rows are not all staged, or may not be: later ones are needed too.
    pub(crate) fn oldest_generation(&self) -> u16 {
        self.oldest.load(Ordering::Acquire)
    }

    /// Lets other transforms take over at the next frame. The table's shape must say so next.
    pub(crate) fn take_over(&self, next: Current) {
        self.state.lock().opened = Some(next);
    }

    /// Looks again now, whatever failed before.
    pub(crate) fn retry(&self) {
        self.state.lock().backoff.hurry();
        self.changed.notify_all();
    }

    /// Begins a staged log where there was none. Nothing from `from` on may be tiered.
    pub(crate) fn begin(&self, from: u64) -> Result<()> {
        let mut log = self.log.write();
        if log.is_none() {
            *log = Some(Arc::new(self.place.begin(from)?));
        }
        Ok(())
    }

    /// Has the rows from an offset on transformed anew, as what was staged of them is damaged, or ends before.
    pub(crate) fn begin_anew(&self, from: u64) -> Result<()> {
        let mut log = self.log.write();
        if let Some(old) = &*log {
            // Its threads must be gone before there is another one in its place.
            let _ = old.close();
        }
        // Should this fail, the closed one stays: without a log rows would count as those of a table without transforms.
        *log = Some(Arc::new(self.place.begin(from)?));
        Ok(())
    }

    /// Waits until more than the rows below an offset is staged; how far it is then.
    ///
    /// # Errors
    ///
    /// When an attempt to transform them fails.
    pub(crate) fn wait_beyond(&self, offset: u64) -> Result<u64> {
        self.retry();
        let mut state = self.state.lock();
        let failures_before = state.failures_total;
        loop {
            let staged = self.log().map_or(offset, |log| log.committed());
            if staged > offset {
                return Ok(staged);
            }
            if state.failures_total > failures_before
                && let Some(source) = state.last_error.clone()
            {
                return Err(Error::Tiering { source });
            }
            if state.is_closed {
                return Err(Error::Unavailable {
                    action: "transform",
                    state: "closed",
                });
            }
            self.changed.wait(&mut state);
        }
    }

    fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// The thread's life.
    fn run(&self, table: &TableInner) {
        let mut current = None;
        while !self.is_closed() {
            let Some(log) = self.log() else { return };
            let pass = || self.pass(table, &log, &mut current);
            // Nothing here should panic; should a library do so, tiering must not wait for ever.
            let result = catch_unwind(AssertUnwindSafe(pass)).unwrap_or_else(|_| {
                Err(Error::Internal {
                    reason:
                        "the thread of the transforms panicked; its message is on standard error"
                            .to_owned(),
                })
            });
            match result {
                Ok(()) => {}
                // It was closed to make room for another.
                Err(_) if !self.is_current(&log) => {}
                Err(error) => self.fail(table, error),
            }
        }
    }

    /// Notes a failure, and waits until it is time to try again.
    fn fail(&self, table: &TableInner, error: Error) {
        let mut state = self.state.lock();
        tracing::warn!(table = table.name, %error, "transforms do not go on; the log keeps the rows");
        state.failures_total += 1;
        state.last_error = Some(error.shared());
        state.backoff.failed();
        self.changed.notify_all();
        while let Some(remaining) = state.backoff.remaining()
            && !state.is_closed
        {
            self.changed.wait_for(&mut state, remaining);
        }
    }

    /// Transforms rows from where the staged log ends, until the pipeline is closed, or that log is another.
    fn pass(
        &self,
        table: &TableInner,
        log: &Arc<StagedLog>,
        current: &mut Option<Current>,
    ) -> Result<()> {
        let context = &table.tierer.context;
        let pool = context.plugins.pool()?;
        let mut raw = RawRows::new(
            &table.raw,
            Arc::clone(&context.shape().schemas),
            log.committed(),
        );
        let mut underway = VecDeque::new();
        while !self.is_closed() && self.is_current(log) {
            while underway.len() < 2 * pool.workers() {
                if raw.is_between_frames() {
                    let shape = context.shape();
                    self.look_for_another(context, &shape, current)?;
                    raw.follow(&shape.schemas)?;
                }
                let Some(current) = &*current else { break };
                let Some(piece) = raw.next(PIECE)? else { break };
                let submit = |plan: &ChainPlan| pool.submit(plan, piece.rows.clone());
                underway.push_back(Underway {
                    pending: current.plan.as_ref().map(submit),
                    current: current.clone(),
                    piece,
                });
            }
            let first = underway.front().map(|first: &Underway| &first.current);
            if let Some(first) = first.or(current.as_ref()) {
                self.oldest.store(first.generation, Ordering::Release);
            }
            match underway.pop_front() {
                Some(first) => self.settle(&pool, log, first)?,
                None => table.raw.wait_beyond(raw.at(), PAUSE),
            }
        }
        Ok(())
    }

    fn is_current(&self, log: &Arc<StagedLog>) -> bool {
        let now = self.log.read();
        now.as_ref().is_some_and(|now| Arc::ptr_eq(now, log))
    }

    /// Opens the table's transforms, if they are not the ones that are open.
    fn look_for_another(
        &self,
        context: &TierContext,
        shape: &Shape,
        current: &mut Option<Current>,
    ) -> Result<()> {
        let generation = shape.generation();
        if current.as_ref().is_some_and(|c| c.generation == generation) {
            return Ok(());
        }
        let opened = self.state.lock().opened.take();
        *current = match opened.filter(|opened| opened.generation == generation) {
            Some(opened) => Some(opened),
            None => Some(Current {
                generation,
                plan: context.plugins.plan(
                    shape.schemas.newest(),
                    shape.transforms(),
                    &context.settings.limits,
                )?,
            }),
        };
        Ok(())
    }

    /// Waits for what is made of some rows, and stages it.
    fn settle(&self, pool: &TransformPool, log: &StagedLog, underway: Underway) -> Result<()> {
        let Underway {
            piece,
            current,
            pending,
        } = underway;
        let (rows, generation) = (&piece.rows, current.generation);
        let mut stage = |part: Range<usize>, made| {
            self.stage(log, &made, generation, part.len() as u64)?;
            Ok(true)
        };
        let settled = match (pending, &current.plan) {
            (Some(pending), Some(plan)) => pool.wait_in_parts(plan, rows, pending, &mut stage),
            _ => nothing_made(rows.num_rows()).and_then(|made| stage(0..rows.num_rows(), made)),
        };
        settled
            .map(drop)
            .map_err(|error| at_offset(error, piece.offsets.start))
    }

    /// Adds to the staged log, as soon as there is room for it.
    fn stage(&self, log: &StagedLog, made: &MadeRows, generation: u16, rows: u64) -> Result<()> {
        while let Err(error) = log.append(made, generation, rows) {
            let mut state = self.state.lock();
            if !matches!(error, Error::LogFull { .. }) || state.is_closed {
                return Err(error);
            }
            self.changed.wait_for(&mut state, FULL_PAUSE);
        }
        let mut state = self.state.lock();
        state.backoff.succeeded();
        state.last_error = None;
        drop(state);
        self.changed.notify_all();
        Ok(())
    }
}

/// What a table without transforms makes of rows.
pub(crate) fn nothing_made(rows: usize) -> Result<MadeRows> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let made = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
    Ok(MadeRows {
        made: made.map_err(Error::arrow("stage rows"))?,
        origin: None,
        failures: Vec::new(),
        filtered: 0,
        nulled: 0,
    })
}

/// Names the record's offset in place of its row in a batch that nobody knows.
fn at_offset(error: Error, first: u64) -> Error {
    match error {
        Error::TransformFailed {
            transform,
            row,
            reason,
        } => Error::RecordFailed {
            transform,
            offset: first + row,
            reason,
        },
        error => error,
    }
}
