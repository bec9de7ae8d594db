//! A table's rounds, one after the other: what is staged goes to the lake, and what is safe there leaves the logs.

use std::iter::from_fn;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use tokio::sync::watch;

use super::{Memory, Open, Tierer};
use crate::crash::crash_point;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::pipeline::{Pipeline, StagedLog};
use crate::tier::context::{TierContext, TierReport};
use crate::tier::dead_letters::DeadLetters;
use crate::tier::history::makers_of;
use crate::tier::lake::{Found, Lake, Progress, Round};
use crate::tier::lanes;
use crate::tier::round::{RoundInput, Settled};
use crate::tier::writing::{commit, records_of};

impl Tierer {
    /// Runs rounds over what is staged, as soon as it is.
    pub(super) fn rounds(
        &self,
        raw: &Log,
        pipeline: &Pipeline,
        until: u64,
        memory: &Memory<'_>,
    ) -> Result<()> {
        loop {
            let staged = pipeline.log();
            let progress = match (self.round(raw, pipeline, until, memory), &staged) {
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
            if staged.is_some_and(|log| progress.to >= log.committed()) {
                pipeline.wait_beyond(progress.to)?;
            }
        }
    }

    /// Settles what is staged of the rows up to `until`, if anything is.
    fn round(
        &self,
        raw: &Log,
        pipeline: &Pipeline,
        until: u64,
        memory: &Memory<'_>,
    ) -> Result<Progress> {
        let mut slot = self.open.lock();
        let mut open = match slot.take() {
            Some(open) => open,
            None => self.open(raw)?,
        };
        let mut staged = pipeline.log();
        let from = open.progress.to;
        if staged.as_ref().is_some_and(|log| log.committed() < from) {
            // Power loss took what was staged last of what the lake has: nothing is to be made of that again, and the
            // transforms must not read what is released below.
            pipeline.begin_anew(from)?;
            staged = pipeline.log();
        }
        let until = staged
            .as_ref()
            .map_or(until, |log| log.committed().min(until));
        let behind =
            || raw.bytes_from(from) + staged.as_ref().map_or(0, |log| log.bytes_from(from));
        // Given back with the round, so that a long backlog leaves other tables their turn.
        if from < until
            && let behind = behind()
            && let Some((_share, bytes)) = self.round_memory(memory, behind)
        {
            let rows = raw.committed().saturating_sub(from);
            let until = until.min(from + share_of(rows, bytes, behind));
            let staged = staged.as_deref();
            open = self.write_and_commit(raw, staged, open, until, memory)?;
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
    pub(super) fn open_lake(&self, raw: &Log) -> Result<(Lake, Progress)> {
        if self.context.shape().meta.altering.is_some() {
            // Only a lake that goes on where this table does is brought to its columns.
            drop(self.reach_lake(raw)?);
            self.finish_altering()?;
        }
        self.reach_lake(raw)
    }

    fn reach_lake(&self, raw: &Log) -> Result<(Lake, Progress)> {
        let context = &self.context;
        let lake_schema = Arc::clone(&context.shape().lake_schema);
        let (options, schema) = (context.lake.clone(), lake_schema);
        let (table_id, bucket) = (context.table_id, context.settings.bucket);
        let is_new = raw.first_offset() == 0 && self.report().tiered == 0;
        let closing = self.closing.subscribe();
        let (lake, found) = context.executor.run(async move {
            let opening = async {
                match is_new {
                    true => Lake::open(&options).await,
                    // An empty lake in place of one that had rows would look as if there had been none.
                    false => Lake::open_existing(&options).await.map(Some),
                }
            };
            let lake = match unless_closing(closing.clone(), opening).await? {
                Some(lake) => lake,
                None => Lake::open_or_create(&options, &schema).await?,
            };
            let found = unless_closing(closing, lake.find(table_id, bucket)).await?;
            Ok::<_, Error>((lake, found))
        })??;
        // Before anything is done that follows from the lake's word.
        self.check(raw, &lake, &found)?;
        Ok((lake, found.progress))
    }

    /// Fails unless the rows that the lake has are the log's.
    fn check(&self, raw: &Log, lake: &Lake, found: &Found) -> Result<()> {
        let tiered = found.progress.to;
        self.context.writers.check(lake.uri(), found)?;
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
        memory: &Memory<'_>,
    ) -> Result<Open> {
        let Open {
            lake,
            dead,
            progress,
        } = open;
        let shape = self.context.shape();
        if staged.is_none() && !shape.transforms().is_empty() {
            return Err(Error::Internal {
                reason: "the table has transforms, and its staged log is not open".to_owned(),
            });
        }
        let offsets = progress.to..until;
        let worth = self.lanes_worth(raw, offsets.clone(), staged.is_some());
        let more: Vec<_> = from_fn(memory.another_lane).take(worth - 1).collect();
        let ranges = lanes::cut(offsets, 1 + more.len());
        let input = RoundInput {
            raw,
            staged,
            shape: &shape,
            bucket: self.context.settings.bucket,
            dead: &dead.log,
        };
        let begun = Instant::now();
        let make = |range: Range<u64>,
                    stop: &dyn Fn() -> bool,
                    sink: &mut dyn FnMut(RecordBatch) -> bool| {
            let settled = input.run(range, &|| stop() || self.is_closed(), sink)?;
            // The lake must not be ahead of what the log has after power loss.
            raw.sync_through(settled.done.to)?;
            Ok(settled)
        };
        let executor = &self.context.executor;
        let (lake, settled, written) = std::thread::scope(|scope| {
            // Beside the writing, as it may take as long; whatever it says is said again above.
            if raw.durable() < until {
                let sync = || drop(raw.sync_through(until));
                let _ = std::thread::Builder::new().spawn_scoped(scope, sync);
            }
            lanes::written(executor, lake, &ranges, &make)
        })?;
        drop(more);
        let Settled { done, generation } = settled;
        let after = progress.then(done);
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
            writer: self.context.writers.commit_as()?,
        };
        let made = Instant::now();
        let from = progress.to;
        let (mut lake, progress) = commit(&self.context, lake, written, round)?;
        let rows = progress.to - from;
        let retries = lake.take_retries();
        self.metrics
            .committed(rows, begun.elapsed(), made.elapsed(), retries);
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

/// What reads of the lake, or nothing once the store is being closed: a lake that is down may take a minute to say so.
async fn unless_closing<T>(
    mut closing: watch::Receiver<bool>,
    reading: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        read = reading => read,
        _ = closing.wait_for(|is_closing| *is_closing) => Err(Error::Unavailable {
            action: "open the lake",
            state: "closed",
        }),
    }
}

/// How many of so many rows that have `all` bytes have about `bytes`, one at least.
fn share_of(rows: u64, bytes: u64, all: u64) -> u64 {
    let share = u128::from(rows) * u128::from(bytes) / u128::from(all.max(1));
    (share as u64).max(1)
}
