//! How a log is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::append::now_us;
use super::block::{LogKind, SegmentHeader};
#[cfg(not(test))]
use super::storage::FileSystem;
use super::storage::Storage;
use crate::metrics::LogMetrics;

/// The default size of a segment file in bytes.
pub(crate) const SEGMENT_BYTES: u64 = 128 << 20;
/// How many segment files are kept for reuse by default.
pub(crate) const RECYCLED_SEGMENTS: usize = 4;

/// What an acknowledged append survives. Whatever the mode, a process that is killed loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Durability {
    /// The death of the process (SIGKILL included), not that of the machine. The fastest.
    Buffered,
    /// Power loss, all but what was appended in the last interval (and while its `fdatasync` ran).
    /// The log is synced that often in the background.
    Interval(Duration),
    /// Power loss: an append returns once the disk has the rows. Producers that wait at the same time
    /// share one `fdatasync`. New segments are filled with zeros ahead of need, the first when the table is created.
    Sync,
}

impl Default for Durability {
    /// [`Durability::Interval`] of 100 ms.
    fn default() -> Self {
        Self::Interval(Duration::from_millis(100))
    }
}

/// What an append does when the log has as many bytes as it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits for tiering to make room, that long at most, and then fails.
    Block(Duration),
    /// It fails at once with [`Error::LogFull`](crate::Error::LogFull).
    Fail,
}

impl Default for WhenFull {
    /// [`WhenFull::Block`] of 60 s.
    fn default() -> Self {
        Self::Block(Duration::from_secs(60))
    }
}

/// How long a segment is kept once its rows are tiered. Whichever limit is passed first ends it; a log that is
/// full keeps nothing longer than it must. Default: not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retention {
    /// The age of a segment's newest row.
    pub(crate) age: Option<Duration>,
    /// Bytes of all tiered segments together.
    pub(crate) bytes: Option<u64>,
}

/// How a log is kept.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) directory: PathBuf,
    pub(crate) table_id: Uuid,
    pub(crate) kind: LogKind,
    pub(crate) segment_bytes: u64,
    /// The offset that a new log begins at.
    pub(crate) begins_at: u64,
    pub(crate) durability: Durability,
    /// How many segments are kept for reuse at most.
    pub(crate) recycled_segments: usize,
    /// Bytes of all files of the log at most.
    pub(crate) max_bytes: Option<u64>,
    pub(crate) when_full: WhenFull,
    pub(crate) retention: Retention,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) metrics: Arc<LogMetrics>,
    /// The fault that a test wants its suite to notice.
    #[cfg(test)]
    pub(crate) planted: Option<super::tests::Planted>,
}

impl LogOptions {
    /// The defaults for a log of a table in a directory.
    pub(crate) fn new(directory: &Path, table: &str, table_id: Uuid, kind: LogKind) -> Self {
        Self {
            directory: directory.to_path_buf(),
            table_id,
            kind,
            segment_bytes: SEGMENT_BYTES,
            begins_at: 0,
            durability: Durability::default(),
            recycled_segments: RECYCLED_SEGMENTS,
            max_bytes: None,
            when_full: WhenFull::default(),
            retention: Retention::default(),
            #[cfg(not(test))]
            storage: Arc::new(FileSystem),
            #[cfg(test)]
            storage: super::tests::storage_of(directory),
            metrics: Arc::new(LogMetrics::new(table, kind.directory())),
            #[cfg(test)]
            planted: None,
        }
    }

    /// The header of a new segment of this log.
    pub(crate) fn segment_header(&self, sequence: u64, capacity: u64) -> SegmentHeader {
        SegmentHeader {
            table_id: self.table_id,
            sequence,
            capacity,
            created_us: now_us(),
            kind: self.kind,
            salt: Uuid::new_v4().as_u64_pair().0,
        }
    }

    /// Whether new segments are written full of zeros, in the background but for the first. The file system has to note
    /// for every block that `fallocate` gave that it was written to, and an `fdatasync` waits for that note: it takes
    /// several times as long (PostgreSQL's `wal_init_zero`, raft-engine's `prefill-for-recycle`).
    pub(crate) fn fills_segments(&self) -> bool {
        self.durability == Durability::Sync
    }

    /// Whether a test planted this fault. In what users run there are none.
    #[cfg(test)]
    pub(crate) fn has(&self, fault: super::tests::Planted) -> bool {
        self.planted == Some(fault) || self.storage.has(fault)
    }
}
