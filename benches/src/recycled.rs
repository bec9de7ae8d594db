//! Writing over pages that were written before: Alluvium's recycled segments, and their limit.
//!
//! What is prepared for these takes longer than what is measured, so it lives through all the times of a lane.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alluvium::{Durability, TableOptions};
use tempfile::TempDir;

use crate::alluvium::{Log, options};
use crate::lane::{Cell, Lane, appends_at_most, race};
use crate::limits::{allocated, write_at};
use crate::samples::{Sample, Samples};

/// The bytes of a segment here.
const SEGMENT: u64 = 32 << 20;

/// The files that are kept; one more than what is written for one time needs.
const SPARES: usize = 3;

/// What is written for one sample at most: a new file is never needed.
const BYTES_AT_MOST: u64 = 48 << 20;

/// A lane that is measured again and again.
pub trait Recycled: Lane {
    /// Makes what was written ready to be written over. Not measured.
    fn settle(&self);
}

/// The time in which every producer appends that many batches, extrapolated from what a sample lasts.
pub fn measure_recycled(lane: &dyn Recycled, cell: Cell<'_>, times: u64) -> Duration {
    let one = race(lane, cell, appends_at_most(cell, BYTES_AT_MOST));
    lane.settle();
    one.mul_f64(times as f64)
}

/// A log all of whose segment files hold rows that were tiered.
pub struct RecycledSegments {
    log: Log,
    _directory: TempDir,
}

impl RecycledSegments {
    /// Lets every file be written and tiered once.
    pub fn new(root: &Path, samples: &Samples) -> Self {
        let directory = TempDir::new_in(root).expect("a directory");
        let options: TableOptions = options(&samples.schema, Durability::Buffered)
            .segment_bytes(SEGMENT)
            .recycled_segments(SPARES);
        let lane = Self {
            log: Log::create(directory.path(), options),
            _directory: directory,
        };
        let segments = 2 * SPARES as u64;
        let turns = segments * SEGMENT / samples.payload;
        for turn in 0..turns {
            if turn % (turns / 2) == 0 {
                lane.settle();
            }
            lane.append(0, samples.at(0, 1, turn));
        }
        lane.settle();
        lane
    }
}

impl Lane for RecycledSegments {
    fn append(&self, producer: usize, sample: &Sample) {
        self.log.append(producer, sample);
    }
}

impl Recycled for RecycledSegments {
    fn settle(&self) {
        self.log.table.flush_to_lake().expect("tiered");
    }
}

/// A file for each producer, together as large as the segments are, written over from begin to end again and again.
pub struct RecycledFiles {
    files: Vec<(File, AtomicU64)>,
    bytes: u64,
    _directory: TempDir,
}

impl RecycledFiles {
    /// Writes every page once.
    pub fn new(root: &Path, samples: &Samples, producers: usize) -> Self {
        let directory = TempDir::new_in(root).expect("a directory");
        let bytes = (SPARES as u64 + 1) * SEGMENT / producers as u64;
        let largest = samples.all.iter().map(|s| s.bytes.len() as u64).max();
        let bytes_of_file = bytes + largest.expect("samples");
        let file = |producer: usize| {
            let path = directory.path().join(producer.to_string());
            let file = allocated(&path, bytes_of_file);
            write_at(&file, &vec![1u8; bytes_of_file as usize], 0);
            (file, AtomicU64::new(0))
        };
        let lane = Self {
            files: (0..producers).map(file).collect(),
            bytes,
            _directory: directory,
        };
        lane.settle();
        lane
    }
}

impl Lane for RecycledFiles {
    fn append(&self, producer: usize, sample: &Sample) {
        let (file, next) = &self.files[producer];
        let length = sample.bytes.len() as u64;
        let position = next.fetch_add(length, Ordering::Relaxed);
        write_at(file, &sample.bytes, position % self.bytes);
    }
}

impl Recycled for RecycledFiles {
    fn settle(&self) {
        for (file, _) in &self.files {
            file.sync_all().expect("synced");
        }
    }
}
