//! Alluvium's own lanes.

use std::path::Path;

use alluvium::Durability;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::SchemaRef;
use tempfile::TempDir;

#[cfg(not(feature = "lake"))]
pub(crate) use crate::bare::Log;
use crate::lane::{Contestant, Lane, Opening, Promise, punch};
use crate::samples::{Sample, Samples};
#[cfg(feature = "lake")]
pub(crate) use crate::table::Log;

/// The default bytes of a segment, and those of the files that limits write to.
pub(crate) const SEGMENT_BYTES: u64 = 128 << 20;

/// How a log is kept.
pub(crate) struct LogOptions<'a> {
    pub(crate) schema: &'a SchemaRef,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) recycled_segments: usize,
}

impl<'a> LogOptions<'a> {
    /// The defaults under a promise.
    pub(crate) fn new(schema: &'a SchemaRef, promise: Promise) -> Self {
        Self {
            schema,
            durability: match promise {
                Promise::Crash => Durability::Buffered,
                Promise::Power => Durability::Sync,
            },
            segment_bytes: SEGMENT_BYTES,
            recycled_segments: 4,
        }
    }
}

impl Lane for Log {
    fn append(&self, _producer: usize, sample: &Sample) {
        self.append(&sample.batch);
    }

    /// Forgets what isn't on the disk yet: nobody will read it.
    fn abandon(&self) {
        for entry in std::fs::read_dir(&self.segments).expect("segments") {
            let path = entry.expect("a segment").path();
            if path.extension().is_some_and(|ending| ending == "seg") {
                punch(&path);
            }
        }
    }
}

/// The lane, each time with a segment that was never written to.
pub(crate) fn contestant() -> Contestant {
    Contestant {
        name: "alluvium",
        open,
    }
}

fn open(opening: &Opening<'_>) -> Box<dyn Lane> {
    let options = LogOptions::new(&opening.samples.schema, opening.promise);
    Box::new(Log::create(opening.directory, &options))
}

/// A log of samples that nobody syncs, and the directory that it is in.
fn buffered(root: &Path, samples: &Samples) -> (Log, TempDir) {
    let directory = TempDir::new_in(root).expect("a directory");
    let options = LogOptions::new(&samples.schema, Promise::Crash);
    (Log::create(directory.path(), &options), directory)
}

/// Sums the first column, an int64, of batches in memory and of the same batches in a log.
pub struct Sums {
    samples: Samples,
    log: Log,
    _directory: TempDir,
}

impl Sums {
    /// Appends the samples to a log.
    pub fn new(root: &Path, samples: Samples) -> Self {
        let (log, directory) = buffered(root, &samples);
        for sample in &samples.all {
            log.append(&sample.batch);
        }
        Self {
            samples,
            log,
            _directory: directory,
        }
    }

    /// The bytes of the column.
    pub fn column_bytes(&self) -> u64 {
        let rows = self.samples.all.iter().map(|s| s.batch.num_rows());
        8 * rows.sum::<usize>() as u64
    }

    /// Over the arrays in memory.
    pub fn of_memory(&self) -> i64 {
        let batches = self.samples.all.iter().map(|s| &s.batch);
        batches.fold(0, |sum, b| sum.wrapping_add(first_column(b)))
    }

    /// Over the log, as it is read from its first row on.
    pub fn of_log(&self) -> i64 {
        let column = self.log.read().columns(&["id"]).expect("a column");
        let batches = column.map(|l| l.expect("a batch").batch);
        batches.fold(0, |sum, b| sum.wrapping_add(first_column(&b)))
    }
}

fn first_column(batch: &arrow_array::RecordBatch) -> i64 {
    let values = batch.column(0).as_primitive::<Int64Type>().values();
    values.iter().fold(0i64, |sum, v| sum.wrapping_add(*v))
}

/// What the kernel says that this process wrote, and the payload that it was, for a log of these samples.
pub fn written(root: &Path, samples: &Samples) -> (u64, u64) {
    let (log, _directory) = buffered(root, samples);
    let before = bytes_written();
    for sample in &samples.all {
        log.append(&sample.batch);
    }
    log.sync();
    let payload = samples.all.iter().map(|s| s.bytes.len() as u64).sum();
    (bytes_written() - before, payload)
}

/// The bytes that this process caused to be written to a disk.
fn bytes_written() -> u64 {
    let counters = std::fs::read_to_string("/proc/self/io").expect("Linux's counters");
    let line = counters
        .lines()
        .find_map(|l| l.strip_prefix("write_bytes: "));
    line.and_then(|n| n.parse().ok()).expect("a number")
}
