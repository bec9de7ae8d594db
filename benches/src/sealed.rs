//! A store with many sealed segments, most of them sparse files: opening reads their headers and footers only.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::lane::Promise;
use crate::log::{LogOptions, SEGMENT_BYTES};
use crate::samples::fixed;
use crate::table::{Log, time_to_open};

const BLOCK: usize = 4096;

/// A closed store of that many segments.
pub struct SealedStore(TempDir);

impl SealedStore {
    /// Makes a store with two real segments, the first of them sealed, and lets that one's place be taken by
    /// sparse ones, which have its blocks with other numbers in them (ARCHITECTURE.md, Segment).
    pub fn new(root: &Path, gibibytes: u64) -> Self {
        let directory = TempDir::new_in(root).expect("a directory");
        let most_of_a_segment = fixed((SEGMENT_BYTES - (2 << 20)) as usize, 1);
        let rows = most_of_a_segment.num_rows() as u64;
        let schema = most_of_a_segment.schema();
        let log = Log::create(directory.path(), &LogOptions::new(&schema, Promise::Crash));
        log.append(&most_of_a_segment);
        log.append(&fixed(4 << 20, 2));
        let raw = log.segments.clone();
        drop(log);
        split(&raw, rows, gibibytes * (1 << 30) / SEGMENT_BYTES);
        let store = Self(directory);
        store.open();
        store
    }

    /// How long opening it takes.
    pub fn open(&self) -> Duration {
        time_to_open(&self.0.path().join("store"))
    }
}

/// Puts `parts` sparse segments where the first one was, each with its share of the rows.
fn split(raw: &Path, rows: u64, parts: u64) {
    let first = raw.join(format!("{:020}.seg", 0));
    let file = File::open(&first).expect("the first segment");
    let (mut header, mut footer) = ([0u8; BLOCK], [0u8; BLOCK]);
    file.read_exact_at(&mut header, 0).expect("its header");
    file.read_exact_at(&mut footer, SEGMENT_BYTES - BLOCK as u64)
        .expect("its footer");
    assert!(footer.starts_with(b"ALLUVEND"), "the segment is not sealed");
    fs::remove_file(&first).expect("removed");
    let salt: [u8; 8] = header[64..72].try_into().expect("8 bytes");
    for part in 0..parts {
        let (base, end) = (rows * part / parts, rows * (part + 1) / parts);
        // Larger than the real ones have, of which there are two.
        let sequence = 1000 + part;
        put(&mut header, 32, sequence);
        put(&mut footer, 16, sequence);
        put(&mut footer, 32, end);
        put(&mut footer, 40, end - base);
        check(&mut header, &[]);
        check(&mut footer, &salt);
        let path = raw.join(format!("{base:020}.seg"));
        let file = File::create_new(path).expect("a file");
        file.set_len(SEGMENT_BYTES).expect("a length");
        file.write_all_at(&header, 0).expect("written");
        file.write_all_at(&footer, SEGMENT_BYTES - BLOCK as u64)
            .expect("written");
    }
}

fn put(block: &mut [u8; BLOCK], at: usize, number: u64) {
    block[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

fn check(block: &mut [u8; BLOCK], salt: &[u8]) {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(salt);
    digest.update(&block[12..]);
    let checksum = digest.finalize() as u32;
    block[8..12].copy_from_slice(&checksum.to_le_bytes());
}
