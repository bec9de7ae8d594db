//! What is measured: a lane takes batches under a promise, from one producer or several.

use std::fs::File;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::samples::{Sample, Samples};

/// How long a sample lasts, unless its bytes are written before: much longer than threads take to start.
const SAMPLE_TIME: Duration = Duration::from_millis(60);

/// How many appends go between two looks at the clock, which is not free beside a small one.
const APPENDS_PER_LOOK: u64 = 8;

/// The free space that is written to before anything is measured.
const FREE_BYTES: u64 = 2 << 30;

/// What holds for a batch once its append returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It survives the death of the process: the kernel has it.
    Crash,
    /// It survives power loss: it was synced.
    Power,
}

impl Promise {
    /// What is written for one sample at most, of all producers together: what the page cache takes, or a disk
    /// that is throttled, without becoming another machine.
    pub(crate) fn bytes_at_most(self) -> u64 {
        match self {
            // Less than half a segment, where the next file is begun in the background.
            Self::Crash => 56 << 20,
            Self::Power => 16 << 20,
        }
    }

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

/// The time in which every producer appends that many batches, extrapolated from what a sample lasts.
pub fn measure(contestant: &Contestant, cell: Cell<'_>, times: u64) -> Duration {
    let directory = TempDir::new_in(cell.root).expect("a directory");
    let appends = appends_at_most(cell, cell.promise.bytes_at_most());
    let lane = (contestant.open)(&Opening {
        directory: directory.path(),
        samples: cell.samples,
        producers: cell.producers,
        appends,
        promise: cell.promise,
    });
    let bytes = appends * cell.samples.payload * cell.producers as u64;
    drop(warm(directory.path(), bytes));
    let one = race(&*lane, cell, appends);
    lane.abandon();
    one.mul_f64(times as f64)
}

/// Takes memory for as much page cache as will be needed, and gives it back. A virtual machine hands what is free to
/// its host after a while and takes long to get it again: who took long to open would be the one to wait.
/// The file, which is removed, holds it until it is closed.
fn warm(directory: &Path, bytes: u64) -> File {
    let path = directory.join("warm");
    let file = File::create_new(&path).expect("a file");
    let zeros = vec![0u8; 1 << 20];
    for position in (0..bytes).step_by(zeros.len()) {
        crate::limits::write_at(&file, &zeros, position);
    }
    std::fs::remove_file(path).expect("removed");
    file
}

/// How often each producer appends, to write that many bytes together; once at least.
pub(crate) fn appends_at_most(cell: Cell<'_>, bytes: u64) -> u64 {
    (bytes / (cell.samples.payload * cell.producers as u64)).max(1)
}

/// The time in which every producer appends one batch, the mean of a sample. It is counted from the first one's
/// start to the last one's end.
pub(crate) fn race<L: Lane + ?Sized>(lane: &L, cell: Cell<'_>, appends_at_most: u64) -> Duration {
    let barrier = Barrier::new(cell.producers);
    let run = |producer: usize| {
        barrier.wait();
        let begin = Instant::now();
        let mut turn = 0;
        while turn < appends_at_most {
            lane.append(producer, cell.samples.at(producer, cell.producers, turn));
            turn += 1;
            let is_large = cell.samples.payload > 16 << 10;
            if (is_large || turn % APPENDS_PER_LOOK == 0) && begin.elapsed() > SAMPLE_TIME {
                break;
            }
        }
        (begin, Instant::now(), turn)
    };
    let runs: Vec<(Instant, Instant, u64)> = std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..cell.producers)
            .map(|producer| scope.spawn(move || run(producer)))
            .collect();
        let joined = threads.into_iter().map(|t| t.join().expect("a producer"));
        joined.collect()
    });
    let begin = runs.iter().map(|r| r.0).min().expect("a producer");
    let end = runs.iter().map(|r| r.1).max().expect("a producer");
    let appends: u64 = runs.iter().map(|r| r.2).sum();
    (end - begin).mul_f64(cell.producers as f64 / appends as f64)
}

/// Drops a file's pages, written back or not, without making it shorter.
pub(crate) fn punch(path: &Path) {
    use rustix::fs::FallocateFlags;
    let file = File::options().write(true).open(path).expect("a file");
    let length = file.metadata().expect("a length").len();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // A file system that can't only makes closing slower.
    let _ = rustix::fs::fallocate(&file, flags, 0, length.max(1));
}

/// Refuses a directory that is memory, where neither a write nor a sync is one. Then writes to as many free blocks as
/// will be used at a time, and frees them: a virtual disk is slow where it was never written to, and lanes would be
/// told apart by which of them come there.
pub fn prepare_disk(root: &Path) {
    const TMPFS: i64 = 0x0102_1994;
    let kind = rustix::fs::statfs(root).expect("a file system").f_type;
    assert!(
        kind != TMPFS,
        "{} is in memory; set CARGO_TARGET_DIR to a directory on a disk",
        root.display()
    );
    warm(root, FREE_BYTES).sync_all().expect("synced");
}
