//! What a log counts: for [`LogSnapshot`], and for the recorder of the `metrics` facade. Tiering counts by the same means.

mod facade;
mod histogram;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

use facade::Facade;
pub(crate) use facade::Handles;
pub(crate) use histogram::Histogram;
pub use histogram::LatencySnapshot;

/// What a table's log has done since it was opened.
///
/// Every number is exact when nobody uses the log; otherwise what happens meanwhile may be in some numbers
/// and not yet in others.
///
/// # Metrics
///
/// The same goes to the recorder of the [`metrics`](https://docs.rs/metrics) facade, if the program has
/// installed one **before it opens the store**: a log takes its handles once, when it is opened. A metric's
/// labels are `table` and `log` (`raw` for the table's rows, `staged` for what transforms made of them, `dead` for its dead
/// letters). The backlog of the first two is looked at about once a second. Two stores of one
/// process that have tables of the same name share these tables' metrics.
///
/// | Metric | Kind | In the snapshot |
/// |---|---|---|
/// | `alluvium_appended_rows_total` | counter | `appended_rows` |
/// | `alluvium_appended_bytes_total` | counter | `appended_bytes` |
/// | `alluvium_append_seconds` | histogram | `appends`, `append_latency` |
/// | `alluvium_duplicate_appends_total` | counter | `duplicates` |
/// | `alluvium_fsync_seconds` | histogram | `fsyncs`, `fsync_latency` |
/// | `alluvium_segments_created_total` | counter | `segments_created` |
/// | `alluvium_segments_recycled_total` | counter | `segments_recycled` |
/// | `alluvium_segments_removed_total` | counter | `segments_removed` |
/// | `alluvium_space_wait_seconds` | histogram | `waits_for_space`, `wait_seconds` |
/// | `alluvium_space_refusals_total` | counter | `refused_for_space` |
/// | `alluvium_backlog_bytes` | gauge | `backlog_bytes` |
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LogSnapshot {
    /// Rows that were appended.
    pub appended_rows: u64,
    /// Bytes of the frames that hold them.
    pub appended_bytes: u64,
    /// Appends that were acknowledged, without the duplicates.
    pub appends: u64,
    /// Idempotent appends whose rows were there already.
    pub duplicates: u64,
    /// How long an append took.
    pub append_latency: LatencySnapshot,
    /// Calls of `fdatasync`.
    pub fsyncs: u64,
    /// How long one took.
    pub fsync_latency: LatencySnapshot,
    /// Segment files that were created.
    pub segments_created: u64,
    /// Segment files that were used again for new rows.
    pub segments_recycled: u64,
    /// Segment files that were removed.
    pub segments_removed: u64,
    /// Appends that waited until the log had space for them.
    pub waits_for_space: u64,
    /// How long these waited, all together, in seconds.
    pub wait_seconds: f64,
    /// Appends that were refused because the log had no space.
    pub refused_for_space: u64,
    /// Bytes of the frames that are not tiered yet, as of when the log last counted them.
    pub backlog_bytes: u64,
}

/// What a log counts. Its threads share it and never wait for each other.
pub(crate) struct LogMetrics {
    appends: Appends,
    duplicates: AtomicU64,
    fsyncs: Histogram,
    segments_created: AtomicU64,
    segments_recycled: AtomicU64,
    segments_removed: AtomicU64,
    waits_for_space: AtomicU64,
    wait_nanos: AtomicU64,
    refused_for_space: AtomicU64,
    backlog_bytes: AtomicU64,
    facade: Facade,
}

/// What every append writes: one cache line, and that of the latency's bucket.
#[repr(align(64))]
struct Appends {
    rows: AtomicU64,
    bytes: AtomicU64,
    latency: Histogram,
}

