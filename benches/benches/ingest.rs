//! Appending to the log, beside what memory and the file system can do with the same bytes.

use std::fs::File;
use std::hint::black_box;
use std::time::{Duration, Instant};

use alluvium::{Durability, StoreOptions, Table, TableOptions};
use alluvium_benches::{images, readings};
use arrow_array::{Array, RecordBatch};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

const SEGMENT: u64 = 128 << 20;

/// The bytes that a batch's buffers hold.
fn payload(batch: &RecordBatch) -> Vec<u8> {
    let columns = batch.columns().iter().map(|column| column.to_data());
    columns
        .flat_map(|data| data.buffers().to_vec())
        .flat_map(|buffer| buffer.to_vec())
        .collect()
}

fn memcpy(bytes: &[u8], times: u64) -> Duration {
    let mut target = vec![0u8; bytes.len().max(64 << 20)];
    let mut position = 0;
    let begin = Instant::now();
    for _ in 0..times {
        if position + bytes.len() > target.len() {
            position = 0;
        }
        target[position..position + bytes.len()].copy_from_slice(black_box(bytes));
        position += bytes.len();
    }
    black_box(&target);
    begin.elapsed()
}

/// Writes as the log does: into preallocated files of a segment's size, or over one again and again.
fn pwrite(bytes: &[u8], times: u64, is_fresh: bool, sync: bool) -> Duration {
    let directory = TempDir::new().expect("a directory");
    let make = |index: u64| {
        let path = directory.path().join(index.to_string());
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .expect("a file");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT)
            .expect("space");
        file
    };
    let mut file = make(0);
    if !is_fresh {
        let zeros = vec![0u8; 1 << 20];
        for i in 0..SEGMENT >> 20 {
            rustix::io::pwrite(&file, &zeros, i << 20).expect("written");
        }
    }
    let (mut position, mut files) = (0, 1);
    let begin = Instant::now();
    for _ in 0..times {
        if position + bytes.len() as u64 > SEGMENT {
            position = 0;
            if is_fresh {
                file = make(files);
                files += 1;
            }
        }
        let written = rustix::io::pwrite(&file, black_box(bytes), position).expect("written");
        assert_eq!(written, bytes.len());
        if sync {
            rustix::fs::fdatasync(&file).expect("synced");
        }
        position += bytes.len() as u64;
    }
    begin.elapsed()
}

fn append(batch: &RecordBatch, times: u64, durability: Durability) -> Duration {
    let directory = TempDir::new().expect("a directory");
    let store = StoreOptions::new()
        .tiering(false)
        .open(directory.path().join("store"))
        .expect("a store");
    let options = TableOptions::new(batch.schema())
        .durability(durability)
        .segment_bytes(SEGMENT);
    let table: Table = store.create_table("t", options).expect("a table");
    let begin = Instant::now();
    for _ in 0..times {
        let _ = black_box(table.append(black_box(batch)).expect("appended"));
    }
    begin.elapsed()
}

fn ingest(criterion: &mut Criterion) {
    let kib = 1 << 10;
    let cases = [
        ("readings-64KiB", readings(64 * kib, 1)),
        ("readings-1MiB", readings(1024 * kib, 2)),
        ("images-1MiB", images(10, 3)),
    ];
    let mut group = criterion.benchmark_group("ingest");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    for (name, batch) in &cases {
        let bytes = payload(batch);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut lane = |lane: &str, run: &dyn Fn(u64) -> Duration| {
            group.bench_function(BenchmarkId::new(lane, name), |b| b.iter_custom(run));
        };
        lane("limit-memcpy", &|n| memcpy(&bytes, n));
        lane("limit-pwrite-warm", &|n| pwrite(&bytes, n, false, false));
        lane("limit-pwrite-fresh", &|n| pwrite(&bytes, n, true, false));
        lane("alluvium-buffered", &|n| {
            append(batch, n, Durability::Buffered)
        });
        lane("limit-pwrite-fdatasync", &|n| pwrite(&bytes, n, true, true));
        lane("alluvium-sync", &|n| append(batch, n, Durability::Sync));
    }
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
