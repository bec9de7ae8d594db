//! A table's maintainer: merges fragments, keeps indices up and removes garbage, beside the rounds.
//!
//! A pass has a handle on the lake of its own, so rounds never wait for it; Lance's optimistic commits arbitrate, and
//! whatever conflicts is tried again in a later pass. A pass can be given up at any time: what it had not committed is garbage.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::index::IndexStatus;
use crate::log::now_us;
use crate::tier::context::TierContext;
use crate::tier::dead_letters::dataset::options_of;
use crate::tier::lake::{Cleaned, Compacted, Lake};
use crate::tier::metrics::TierMetrics;

/// The file that keeps the last pass for other processes.
const REPORT_FILE: &str = "maintenance.json";
/// How often at most, and at least, old versions are looked for.
const CLEAN_BETWEEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What maintenance did since the store was opened, and what the last pass saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MaintenanceStatus {
    /// When the last pass ended, in microseconds since 1970; `None` before the first.
    pub last_pass_us: Option<i64>,
    /// Why the last pass failed, if it did. It is tried again later, less and less often.
    pub last_error: Option<String>,
    /// Merges of fragments.
    pub compactions: u64,
    /// Fragments that were merged in them.
    pub fragments_merged: u64,
    /// Merges that were given up as another writer had changed the same fragments.
    pub conflicts: u64,
    /// Indices that were built or extended.
    pub index_updates: u64,
    /// Old versions that were removed.
    pub versions_removed: u64,
    /// Bytes of files that were removed.
    pub bytes_removed: u64,
    /// Bytes of files that no version names: of commits that failed, were interrupted or are under way.
    pub orphan_bytes: u64,
    /// Fragments of the newest version.
    pub fragments: u64,
    /// Rows of the newest version.
    pub lake_rows: u64,
    /// Bytes of the newest version's data files.
    pub lake_bytes: u64,
    /// How much of the lake each index has.
    pub indices: Vec<IndexStatus>,
}

