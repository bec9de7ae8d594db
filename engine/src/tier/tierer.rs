//! A table's tierer: runs its rounds, keeps what the last one left, and wakes those who wait.

mod altering;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::backoff::Backoff;
use crate::crash::crash_point;
use crate::error::{Error, Result};
use crate::log::{Log, now_us};
use crate::pipeline::{Pipeline, StagedLog};
use crate::tier::context::{TierContext, TierReport};
use crate::tier::dead_letters::DeadLetters;
use crate::tier::dead_letters::resolution::Resolution;
use crate::tier::history::makers_of;
use crate::tier::lake::{Lake, Progress, Round};
use crate::tier::metrics::TierMetrics;
use crate::tier::round::{GATHER, RoundInput, Settled};
use crate::tier::writing::{BATCHES_IN_FLIGHT, check_written, commit, records_of, streamed};
pub(crate) use altering::Change;

/// What a round holds: gathered batches, of each column what is not a page yet, and parts on their way to an object store.
const BATCHES_BYTES: u64 = (BATCHES_IN_FLIGHT as u64 + 3) * GATHER.bytes_max;
const PAGE_BYTES: u64 = 8 << 20;
const UPLOAD_BYTES: u64 = 50 << 20;

/// At most this many bytes of log become one commit, so that a backlog is settled in steps.
const ROUND_BYTES_MAX: u64 = 512 << 20;

