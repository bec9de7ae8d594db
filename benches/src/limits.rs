//! What memory and the file system can do with the same bytes.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

use crate::lane::{Contestant, Lane, Opening, Promise};
use crate::log::SEGMENT_BYTES;
use crate::samples::Sample;

/// The limits of a promise.
pub(crate) fn contestants(promise: Promise) -> Vec<Contestant> {
    let contestant = |name, open| Contestant { name, open };
    match promise {
        Promise::Crash => vec![
            contestant("limit-memcpy", memcpy),
            contestant("limit-pwrite", pwrite),
            contestant("limit-pwrite-one-file", pwrite_one_file),
        ],
        Promise::Power => vec![contestant("limit-pwrite-fdatasync", pwrite)],
    }
}

/// A target for each producer, larger than a cache.
struct Memcpy(Vec<Mutex<(Vec<u8>, usize)>>);

fn memcpy(opening: &Opening<'_>) -> Box<dyn Lane> {
    const TARGET_BYTES: usize = 64 << 20;
    let target = |_| Mutex::new((vec![1u8; TARGET_BYTES], 0));
    Box::new(Memcpy((0..opening.producers).map(target).collect()))
}

impl Lane for Memcpy {
    fn append(&self, producer: usize, sample: &Sample) {
        let mut guard = self.0[producer].lock().expect("a target");
        let (target, position) = &mut *guard;
        if *position + sample.bytes.len() > target.len() {
            *position = 0;
        }
        let end = *position + sample.bytes.len();
        target[*position..end].copy_from_slice(black_box(&sample.bytes));
        black_box(&target);
        *position = end;
    }
}

/// One `pwrite` for each sample.
pub(crate) struct Pwrite {
    files: Vec<Target>,
    sync: bool,
}

/// A file, and where it goes on; from its begin again when it is full.
struct Target {
    file: File,
    next: AtomicU64,
    bytes: u64,
}

impl Pwrite {
    /// Preallocated files of that size, made durable as a segment's allocation is before its first frame.
    /// Producers take turns on them, which is a file for each unless there are fewer.
    pub(crate) fn new(directory: &Path, files: usize, bytes: u64, promise: Promise) -> Self {
        let target = |number: usize| {
            let file = allocated(&directory.join(number.to_string()), bytes);
            file.sync_all().expect("synced");
            let next = AtomicU64::new(0);
            Target { file, next, bytes }
        };
        Self {
            files: (0..files).map(target).collect(),
            sync: promise == Promise::Power,
        }
    }

    /// Writes every page.
    pub(crate) fn fill(&self) {
        let ones = vec![1u8; 1 << 20];
        for target in &self.files {
            for position in (0..target.bytes).step_by(ones.len()) {
                write_at(&target.file, &ones, position);
            }
        }
        self.settle();
    }

    /// Makes everything durable.
    pub(crate) fn settle(&self) {
        for target in &self.files {
            target.file.sync_all().expect("synced");
        }
    }
}

/// A file whose blocks are allocated, as a segment's are.
fn allocated(path: &Path, bytes: u64) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .expect("a file");
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).expect("space");
    file
}

fn pwrite(opening: &Opening<'_>) -> Box<dyn Lane> {
    fresh(opening, opening.producers)
}

fn pwrite_one_file(opening: &Opening<'_>) -> Box<dyn Lane> {
    fresh(opening, 1)
}

fn fresh(opening: &Opening<'_>, files: usize) -> Box<dyn Lane> {
    let (directory, promise) = (opening.directory, opening.promise);
    Box::new(Pwrite::new(directory, files, SEGMENT_BYTES, promise))
}

impl Lane for Pwrite {
    fn append(&self, producer: usize, sample: &Sample) {
        let target = &self.files[producer % self.files.len()];
        let length = sample.bytes.len() as u64;
        let fit = target.bytes / length;
        let turn = target.next.fetch_add(1, Ordering::Relaxed);
        write_at(&target.file, &sample.bytes, turn % fit * length);
        if self.sync {
            rustix::fs::fdatasync(&target.file).expect("synced");
        }
    }
}

/// One `pwrite`.
pub(crate) fn write_at(file: &File, bytes: &[u8], position: u64) {
    let written = rustix::io::pwrite(file, black_box(bytes), position);
    assert_eq!(written.expect("written"), bytes.len());
}