impl LogMetrics {
    /// `table` and `log` (`raw` or `dead`) are the labels of the facade's metrics, whose handles are taken here.
    pub(crate) fn new(table: &str, log: &'static str) -> Self {
        Self {
            appends: Appends {
                rows: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                latency: Histogram::new(),
            },
            duplicates: AtomicU64::new(0),
            fsyncs: Histogram::new(),
            segments_created: AtomicU64::new(0),
            segments_recycled: AtomicU64::new(0),
            segments_removed: AtomicU64::new(0),
            waits_for_space: AtomicU64::new(0),
            wait_nanos: AtomicU64::new(0),
            refused_for_space: AtomicU64::new(0),
            backlog_bytes: AtomicU64::new(0),
            facade: Facade::new(table, log),
        }
    }

    /// An append was acknowledged: `rows` rows in a frame of `bytes` bytes.
    pub(crate) fn appended(&self, rows: u64, bytes: u64, latency: Duration) {
        self.appends.rows.fetch_add(rows, Relaxed);
        self.appends.bytes.fetch_add(bytes, Relaxed);
        self.appends.latency.record(latency);
        self.facade.appended_rows.increment(rows);
        self.facade.appended_bytes.increment(bytes);
        self.facade.append.record(latency);
    }

    /// An idempotent append's rows were there already.
    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
        self.facade.duplicates.increment(1);
    }

    /// One `fdatasync` was done.
    pub(crate) fn synced(&self, latency: Duration) {
        self.fsyncs.record(latency);
        self.facade.fsync.record(latency);
    }

    /// A segment file was created.
    pub(crate) fn segment_created(&self) {
        self.segments_created.fetch_add(1, Relaxed);
        self.facade.segments_created.increment(1);
    }

    /// A segment file that held tiered rows is used again.
    pub(crate) fn segment_recycled(&self) {
        self.segments_recycled.fetch_add(1, Relaxed);
        self.facade.segments_recycled.increment(1);
    }

    /// A segment file was removed.
    pub(crate) fn segment_removed(&self) {
        self.segments_removed.fetch_add(1, Relaxed);
        self.facade.segments_removed.increment(1);
    }

    /// An append had to wait for space, and got it or gave up.
    pub(crate) fn waited_for_space(&self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.waits_for_space.fetch_add(1, Relaxed);
        self.wait_nanos.fetch_add(nanos, Relaxed);
        self.facade.space_wait.record(waited);
    }

    /// An append was refused because there was no space for it.
    pub(crate) fn refused_for_space(&self) {
        self.refused_for_space.fetch_add(1, Relaxed);
        self.facade.space_refusals.increment(1);
    }

    /// So many bytes of frames are not tiered yet.
    pub(crate) fn backlog(&self, bytes: u64) {
        self.backlog_bytes.store(bytes, Relaxed);
        self.facade.backlog.set(bytes as f64);
    }

    /// The numbers of now.
    pub(crate) fn snapshot(&self) -> LogSnapshot {
        let append_latency = self.appends.latency.snapshot();
        let fsync_latency = self.fsyncs.snapshot();
        let waited = Duration::from_nanos(self.wait_nanos.load(Relaxed));
        LogSnapshot {
            appended_rows: self.appends.rows.load(Relaxed),
            appended_bytes: self.appends.bytes.load(Relaxed),
            appends: append_latency.count,
            duplicates: self.duplicates.load(Relaxed),
            append_latency,
            fsyncs: fsync_latency.count,
            fsync_latency,
            segments_created: self.segments_created.load(Relaxed),
            segments_recycled: self.segments_recycled.load(Relaxed),
            segments_removed: self.segments_removed.load(Relaxed),
            waits_for_space: self.waits_for_space.load(Relaxed),
            wait_seconds: waited.as_secs_f64(),
            refused_for_space: self.refused_for_space.load(Relaxed),
            backlog_bytes: self.backlog_bytes.load(Relaxed),
        }
    }
}

impl fmt::Debug for LogMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogMetrics").field(&self.snapshot()).finish()
    }
}