impl MaintenanceStatus {
    /// What the last pass of whichever process left.
    pub(crate) fn read(directory: &Path) -> Self {
        let text = std::fs::read(directory.join(REPORT_FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn write(&self, directory: &Path) {
        let text = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = crate::catalog::replace_file(&directory.join(REPORT_FILE), &text) {
            tracing::warn!(%error, "cannot keep the maintenance report");
        }
    }
}

/// Keeps a table's lake healthy.
#[derive(Debug)]
pub(crate) struct Maintainer {
    state: Mutex<State>,
    changed: Condvar,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    status: MaintenanceStatus,
    /// Kept between passes, as it has read much of the lake's metadata.
    lakes: Lakes,
    /// The lake's version after the last pass.
    seen: Option<u64>,
    looked_at: Option<Instant>,
    cleaned_at: Option<Instant>,
    backoff: Backoff,
    is_running: bool,
}

/// The lake, and the dataset of the dead letters.
#[derive(Debug, Default)]
struct Lakes {
    rows: Option<Lake>,
    dead_letters: Option<Lake>,
}

/// What a pass that ran to its end leaves; the error is what could not be merged or indexed, for all that was cleaned.
type Passed = (Lakes, MaintenanceStatus, Result<()>);

/// A pass under way.
struct Pass {
    context: Arc<TierContext>,
    status: MaintenanceStatus,
    cleans: bool,
}

impl Maintainer {
    pub(crate) fn new(directory: &Path) -> Self {
        let before = MaintenanceStatus::read(directory);
        let status = MaintenanceStatus {
            // Counts begin anew with the process, as those of every metric do.
            fragments: before.fragments,
            lake_rows: before.lake_rows,
            lake_bytes: before.lake_bytes,
            orphan_bytes: before.orphan_bytes,
            indices: before.indices,
            last_pass_us: before.last_pass_us,
            ..MaintenanceStatus::default()
        };
        Self {
            state: Mutex::new(State {
                status,
                ..State::default()
            }),
            changed: Condvar::new(),
            stop: watch::channel(false).0,
        }
    }

    pub(crate) fn status(&self) -> MaintenanceStatus {
        self.state.lock().status.clone()
    }

    /// Looks at the lake in the next moment.
    pub(crate) fn hurry(&self) {
        let mut state = self.state.lock();
        state.seen = None;
        state.looked_at = None;
    }

    /// Whether a pass should begin now; claims it, so that the caller must run it. `version` is the lake's newest, as far
    /// as the rounds of this engine know; `hurries` when more waits to be merged than should.
    pub(crate) fn claim(&self, context: &TierContext, version: Option<u64>, hurries: bool) -> bool {
        let policy = &context.settings.maintenance;
        let mut state = self.state.lock();
        let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| at.elapsed());
        let looked = since(state.looked_at);
        // Versions grow old, and others commit, without a round of ours.
        let is_due = looked >= CLEAN_BETWEEN.1.max(policy.every)
            || ((hurries || looked >= policy.every) && version != state.seen);
        let is_free = !state.is_running && state.backoff.is_over() && !*self.stop.borrow();
        let is_claimed = policy.in_background && version.is_some() && is_due && is_free;
        state.is_running |= is_claimed;
        is_claimed
    }

    /// Gives up what was claimed, for want of a thread.
    pub(crate) fn unclaim(&self) {
        self.state.lock().is_running = false;
        self.changed.notify_all();
    }

    /// Runs the pass that was claimed; its failure is logged, kept in the status, and tried again later.
    pub(crate) fn run(&self, context: &Arc<TierContext>, metrics: &TierMetrics) {
        match self.pass(context, false) {
            Ok(status) => metrics.maintained(&status),
            Err(error) => {
                let lake = context.lake.shown_uri();
                tracing::warn!(%lake, %error, "maintenance failed; it is tried again");
            }
        }
    }

    /// Does all there is to do, now.
    pub(crate) fn run_now(&self, context: &Arc<TierContext>) -> Result<MaintenanceStatus> {
        let mut state = self.state.lock();
        while state.is_running {
            self.changed.wait(&mut state);
        }
        if *self.stop.borrow() {
            return Err(Error::Unavailable {
                action: "maintain a table",
                state: "closed",
            });
        }
        state.is_running = true;
        drop(state);
        self.pass(context, true)
    }

    fn pass(&self, context: &Arc<TierContext>, is_asked_for: bool) -> Result<MaintenanceStatus> {
        let between = context.settings.maintenance.keep_versions_for / 10;
        let between = between.clamp(CLEAN_BETWEEN.0, CLEAN_BETWEEN.1);
        let (lakes, pass) = {
            let mut state = self.state.lock();
            let cleaned = state.cleaned_at.map_or(Duration::MAX, |at| at.elapsed());
            let pass = Pass {
                context: Arc::clone(context),
                status: state.status.clone(),
                cleans: is_asked_for || cleaned >= between,
            };
            (std::mem::take(&mut state.lakes), pass)
        };
        let cleans = pass.cleans;
        let stop = self.stop.subscribe();
        let work = || context.executor.run(until_stopped(pass.run(lakes), stop))?;
        // Nothing here should panic; should a library do so, the table must not count as being maintained for ever.
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Error::Internal {
                reason: "maintenance panicked; its message is on standard error".to_owned(),
            })
        });
        self.ended(context, result, cleans)
    }

    fn ended(
        &self,
        context: &TierContext,
        result: Result<Option<Passed>>,
        cleaned: bool,
    ) -> Result<MaintenanceStatus> {
        let mut state = self.state.lock();
        state.is_running = false;
        state.looked_at = Some(Instant::now());
        let ended = result.and_then(|passed| {
            let Some((lakes, status, ended)) = passed else {
                return Ok(());
            };
            if cleaned {
                state.cleaned_at = state.looked_at;
            }
            if ended.is_ok() {
                state.seen = lakes.rows.as_ref().map(Lake::version);
                state.lakes = lakes;
                state.backoff.succeeded();
            }
            state.status = status;
            ended
        });
        if let Err(error) = &ended {
            state.backoff.failed();
            state.status.last_error = Some(error.to_string());
        }
        state.status.last_pass_us = Some(now_us());
        let status = state.status.clone();
        drop(state);
        status.write(&context.directory);
        self.changed.notify_all();
        ended.map(|()| status)
    }

    /// Begins no more passes, and gives up the one that runs.
    pub(crate) fn close(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until no pass runs.
    pub(crate) fn wait_idle(&self) {
        let mut state = self.state.lock();
        while state.is_running {
            self.changed.wait(&mut state);
        }
        state.lakes = Lakes::default();
    }
}

