//! What tiering and maintenance count: for [`TierSnapshot`], and for the recorder of the `metrics` facade.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram as FacadeHistogram, Label, Unit};
use serde::Serialize;

use crate::metrics::{Handles, Histogram, LatencySnapshot};
use crate::tier::maintainer::MaintenanceStatus;

/// What a table's tiering has done since the store was opened; all zero in a store that is open read-only.
///
/// # Metrics
///
/// The same goes to the recorder of the [`metrics`](https://docs.rs/metrics) facade, if the program has installed one
/// before it opens the store, with the label `table`. Lags are looked at about once a second, what is told of the lake is as
/// of the last pass of maintenance.
///
/// | Metric | Kind | |
/// |---|---|---|
/// | `alluvium_rounds_total` | counter | `rounds` |
/// | `alluvium_rounds_failed_total` | counter | `rounds_failed` |
/// | `alluvium_tiered_rows_total` | counter | `rows` |
/// | `alluvium_commit_retries_total` | counter | `commit_retries` |
/// | `alluvium_round_seconds` | histogram | `round_latency` |
/// | `alluvium_commit_seconds` | histogram | `commit_latency` |
/// | `alluvium_lag_rows`, `alluvium_lag_seconds` | gauge | as in the status |
/// | `alluvium_compactions_total`, `alluvium_versions_removed_total` | counter | as in the status |
/// | `alluvium_lake_fragments`, `alluvium_lake_rows`, `alluvium_lake_bytes`, `alluvium_orphan_bytes` | gauge | as in the status |
/// | `alluvium_unindexed_rows` | gauge | of the index that lacks most |
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TierSnapshot {
    /// Rounds that were committed.
    pub rounds: u64,
    /// Rounds that failed and were tried again later.
    pub rounds_failed: u64,
    /// Rows whose fate these rounds settled.
    pub rows: u64,
    /// Attempts to commit these rounds that came too late, as another writer of the lake was faster.
    pub commit_retries: u64,
    /// How long a round took, from its first row to its commit.
    pub round_latency: LatencySnapshot,
    /// How long a commit took.
    pub commit_latency: LatencySnapshot,
}

/// What a table's tiering counts.
pub(crate) struct TierMetrics {
    rows: AtomicU64,
    failed: AtomicU64,
    commit_retries: AtomicU64,
    round: Histogram,
    commit: Histogram,
    facade: Facade,
}

struct Facade {
    rounds: Counter,
    failed: Counter,
    rows: Counter,
    commit_retries: Counter,
    round: FacadeHistogram,
    commit: FacadeHistogram,
    lag_rows: Gauge,
    lag_seconds: Gauge,
    compactions: Counter,
    versions_removed: Counter,
    fragments: Gauge,
    lake_rows: Gauge,
    lake_bytes: Gauge,
    orphan_bytes: Gauge,
    unindexed_rows: Gauge,
}

impl Facade {
    fn new(table: &str) -> Self {
        use Unit::{Bytes, Count, Seconds};
        let of = Handles::new(vec![Label::new("table", table.to_owned())]);
        Self {
            rounds: of.count("alluvium_rounds_total", Count, "Rounds that were committed"),
            failed: of.count("alluvium_rounds_failed_total", Count, "Rounds that failed"),
            rows: of.count(
                "alluvium_tiered_rows_total",
                Count,
                "Rows whose fate is settled",
            ),
            commit_retries: of.count(
                "alluvium_commit_retries_total",
                Count,
                "Commits that were tried again as another writer was faster",
            ),
            round: of.time("alluvium_round_seconds", "How long a round took"),
            commit: of.time(
                "alluvium_commit_seconds",
                "How long a commit to the lake took",
            ),
            lag_rows: of.level("alluvium_lag_rows", Count, "Rows that are not tiered yet"),
            lag_seconds: of.level(
                "alluvium_lag_seconds",
                Seconds,
                "The age of the oldest of them",
            ),
            compactions: of.count("alluvium_compactions_total", Count, "Merges of fragments"),
            versions_removed: of.count(
                "alluvium_versions_removed_total",
                Count,
                "Old versions of the lake that were removed",
            ),
            fragments: of.level("alluvium_lake_fragments", Count, "Fragments of the lake"),
            lake_rows: of.level("alluvium_lake_rows", Count, "Rows of the lake"),
            lake_bytes: of.level(
                "alluvium_lake_bytes",
                Bytes,
                "Bytes of the lake's data files",
            ),
            orphan_bytes: of.level(
                "alluvium_orphan_bytes",
                Bytes,
                "Bytes of the lake's files that no version names",
            ),
            unindexed_rows: of.level(
                "alluvium_unindexed_rows",
                Count,
                "Rows that the index lacks which lacks most",
            ),
        }
    }
}

impl TierMetrics {
    pub(crate) fn new(table: &str) -> Self {
        Self {
            rows: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            commit_retries: AtomicU64::new(0),
            round: Histogram::new(),
            commit: Histogram::new(),
            facade: Facade::new(table),
        }
    }

    /// A round of so many rows was committed, after so many attempts that came too late.
    pub(crate) fn committed(&self, rows: u64, round: Duration, commit: Duration, retries: u64) {
        self.rows.fetch_add(rows, Relaxed);
        self.commit_retries.fetch_add(retries, Relaxed);
        self.facade.commit_retries.increment(retries);
        self.round.record(round);
        self.commit.record(commit);
        self.facade.rounds.increment(1);
        self.facade.rows.increment(rows);
        self.facade.round.record(round);
        self.facade.commit.record(commit);
    }

    /// A round failed.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
        self.facade.failed.increment(1);
    }

    /// So many rows are not tiered, the oldest of that age.
    pub(crate) fn lag(&self, rows: u64, age: Duration) {
        self.facade.lag_rows.set(rows as f64);
        self.facade.lag_seconds.set(age.as_secs_f64());
    }

    /// A pass of maintenance ended.
    pub(crate) fn maintained(&self, status: &MaintenanceStatus) {
        self.facade.compactions.absolute(status.compactions);
        self.facade
            .versions_removed
            .absolute(status.versions_removed);
        self.facade.fragments.set(status.fragments as f64);
        self.facade.lake_rows.set(status.lake_rows as f64);
        self.facade.lake_bytes.set(status.lake_bytes as f64);
        self.facade.orphan_bytes.set(status.orphan_bytes as f64);
        let unindexed = status
            .indices
            .iter()
            .map(|index| index.unindexed_rows)
            .max();
        self.facade
            .unindexed_rows
            .set(unindexed.unwrap_or_default() as f64);
    }

    pub(crate) fn snapshot(&self) -> TierSnapshot {
        let round_latency = self.round.snapshot();
        TierSnapshot {
            rounds: round_latency.count,
            rounds_failed: self.failed.load(Relaxed),
            rows: self.rows.load(Relaxed),
            commit_retries: self.commit_retries.load(Relaxed),
            round_latency,
            commit_latency: self.commit.snapshot(),
        }
    }
}

impl fmt::Debug for TierMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TierMetrics")
            .field(&self.snapshot())
            .finish()
    }
}
