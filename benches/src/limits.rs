//! What memory and the file system can do with the same bytes.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

use crate::lane::{Contestant, Lane, Opening, Promise};
use crate::samples::Sample;

/// The limits of a promise.
pub(crate) fn contestants(promise: Promise) -> Vec<Contestant> {
    let contestant = |name, open| Contestant { name, open };
    match promise {
        Promise::Crash => vec![
            contestant("limit-memcpy", memcpy),
            contestant("limit-pwrite", pwrite),
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

/// A file for each producer, and where it goes on.
struct Pwrite {
    files: Vec<(File, AtomicU64)>,
    sync: bool,
}

/// A file whose blocks are allocated, as a segment's are.
pub(crate) fn allocated(path: &Path, bytes: u64) -> File {
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
    let largest = opening.samples.all.iter().map(|s| s.bytes.len()).max();
    let bytes = opening.appends * largest.expect("samples") as u64;
    let file = |producer: usize| {
        let file = allocated(&opening.directory.join(producer.to_string()), bytes);
        // A segment's allocation is durable before its first frame, too.
        file.sync_all().expect("synced");
        (file, AtomicU64::new(0))
    };
    Box::new(Pwrite {
        files: (0..opening.producers).map(file).collect(),
        sync: opening.promise == Promise::Power,
    })
}

impl Lane for Pwrite {
    fn append(&self, producer: usize, sample: &Sample) {
        let (file, next) = &self.files[producer];
        let length = sample.bytes.len() as u64;
        let position = next.fetch_add(length, Ordering::Relaxed);
        write_at(file, &sample.bytes, position);
        if self.sync {
            rustix::fs::fdatasync(file).expect("synced");
        }
    }
}

/// One `pwrite`.
pub(crate) fn write_at(file: &File, bytes: &[u8], position: u64) {
    let written = rustix::io::pwrite(file, black_box(bytes), position);
    assert_eq!(written.expect("written"), bytes.len());
}
