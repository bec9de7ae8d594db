//! Writing over pages that were written before: Alluvium's recycled segments, and their limit.
//!
//! What is prepared for these takes longer than what is measured, so it lives through all the times of a lane.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::lane::{Cell, Lane, Promise, appends_at_most, race};
use crate::limits::Pwrite;
use crate::log::{Log, LogOptions};
use crate::samples::{Kind, Sample, Samples};

/// The bytes of a segment here.
const SEGMENT: u64 = 64 << 20;

/// The files that are kept beside the one that is written.
const SPARES: usize = 3;

/// What is written for one sample at most: with what it begins with, a segment is not full.
const BYTES_AT_MOST: u64 = 56 << 20;

/// The bytes of a batch that fills up segments; one lies in front of a sample.
const FILLER: usize = 4 << 20;

/// A lane that is measured again and again.
pub trait Recycled: Lane {
    /// Makes what was written ready to be written over, and durable. Not measured.
    fn settle(&self);
}

/// The time in which every producer appends that many batches, extrapolated from what a sample lasts.
pub fn measure_recycled(lane: &dyn Recycled, cell: Cell<'_>, times: u64) -> Duration {
    let bytes = BYTES_AT_MOST.min(cell.promise.bytes_at_most());
    let one = race(lane, cell, appends_at_most(cell, bytes));
    lane.settle();
    one.mul_f64(times as f64)
}

/// A log all of whose segment files hold rows that were tiered.
pub struct RecycledSegments {
    log: Log,
    filler: Samples,
    _directory: TempDir,
}

impl RecycledSegments {
    /// Lets every file be written and tiered once.
    pub fn new(root: &Path, samples: &Samples, promise: Promise) -> Self {
        let directory = TempDir::new_in(root).expect("a directory");
        let options = LogOptions {
            segment_bytes: SEGMENT,
            recycled_segments: SPARES,
            ..LogOptions::new(&samples.schema, promise)
        };
        let lane = Self {
            log: Log::create(directory.path(), &options),
            filler: Samples::new(Kind::Fixed, FILLER),
            _directory: directory,
        };
        // As many files as are kept come into being only when as many segments are full at a time.
        (0..=SPARES).for_each(|_| lane.roll());
        lane.log.release();
        (0..=SPARES).for_each(|_| lane.settle());
        lane
    }

    /// Fills up the segment, so that rows go to the next one.
    fn roll(&self) {
        let before = self.log.count_segments();
        for turn in 0.. {
            if self.log.count_segments() > before {
                return;
            }
            self.log.append(&self.filler.at(0, 1, turn).batch);
        }
    }
}

impl Lane for RecycledSegments {
    fn append(&self, producer: usize, sample: &Sample) {
        Lane::append(&self.log, producer, sample);
    }
}

impl Recycled for RecycledSegments {
    fn settle(&self) {
        self.roll();
        self.log.release();
    }
}

/// Files that together are as large as the segments, written over from begin to end again and again.
pub struct RecycledFiles {
    files: Pwrite,
    _directory: TempDir,
}

impl RecycledFiles {
    /// Writes every page once.
    pub fn new(root: &Path, files: usize, promise: Promise) -> Self {
        let directory = TempDir::new_in(root).expect("a directory");
        let bytes = (SPARES as u64 + 1) * SEGMENT / files as u64;
        let files = Pwrite::new(directory.path(), files, bytes, promise);
        files.fill();
        Self {
            files,
            _directory: directory,
        }
    }
}

impl Lane for RecycledFiles {
    fn append(&self, producer: usize, sample: &Sample) {
        self.files.append(producer, sample);
    }
}

impl Recycled for RecycledFiles {
    fn settle(&self) {
        self.files.settle();
    }
}