/// A pass's result; `None` when it was given up.
async fn until_stopped<T>(
    pass: impl Future<Output = Result<Option<T>>>,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<T>> {
    tokio::select! {
        done = pass => done,
        _ = stop.wait_for(|stop| *stop) => Ok(None),
    }
}

impl Pass {
    /// Merges, indexes, cleans; `None` when there is no lake yet.
    async fn run(mut self, lakes: Lakes) -> Result<Option<Passed>> {
        let opened = match lakes.rows {
            Some(lake) => Some(lake),
            None => Lake::open(&self.context.lake).await?,
        };
        let Some(mut lake) = opened else {
            return Ok(None);
        };
        if self.cleans {
            self.status.orphan_bytes = 0;
        }
        let mut kept_up = self.compact(&mut lake).await;
        if kept_up.is_ok() {
            kept_up = self.index(&mut lake).await;
        }
        if kept_up.is_err() {
            // After a failure the lake tells anew what is true.
            match Lake::open(&self.context.lake).await? {
                Some(opened) => lake = opened,
                None => return kept_up.map(|()| None),
            }
        }
        // Whatever keeps an index from being kept up must not let old versions pile up.
        self.clean(&mut lake).await?;
        let mut dead_letters = lakes.dead_letters;
        if dead_letters.is_none() && self.context.read_report().dead > 0 {
            dead_letters = Lake::open(&options_of(&self.context.lake)).await?;
        }
        if let Some(dataset) = &mut dead_letters {
            self.compact(dataset).await?;
            self.clean(dataset).await?;
        }
        lake.refresh().await?;
        let (fragments, rows, bytes) = lake.size();
        self.status.fragments = fragments;
        self.status.lake_rows = rows;
        self.status.lake_bytes = bytes;
        self.status.last_error = None;
        let rows = Some(lake);
        Ok(Some((Lakes { rows, dead_letters }, self.status, kept_up)))
    }

    /// Merges what there was when it began, level by level. What rounds add meanwhile may wait for the next pass: if they are
    /// as fast as merging is, indices and cleanup must have their turn still.
    async fn compact(&mut self, lake: &mut Lake) -> Result<()> {
        let policy = &self.context.settings.maintenance;
        lake.refresh().await?;
        let (fragments, ..) = lake.size();
        // Each level has half as many fragments as the one below, or fewer.
        let mut budget = fragments.saturating_mul(2);
        loop {
            match lake.compact_step(policy).await? {
                Compacted::Nothing => return Ok(()),
                Compacted::Merged(fragments) => {
                    self.status.compactions += 1;
                    self.status.fragments_merged += fragments as u64;
                    budget = budget.saturating_sub(fragments as u64);
                    if budget == 0 {
                        return Ok(());
                    }
                }
                Compacted::Conflict => {
                    self.status.conflicts += 1;
                    return Ok(());
                }
            }
        }
    }

    async fn index(&mut self, lake: &mut Lake) -> Result<()> {
        let shape = self.context.shape();
        self.status.indices.clear();
        for spec in &shape.meta.indices {
            let bound = self.context.settings.maintenance.unindexed_rows;
            self.status.index_updates += u64::from(lake.keep_index(spec, bound).await?);
            self.status.indices.push(lake.index_status(spec).await?);
        }
        Ok(())
    }

    async fn clean(&mut self, lake: &mut Lake) -> Result<()> {
        if !self.cleans {
            return Ok(());
        }
        let Cleaned {
            versions,
            bytes,
            orphan_bytes,
        } = lake.clean(&self.context.settings.maintenance).await?;
        self.status.versions_removed += versions;
        self.status.bytes_removed += bytes;
        self.status.orphan_bytes += orphan_bytes;
        Ok(())
    }
}
