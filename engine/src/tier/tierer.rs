//! A table's tierer: runs its rounds, keeps what the last one left, and wakes those who wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::Schema;
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use crate::catalog::PinnedTransform;
use crate::error::{Error, Result};
use crate::log::{Log, now_us};
use crate::pipeline::{Pipeline, StagedLog};
use crate::tier::context::{TierContext, TierReport};
use crate::tier::dead_letters::DeadLetters;
use crate::tier::lake::{Lake, Outcome, Progress, Round, TransformRecord, Written};
use crate::tier::round::{RoundInput, Settled};

/// At most this many bytes of log become one commit, so that a backlog is settled in steps.
const ROUND_BYTES_MAX: u64 = 1 << 30;
/// Batches on their way to the lake's writer: what bounds the memory of a round.
const BATCHES_IN_FLIGHT: usize = 2;
/// The first wait after a failure; each further one doubles it.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Settles a table's rows in its lake, a round at a time.
#[derive(Debug)]
pub(crate) struct Tierer {
    pub(crate) context: TierContext,
    open: Mutex<Option<Open>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What rounds work with, once the lake could be reached.
struct Open {
    lake: Lake,
    dead: DeadLetters,
    progress: Progress,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("lake", &self.lake)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    report: TierReport,
    /// Whether a round ended since the store was opened, so that the report is the truth.
    is_current: bool,
    /// Somebody waits for the rows below this.
    wanted: Option<u64>,
    /// Rounds that failed since the last one that didn't.
    failures: u32,
    /// How many rounds failed in all.
    failures_total: u64,
    retry_at: Option<Instant>,
    is_running: bool,
    is_closed: bool,
}

impl Tierer {
    pub(crate) fn new(context: TierContext) -> Self {
        let report = context.read_report();
        Self {
            context,
            open: Mutex::new(None),
            state: Mutex::new(State {
                report,
                ..State::default()
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn report(&self) -> TierReport {
        self.state.lock().report.clone()
    }

    /// Where tiering stands, asking the lake when no round has told yet.
    pub(crate) fn progress(&self) -> Result<(Progress, Option<u64>)> {
        {
            let state = self.state.lock();
            if state.is_current {
                let report = &state.report;
                let progress = Progress {
                    to: report.tiered,
                    rows: 0,
                    filtered: report.filtered,
                    dead: report.dead,
                };
                return Ok((progress, report.lake_version));
            }
        }
        self.context.lake_progress()
    }

    /// Whether a round should begin now; claims it, so that the caller must run it.
    pub(crate) fn claim(&self, raw: &Log, in_background: bool) -> bool {
        let mut state = self.state.lock();
        let waits = state.retry_at.is_some_and(|at| Instant::now() < at);
        if state.is_running || state.is_closed || waits {
            return false;
        }
        let is_wanted = |offset| offset > state.report.tiered || !state.is_current;
        let wanted = state.wanted.is_some_and(is_wanted);
        let due = wanted || (in_background && self.is_due(raw, &state));
        state.is_running = due;
        due
    }

    /// Whether rows are old enough, or enough of them wait.
    fn is_due(&self, raw: &Log, state: &State) -> bool {
        let from = state.report.tiered.max(raw.first_offset());
        if raw.committed() <= from {
            return false;
        }
        let settings = &self.context.settings;
        let oldest = raw.read_from(from).next_frame().ok().flatten();
        let age_us = oldest.map_or(i64::MAX, |f| now_us().saturating_sub(f.header.timestamp_us));
        age_us >= i64::try_from(settings.freshness.as_micros()).unwrap_or(i64::MAX)
            || raw.bytes_from(from) >= settings.round_bytes_effective()
    }

    /// Runs rounds until what was committed when this was called is in the lake, and tells who waits.
    /// The caller has claimed the right to.
    pub(crate) fn drain(&self, raw: &Log, pipeline: &Pipeline) {
        let until = raw.committed();
        let rounds = || self.rounds(raw, pipeline, until);
        // Nothing here should panic; should a library do so, those who wait must not wait for ever.
        let result = catch_unwind(AssertUnwindSafe(rounds)).unwrap_or_else(|_| {
            Err(Error::Tiering {
                reason: "a round panicked; its message is on standard error".to_owned(),
            })
        });
        let mut state = self.state.lock();
        state.is_running = false;
        if let Err(error) = result {
            tracing::warn!(lake = %self.context.lake.uri, %error, "a round failed; the log keeps the rows");
            state.failures += 1;
            state.failures_total += 1;
            state.retry_at = Some(Instant::now() + backoff(state.failures));
            state.report.last_error = Some(error.to_string());
            state.report.last_error_us = Some(now_us());
            self.context.write_report(&state.report);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Runs rounds over what is staged, as soon as it is.
    fn rounds(&self, raw: &Log, pipeline: &Pipeline, until: u64) -> Result<()> {
        loop {
            let staged = pipeline.log();
            let ready = staged
                .as_ref()
                .map_or(until, |log| log.committed().min(until));
            let progress = match (self.round(raw, staged.as_deref(), ready), &staged) {
                (Err(error), Some(log)) if log.is_damaged(&error) => {
                    tracing::warn!(%error, "staged rows are damaged; they are made again");
                    pipeline.begin_anew(self.progress()?.0.to)?;
                    continue;
                }
                (progress, _) => progress?,
            };
            if progress.to >= until || self.is_closed() {
                return Ok(());
            }
            if progress.to >= ready {
                pipeline.wait_beyond(progress.to)?;
            }
        }
    }

    /// Asks for the rows below an offset to be tiered; [`Tierer::wait`] tells when they are. What failed
    /// before is tried again at once.
    pub(crate) fn want(&self, offset: u64) -> Wanted {
        let mut state = self.state.lock();
        state.wanted = state.wanted.max(Some(offset));
        state.retry_at = None;
        Wanted {
            offset,
            failures_before: state.failures_total + u64::from(state.is_running),
        }
    }

    /// Waits for what was wanted: until it is tiered, or a round that began afterwards failed.
    pub(crate) fn wait(&self, wanted: &Wanted) -> Result<u64> {
        let mut state = self.state.lock();
        loop {
            if state.is_current && state.report.tiered >= wanted.offset {
                return Ok(state.report.tiered);
            }
            if state.failures_total > wanted.failures_before {
                let reason = state.report.last_error.clone();
                return Err(Error::Tiering {
                    reason: reason.unwrap_or_default(),
                });
            }
            if state.is_closed && !state.is_running {
                return Err(Error::Unavailable {
                    action: "tier",
                    state: "closed",
                });
            }
            self.changed.wait(&mut state);
        }
    }

    fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Begins no more rounds; one that runs commits what it has made and ends.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits until no round runs, and closes what rounds work with: nothing may write once the store's lock is gone.
    pub(crate) fn wait_idle(&self) {
        let mut state = self.state.lock();
        while state.is_running {
            self.changed.wait(&mut state);
        }
        drop(state);
        drop(self.open.lock().take());
    }

    fn round(&self, raw: &Log, staged: Option<&StagedLog>, until: u64) -> Result<Progress> {
        let mut slot = self.open.lock();
        let mut open = match slot.take() {
            Some(open) => open,
            None => self.open(raw)?,
        };
        let from = open.progress.to;
        if from < until {
            let until = until.min(self.round_end(raw, from));
            open = self.write_and_commit(raw, staged, open, until)?;
        }
        let progress = open.progress;
        let released = raw.release(progress.to);
        let released =
            released.and_then(|()| staged.map_or(Ok(()), |log| log.release(progress.to)));
        self.note(&open);
        *slot = Some(open);
        released.map(|()| progress)
    }

    /// Does something to the lake while no round runs, as of the offset that tiering goes on from.
    pub(crate) fn alter_lake<T>(
        &self,
        raw: &Log,
        columns: &Schema,
        then: impl FnOnce(u64) -> Result<T>,
    ) -> Result<T> {
        let mut slot = self.open.lock();
        let Open {
            mut lake,
            dead,
            progress,
        } = match slot.take() {
            Some(open) => open,
            None => self.open(raw)?,
        };
        let columns = columns.clone();
        let (lake, widened) = self.context.executor.run(async move {
            let widened = lake.widen(&columns).await;
            (lake, widened)
        })?;
        *slot = Some(Open {
            lake,
            dead,
            progress,
        });
        widened?;
        then(progress.to)
    }

    /// Where a round that begins at `from` ends, so that it stays below [`ROUND_BYTES_MAX`].
    fn round_end(&self, raw: &Log, from: u64) -> u64 {
        let bytes = raw.bytes_from(from);
        let rows = raw.committed().saturating_sub(from);
        let share = u128::from(rows) * u128::from(ROUND_BYTES_MAX) / u128::from(bytes.max(1));
        from + (share as u64).max(1)
    }

    fn open(&self, raw: &Log) -> Result<Open> {
        let context = &self.context;
        let lake_schema = Arc::clone(&context.shape().lake_schema);
        let (options, schema) = (context.lake.clone(), lake_schema);
        let (table_id, bucket) = (context.table_id, context.settings.bucket);
        let is_new = raw.first_offset() == 0 && self.report().tiered == 0;
        let (lake, progress) = context.executor.run(async move {
            let lake = match is_new {
                true => Lake::open_or_create(&options, &schema).await?,
                // An empty lake in place of one that had rows would look as if there had been none.
                false => Lake::open_existing(&options, &schema).await?,
            };
            let progress = lake.progress(table_id, bucket).await?;
            Ok::<_, Error>((lake, progress))
        })??;
        // Before anything is done that follows from the lake's word.
        self.check_bounds(raw, &lake, progress.to)?;
        Ok(Open {
            dead: DeadLetters::open(&context.directory, table_id, &context.schema, progress.to)?,
            lake,
            progress,
        })
    }

    fn check_bounds(&self, raw: &Log, lake: &Lake, tiered: u64) -> Result<()> {
        let (first, committed) = (raw.first_offset(), raw.committed());
        if (first..=committed).contains(&tiered) {
            return Ok(());
        }
        Err(Error::LakeMismatch {
            uri: lake.uri().to_owned(),
            reason: format!(
                "it has this table's rows up to offset {tiered}, and the log has those from {first} to {committed}; the lake or the log was replaced"
            ),
        })
    }

    /// Streams the rows up to `until` into data files while they are made, then commits them once.
    fn write_and_commit(
        &self,
        raw: &Log,
        staged: Option<&StagedLog>,
        open: Open,
        until: u64,
    ) -> Result<Open> {
        let Open {
            lake,
            dead,
            progress,
        } = open;
        let (sender, mut receiver) = mpsc::channel(BATCHES_IN_FLIGHT);
        let writing = self.context.executor.start(async move {
            let batches = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
            let written = lake.write(batches).await;
            (lake, written)
        });
        let shape = self.context.shape();
        let input = RoundInput {
            raw,
            staged,
            schema: &self.context.schema,
            shape: &shape,
            bucket: self.context.settings.bucket,
            dead: &dead,
        };
        let made = input
            .run(progress, until, &|| self.is_closed(), |batch| {
                sender.blocking_send(Ok(batch)).is_ok()
            })
            // The lake must not be ahead of what the log has after power loss.
            .and_then(|settled| raw.sync_through(settled.after.to).map(|()| settled));
        if let Err(error) = &made {
            // The writer must not take a stream that broke off for one that ended.
            let broken = Error::Tiering {
                reason: error.to_string(),
            };
            let _ = sender.blocking_send(Err(broken));
        }
        drop(sender);
        let (lake, written) = writing.wait()?;
        let Settled { after, generation } = made?;
        let written = written?;
        if written.rows != after.rows - progress.rows {
            return Err(Error::Tiering {
                reason: format!(
                    "{} rows were made and {} written; nothing was committed",
                    after.rows - progress.rows,
                    written.rows
                ),
            });
        }
        let transforms = shape.transforms_of(generation);
        let round = self.described(progress, after, transforms);
        let (lake, progress) = self.commit(lake, written, round)?;
        Ok(Open {
            lake,
            dead,
            progress,
        })
    }

    /// A round, as its commit records it.
    fn described(&self, before: Progress, after: Progress, made_by: &[PinnedTransform]) -> Round {
        let record = |pinned: &PinnedTransform| TransformRecord {
            name: pinned.spec.name.clone(),
            plugin: pinned.spec.plugin.clone(),
            version: pinned.plugin_version.clone(),
            sha256: pinned.plugin_sha256.clone(),
        };
        Round {
            table_id: self.context.table_id,
            bucket: self.context.settings.bucket,
            from: before.to,
            after,
            transforms: made_by.iter().map(record).collect(),
        }
    }

    fn commit(&self, mut lake: Lake, written: Written, round: Round) -> Result<(Lake, Progress)> {
        let (lake, outcome) = self.context.executor.run(async move {
            let outcome = lake.commit(written, &round).await;
            (lake, outcome)
        })?;
        match outcome? {
            Outcome::Committed(progress) => Ok((lake, progress)),
            // This process holds the store's lock, so only a copy of the store can have been faster.
            Outcome::AlreadyCommitted(progress) => Err(Error::LakeMismatch {
                uri: lake.uri().to_owned(),
                reason: format!(
                    "another engine committed this table's rows up to offset {}; give a copy of a store a bucket of its own",
                    progress.to
                ),
            }),
        }
    }

    fn note(&self, open: &Open) {
        let mut state = self.state.lock();
        let report = TierReport {
            tiered: open.progress.to,
            filtered: open.progress.filtered,
            dead: open.progress.dead,
            lake_version: Some(open.lake.version()),
            last_error: None,
            last_error_us: None,
        };
        self.context.write_report(&report);
        state.report = report;
        state.is_current = true;
        state.failures = 0;
        state.retry_at = None;
        drop(state);
        self.changed.notify_all();
    }
}

/// What [`Tierer::want`] promises to whom.
#[derive(Debug)]
pub(crate) struct Wanted {
    offset: u64,
    failures_before: u64,
}

/// Twice as long with each failure in a row, up to a minute, with up to a quarter of jitter.
pub(crate) fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << (failures.saturating_sub(1)).min(10));
    let wait = doubled.min(BACKOFF_MAX);
    let jitter = now_us().unsigned_abs() % 250;
    wait + wait.mul_f64(jitter as f64 / 1000.0)
}
