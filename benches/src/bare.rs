//! What is measured when there is no lake: a log without its table.

use std::path::{Path, PathBuf};

use alluvium::LogRows;
use alluvium::benching::BareLog;
use arrow_array::RecordBatch;

use crate::log::LogOptions;

/// A log in a directory of its own.
pub(crate) struct Log {
    log: BareLog,
    pub(crate) segments: PathBuf,
}

impl Log {
    pub(crate) fn create(directory: &Path, options: &LogOptions<'_>) -> Self {
        let segments = directory.join("raw");
        let schema = options.schema.clone();
        let log = BareLog::open(
            &segments,
            schema,
            options.durability,
            options.segment_bytes,
            options.recycled_segments,
        );
        Self {
            log: log.expect("a log"),
            segments,
        }
    }

    pub(crate) fn append(&self, batch: &RecordBatch) {
        self.log.append(batch).expect("appended");
    }

    pub(crate) fn sync(&self) {
        self.log.sync().expect("synced");
    }

    /// Lets go of full segments, so that they are used again.
    pub(crate) fn release(&self) {
        self.log.release().expect("released");
    }

    pub(crate) fn count_segments(&self) -> usize {
        self.log.segments()
    }

    pub(crate) fn read(&self) -> LogRows {
        self.log.read(0)
    }
}
