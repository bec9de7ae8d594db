//! Draining the log into a local lake, beside one plain Lance write of the same batches.

use std::time::{Duration, Instant};

use alluvium::{Durability, StoreOptions, TableOptions};
use alluvium_benches::{images, readings};
use arrow_array::{RecordBatch, RecordBatchIterator};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lance::dataset::{Dataset, WriteParams};
use tempfile::TempDir;

fn drain(batches: &[RecordBatch]) -> Duration {
    let directory = TempDir::new().expect("a directory");
    let store = StoreOptions::new()
        .tiering(false)
        .open(directory.path().join("store"))
        .expect("a store");
    let options = TableOptions::new(batches[0].schema()).durability(Durability::Buffered);
    let table = store.create_table("t", options).expect("a table");
    for batch in batches {
        let _ = table.append(batch).expect("appended");
    }
    let begin = Instant::now();
    table.flush_to_lake().expect("tiered");
    begin.elapsed()
}

fn plain(batches: &[RecordBatch], runtime: &tokio::runtime::Runtime) -> Duration {
    let directory = TempDir::new().expect("a directory");
    let uri = directory.path().join("plain.lance").display().to_string();
    let (owned, schema) = (batches.to_vec(), batches[0].schema());
    let reader = RecordBatchIterator::new(owned.into_iter().map(Ok), schema);
    let begin = Instant::now();
    runtime
        .block_on(Dataset::write(reader, &uri, Some(WriteParams::default())))
        .expect("written");
    begin.elapsed()
}

fn tiering(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cases = [
        (
            "readings-256MiB",
            (0..256).map(|i| readings(1 << 20, i)).collect::<Vec<_>>(),
        ),
        (
            "images-256MiB",
            (0..256).map(|i| images(10, i)).collect::<Vec<_>>(),
        ),
    ];
    let mut group = criterion.benchmark_group("tiering");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(20));
    for (name, batches) in &cases {
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("limit-plain-lance", name), |b| {
            b.iter_custom(|n| (0..n).map(|_| plain(batches, &runtime)).sum())
        });
        group.bench_function(BenchmarkId::new("alluvium-drain", name), |b| {
            b.iter_custom(|n| (0..n).map(|_| drain(batches)).sum())
        });
    }
    group.finish();
}

criterion_group!(benches, tiering);
criterion_main!(benches);