/// Settles a table's rows in its lake, a round at a time.
#[derive(Debug)]
pub(crate) struct Tierer {
    pub(crate) context: Arc<TierContext>,
    pub(crate) metrics: TierMetrics,
    open: Mutex<Option<Open>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What rounds work with, once the lake could be reached.
pub(crate) struct Open {
    pub(crate) lake: Lake,
    pub(crate) dead: DeadLetters,
    pub(crate) progress: Progress,
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
    /// How many rounds failed in all.
    failures_total: u64,
    backoff: Backoff,
    /// Dead letters that are not in their dataset wait to be settled. Rounds do not wait for it.
    is_unsettled: bool,
    settling: Backoff,
    /// Somebody waits for it to be tried.
    is_settling_wanted: bool,
    /// Fragments that are not merged yet, and when the next round may begin for them.
    unmerged: usize,
    pause_until: Option<Instant>,
    is_running: bool,
    is_closed: bool,
}

impl State {
    fn is_done(&self, wanted: &Wanted) -> bool {
        self.is_current && self.report.tiered >= wanted.offset && !self.is_settling_wanted
    }
}

impl Tierer {
    /// `table` is the label of its metrics.
    pub(crate) fn new(table: &str, context: TierContext) -> Self {
        let report = context.read_report();
        let is_unsettled = report.dead > 0 && report.dead_letters_to < report.tiered
            || Resolution::is_there(&context.directory);
        Self {
            context: Arc::new(context),
            metrics: TierMetrics::new(table),
            open: Mutex::new(None),
            state: Mutex::new(State {
                report,
                is_unsettled,
                ..State::default()
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn report(&self) -> TierReport {
        self.state.lock().report.clone()
    }

    /// Whether fragments should be merged without delay.
    pub(crate) fn is_crowded(&self) -> bool {
        let unmerged = self.state.lock().unmerged;
        self.context.settings.maintenance.is_crowded(unmerged)
    }

    /// Where tiering stands, asking the lake when no round has told yet.
    pub(crate) fn progress(&self) -> Result<(Progress, Option<u64>)> {
        {
            let state = self.state.lock();
            if state.is_current {
                let report = &state.report;
                return Ok((report.progress(), report.lake_version));
            }
        }
        self.context.lake_progress()
    }

    /// About what a round holds in memory, in bytes: batches on their way, a page of each column that is being encoded, and
    /// on an object store the parts that are being uploaded.
    pub(crate) fn round_memory(&self) -> u64 {
        let columns = self.context.shape().lake_schema.fields().len() as u64;
        let uploads = if self.context.lake.is_remote() {
            UPLOAD_BYTES
        } else {
            0
        };
        BATCHES_BYTES + columns * PAGE_BYTES + uploads
    }

    /// Whether a round should begin now; claims it, so that the caller must run it.
    pub(crate) fn claim(&self, raw: &Log, in_background: bool) -> bool {
        let mut state = self.state.lock();
        let is_paused = in_background && state.pause_until.is_some_and(|at| at > Instant::now());
        if state.is_running || state.is_closed || is_paused || !state.backoff.is_over() {
            return false;
        }
        let is_wanted = |offset| offset > state.report.tiered || !state.is_current;
        let wanted = state.wanted.is_some_and(is_wanted);
        let unsettled = state.is_unsettled && state.settling.is_over();
        let wanted = wanted || (unsettled && state.is_settling_wanted);
        let due = wanted || (in_background && (unsettled || self.is_due(raw, &state)));
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
        let age = raw.age_from(from).ok().flatten();
        age.is_none_or(|age| age >= settings.freshness)
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
            self.metrics.failed();
            state.failures_total += 1;
            state.backoff.failed();
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
        state.backoff.hurry();
        state.settling.hurry();
        state.is_settling_wanted |= state.is_unsettled;
        Wanted {
            offset,
            failures_before: state.failures_total + u64::from(state.is_running),
        }
    }

    /// Whether what was wanted is tiered, and dead letters that waited to be settled were tried.
    pub(crate) fn is_done(&self, wanted: &Wanted) -> bool {
        self.state.lock().is_done(wanted)
    }

    /// Waits for what was wanted: until it is tiered, or a round that began afterwards failed. `None` when it was not by
    /// then.
    pub(crate) fn wait(&self, wanted: &Wanted, until: Option<Instant>) -> Result<Option<u64>> {
        let mut state = self.state.lock();
        loop {
            if state.is_done(wanted) {
                return Ok(Some(state.report.tiered));
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
            match until {
                None => self.changed.wait(&mut state),
                Some(until) => {
                    if self.changed.wait_until(&mut state, until).timed_out() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
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
        crash_point("round: committed");
        let released = raw.release(progress.to);
        crash_point("round: log released");
        let released =
            released.and_then(|()| staged.map_or(Ok(()), |log| log.release(progress.to)));
        crash_point("round: staged log released");
        self.settle_dead_letters(&mut open);
        self.note(&open);
        *slot = Some(open);
        released.map(|()| progress)
    }

    /// Settles the dead letters of rounds that are in the lake. What keeps them from it is told, and keeps no round.
    fn settle_dead_letters(&self, open: &mut Open) {
        if !self.state.lock().settling.is_over() {
            return;
        }
        let settled = open.dead.settle(&self.context, &open.progress);
        let mut state = self.state.lock();
        state.is_settling_wanted = false;
        match settled {
            Ok(()) => {
                state.is_unsettled = false;
                state.settling.succeeded();
                state.report.dead_letters_to = open.progress.to;
                state.report.dead_letters_error = None;
            }
            Err(error) => {
                tracing::warn!(%error, "dead letters are not settled; their log keeps them");
                state.is_unsettled = true;
                state.settling.failed();
                state.report.dead_letters_error = Some(error.to_string());
            }
        }
    }

    /// Does something to the lake and the dead letters while no round runs.
    pub(crate) fn with_dead_letters<T>(
        &self,
        raw: &Log,
        work: impl FnOnce(&TierContext, Open) -> Result<(Open, T)>,
    ) -> Result<T> {
        let mut slot = self.open.lock();
        if self.is_closed() {
            return Err(Error::Unavailable {
                action: "change dead letters",
                state: "closed",
            });
        }
        let open = match slot.take() {
            Some(open) => open,
            None => self.open(raw)?,
        };
        // After a failure the lake tells anew what is true, and what was begun is brought to its end.
        {
            let mut state = self.state.lock();
            state.is_unsettled = true;
            state.settling.hurry();
        }
        let (mut open, done) = work(&self.context, open)?;
        self.settle_dead_letters(&mut open);
        self.note(&open);
        *slot = Some(open);
        Ok(done)
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
        let (lake, progress) = self.open_lake(raw)?;
        lake.accepts(&context.shape().lake_schema)?;
        let (lake, dead) = DeadLetters::open(context, lake, progress)?;
        Ok(Open {
            lake,
            dead,
            progress,
        })
    }

    /// The lake, whatever its columns are unless this table's are to be brought to it, and how far the table is in it.
    fn open_lake(&self, raw: &Log) -> Result<(Lake, Progress)> {
        let context = &self.context;
        self.finish_altering()?;
        let lake_schema = Arc::clone(&context.shape().lake_schema);
        let (options, schema) = (context.lake.clone(), lake_schema);
        let (table_id, bucket) = (context.table_id, context.settings.bucket);
        let is_new = raw.first_offset() == 0 && self.report().tiered == 0;
        let (lake, progress) = context.executor.run(async move {
            let lake = match is_new {
                true => match Lake::open(&options).await? {
                    Some(lake) => lake,
                    None => Lake::open_or_create(&options, &schema).await?,
                },
                // An empty lake in place of one that had rows would look as if there had been none.
                false => Lake::open_existing(&options).await?,
            };
            let progress = lake.progress(table_id, bucket).await?;
            Ok::<_, Error>((lake, progress))
        })??;
        // Before anything is done that follows from the lake's word.
        self.check_bounds(raw, &lake, progress.to)?;
        Ok((lake, progress))
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
        let shape = self.context.shape();
        let input = RoundInput {
            raw,
            staged,
            shape: &shape,
            bucket: self.context.settings.bucket,
            dead: &dead.log,
        };
        let begun = Instant::now();
        let (lake, settled, written) = streamed(&self.context.executor, lake, |sink| {
            std::thread::scope(|scope| {
                // Beside the writing, as it may take as long; whatever it says is said again below.
                if raw.durable() < until {
                    let sync = || drop(raw.sync_through(until));
                    let _ = std::thread::Builder::new().spawn_scoped(scope, sync);
                }
                let settled = input.run(progress, until, &|| self.is_closed(), sink)?;
                // The lake must not be ahead of what the log has after power loss.
                raw.sync_through(settled.after.to)?;
                Ok(settled)
            })
        })?;
        let Settled { after, generation } = settled;
        check_written(after.rows - progress.rows, &written)?;
        let transforms = shape.transforms_of(generation);
        let makers = makers_of(transforms);
        let history = &self.context.history;
        history.change(|history| history.note(progress.to, &makers))?;
        let round = Round {
            table_id: self.context.table_id,
            bucket: self.context.settings.bucket,
            from: progress.to,
            amends: None,
            after,
            transforms: records_of(transforms),
        };
        let made = Instant::now();
        let from = progress.to;
        let (lake, progress) = commit(&self.context, lake, written, round)?;
        let rows = progress.to - from;
        self.metrics
            .committed(rows, begun.elapsed(), made.elapsed());
        Ok(Open {
            lake,
            dead,
            progress,
        })
    }

    fn note(&self, open: &Open) {
        let policy = &self.context.settings.maintenance;
        let unmerged = open.lake.unmerged(policy);
        let mut state = self.state.lock();
        let report = TierReport {
            tiered: open.progress.to,
            filtered: open.progress.filtered,
            dead: open.progress.dead,
            dropped: open.progress.dropped,
            lake_version: Some(open.lake.version()),
            last_error: None,
            last_error_us: None,
            ..state.report.clone()
        };
        self.context.write_report(&report);
        state.report = report;
        state.unmerged = unmerged;
        state.pause_until = Some(Instant::now() + policy.pause(unmerged));
        state.is_current = true;
        state.backoff.succeeded();
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
