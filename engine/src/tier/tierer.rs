//! A table's tierer: runs its rounds, keeps what the last one left, and wakes those who wait.

mod altering;
mod rounds;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::log::{Log, now_us};
use crate::pipeline::Pipeline;
use crate::tier::budget::Share;
use crate::tier::context::{TierContext, TierReport};
use crate::tier::dead_letters::DeadLetters;
use crate::tier::dead_letters::resolution::Resolution;
use crate::tier::lake::{Lake, Progress};
use crate::tier::lanes;
use crate::tier::metrics::TierMetrics;
use crate::tier::round::GATHER;
use crate::tier::writing::BATCHES_IN_FLIGHT;
pub(crate) use altering::Change;

/// What a lane of a round holds at most: gathered batches, of each column what is not a page yet, and parts on their way to
/// an object store.
const BATCHES_BYTES: u64 = (BATCHES_IN_FLIGHT as u64 + 3) * GATHER.bytes_max;
const PAGE_BYTES: u64 = 8 << 20;
const UPLOAD_BYTES: u64 = 50 << 20;
/// And whatever its size.
const LANE_BYTES: u64 = 4 << 20;
/// What a byte of log may be in each of these.
const EXPANSION: u64 = 2;
/// At most this many bytes of log become one commit, so that a backlog is settled in steps.
const ROUND_BYTES_MAX: u64 = 512 << 20;
/// Where memory is short a round is no smaller than this.
const ROUND_BYTES_LEAST: u64 = 8 << 20;

/// Where rounds get memory from.
pub(crate) struct Memory<'a> {
    /// Waits for a share of so many bytes, or of no less than the second number; `None` when it is not to be had any more.
    pub(crate) lane: &'a dyn Fn(u64, u64) -> Option<Share>,
    /// A share for one more lane, if there is one left.
    pub(crate) another_lane: &'a dyn Fn() -> Option<Share>,
}

/// Settles a table's rows in its lake, a round at a time.
#[derive(Debug)]
pub(crate) struct Tierer {
    pub(crate) context: Arc<TierContext>,
    pub(crate) metrics: TierMetrics,
    open: Mutex<Option<Open>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Tells those who wait for the lake that no more rounds are begun.
    closing: watch::Sender<bool>,
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
            closing: watch::channel(false).0,
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

    /// About what a lane of a large round holds in memory, in bytes.
    pub(crate) fn lane_memory(&self) -> u64 {
        self.memory_of(ROUND_BYTES_MAX)
    }

    /// What a round is given of the memory at least.
    pub(crate) fn least_memory(&self) -> u64 {
        self.memory_of(ROUND_BYTES_LEAST)
    }

    /// About what a round in one lane of so many bytes of log holds in memory, in bytes: batches on their way, a page of each
    /// column that is being encoded, and on an object store the parts that are being uploaded.
    fn memory_of(&self, log_bytes: u64) -> u64 {
        let columns = self.context.shape().lake_schema.fields().len() as u64;
        let uploads = if self.context.lake.is_remote() {
            UPLOAD_BYTES
        } else {
            0
        };
        let most = [BATCHES_BYTES, columns * PAGE_BYTES, uploads];
        let held = most.map(|most| most.min(log_bytes.saturating_mul(EXPANSION)));
        LANE_BYTES + held.iter().sum::<u64>()
    }

    /// Memory for the next round, whose log has so many bytes, and how many of them it may settle; `None` when the store is
    /// being closed.
    fn round_memory(&self, memory: &Memory<'_>, behind: u64) -> Option<(Share, u64)> {
        let wanted = self.memory_of(behind.min(ROUND_BYTES_MAX));
        let share = (memory.lane)(wanted, wanted.min(self.least_memory()))?;
        let bytes = match share.bytes < wanted {
            // Whatever it is held in.
            true => share.bytes.saturating_sub(LANE_BYTES) / (3 * EXPANSION),
            false => ROUND_BYTES_MAX,
        };
        Some((share, bytes))
    }

    /// How many lanes the round of a range of offsets is worth.
    fn lanes_worth(&self, raw: &Log, round: Range<u64>, is_staged: bool) -> usize {
        // Dead letters are appended in the order of their rows. To object stores parts of a file go side by side anyway, more
        // slowly than one thread encodes them.
        if is_staged || self.context.lake.is_remote() {
            return 1;
        }
        let behind = raw.bytes_from(round.start);
        lanes::worth(behind.saturating_sub(raw.bytes_from(round.end)))
    }

    /// Whether a round should begin now; claims it, so that the caller must run it.
    pub(crate) fn claim(&self, raw: &Log, in_background: bool) -> bool {
        let mut state = self.state.lock();
        let is_paused = in_background && state.pause_until.is_some_and(|at| at > Instant::now());
        if state.is_running || self.is_closed() || is_paused || !state.backoff.is_over() {
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
    pub(crate) fn drain(&self, raw: &Log, pipeline: &Pipeline, memory: &Memory<'_>) {
        let until = raw.committed();
        let rounds = || self.rounds(raw, pipeline, until, memory);
        // Nothing here should panic; should a library do so, those who wait must not wait for ever.
        let result = catch_unwind(AssertUnwindSafe(rounds)).unwrap_or_else(|_| {
            Err(Error::Internal {
                reason: "a round panicked; its message is on standard error".to_owned(),
            })
        });
        let mut state = self.state.lock();
        state.is_running = false;
        // One that was given up to close the store has not failed.
        let is_given_up =
            |error: &Error| self.is_closed() && matches!(error, Error::Unavailable { .. });
        if let Err(error) = result
            && !is_given_up(&error)
        {
            tracing::warn!(lake = %self.context.lake.shown_uri(), %error, "a round failed; the log keeps the rows");
            self.metrics.failed();
            state.failures_total += 1;
            state.backoff.failed();
            state.report.last_error = Some(error.shared());
            state.report.last_error_us = Some(now_us());
            self.context.write_report(&state.report);
        }
        drop(state);
        self.changed.notify_all();
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
            if state.failures_total > wanted.failures_before
                && let Some(source) = state.report.last_error.clone()
            {
                return Err(Error::Tiering { source });
            }
            if self.is_closed() && !state.is_running {
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

    /// Gives up what was claimed, for want of a thread.
    pub(crate) fn unclaim(&self) {
        self.state.lock().is_running = false;
        self.changed.notify_all();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.lock().is_running
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closing.borrow()
    }

    /// Begins no more rounds. One that runs commits what its first lane has made and ends, or gives up opening the lake.
    pub(crate) fn close(&self) {
        // Under the lock, so that nobody begins to wait between looking and being notified.
        let state = self.state.lock();
        self.closing.send_replace(true);
        drop(state);
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
}

/// What [`Tierer::want`] promises to whom.
#[derive(Debug)]
pub(crate) struct Wanted {
    offset: u64,
    failures_before: u64,
}
