//! What is measured: a lane takes batches under a promise, from one producer or several.

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::samples::{Sample, Samples};

/// What is written for one time at most, of all producers together, so that page cache is what is measured
/// and not the kernel's throttling of a disk that is slower.
const BYTES_AT_MOST: u64 = 96 << 20;

/// What holds for a batch once its append returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It survives the death of the process: the kernel has it.
    Crash,
    /// It survives power loss: it was synced.
    Power,
}

impl Promise {
    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Power => "power",
        }
    }
}

/// What a lane is opened for.
#[derive(Debug)]
pub struct Opening<'a> {
    /// An empty directory of its own.
    pub directory: &'a Path,
    /// What will be appended.
    pub samples: &'a Samples,
    /// How many threads will append.
    pub producers: usize,
    /// How often each of them will.
    pub appends: u64,
    /// What is promised.
    pub promise: Promise,
}

/// Something that takes batches.
pub trait Lane: Sync {
    /// Appends one batch; the promise holds when this returns.
    fn append(&self, producer: usize, sample: &Sample);

    /// Forgets what is not on the disk yet, so that closing doesn't wait for bytes that nobody will read.
    fn abandon(&self) {}
}

/// A lane that can be opened.
#[derive(Debug, Clone, Copy)]
pub struct Contestant {
    /// Its name in a report.
    pub name: &'static str,
    /// Opens it.
    pub open: fn(&Opening<'_>) -> Box<dyn Lane>,
}

/// One place of the table: what is appended, by how many, under which promise, on which disk.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// Where directories are made.
    pub root: &'a Path,
    /// What is appended.
    pub samples: &'a Samples,
    /// How many threads append.
    pub producers: usize,
    /// What is promised.
    pub promise: Promise,
}

/// The time in which every producer appends that many batches. Past a bound it is extrapolated.
pub fn measure(contestant: &Contestant, cell: Cell<'_>, times: u64) -> Duration {
    let round = cell.samples.payload * cell.producers as u64;
    let appends = times.min((BYTES_AT_MOST / round).max(1));
    let directory = TempDir::new_in(cell.root).expect("a directory");
    let lane = (contestant.open)(&Opening {
        directory: directory.path(),
        samples: cell.samples,
        producers: cell.producers,
        appends,
        promise: cell.promise,
    });
    let elapsed = race(&*lane, cell, appends);
    lane.abandon();
    elapsed.mul_f64(times as f64 / appends as f64)
}

/// From the first producer's start to the last one's end.
pub(crate) fn race<L: Lane + ?Sized>(lane: &L, cell: Cell<'_>, appends: u64) -> Duration {
    let barrier = Barrier::new(cell.producers);
    let run = |producer: usize| {
        barrier.wait();
        let begin = Instant::now();
        for turn in 0..appends {
            lane.append(producer, cell.samples.at(producer, cell.producers, turn));
        }
        (begin, Instant::now())
    };
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..cell.producers)
            .map(|producer| scope.spawn(move || run(producer)))
            .collect();
        let joined = threads.into_iter().map(|t| t.join().expect("a producer"));
        joined.collect()
    });
    let begin = times.iter().map(|t| t.0).min().expect("a producer");
    let end = times.iter().map(|t| t.1).max().expect("a producer");
    end - begin
}

/// Drops a file's pages, written back or not, without making it shorter.
pub(crate) fn punch(path: &Path) {
    use rustix::fs::FallocateFlags;
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("a file");
    let length = file.metadata().expect("a length").len();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // A file system that can't only makes closing slower.
    let _ = rustix::fs::fallocate(&file, flags, 0, length.max(1));
}

/// Refuses a directory that is memory, where neither a write nor a sync is one.
pub fn check_disk(root: &Path) {
    const TMPFS: i64 = 0x0102_1994;
    let kind = rustix::fs::statfs(root).expect("a file system").f_type;
    assert!(
        kind != TMPFS,
        "{} is in memory; set CARGO_TARGET_DIR to a directory on a disk",
        root.display()
    );
}
