//! Draining the log into a lake on disk and on S3, beside one plain Lance write of the same batches.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alluvium::{StoreOptions, TableOptions};
use alluvium_benches::{images, readings};
use alluvium_tests::{BUCKET, S3Server};
use arrow_array::{RecordBatch, RecordBatchIterator};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lance::dataset::{Dataset, WriteParams};
use lance::io::{ObjectStoreParams, StorageOptionsAccessor};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Where datasets are written to.
enum Place {
    /// A new directory each time.
    Disk,
    /// A real S3 server on loopback, a new prefix each time.
    S3(S3Server, AtomicU64),
}

/// An address that nothing was written to, what gets one in, and what holds the place.
struct Fresh {
    uri: String,
    options: Vec<(&'static str, String)>,
    directory: TempDir,
}

impl Place {
    fn fresh(&self) -> Fresh {
        let directory = TempDir::new().expect("a directory");
        let (uri, options) = match self {
            Self::Disk => (
                directory.path().join("x.lance").display().to_string(),
                Vec::new(),
            ),
            Self::S3(server, next) => {
                let next = next.fetch_add(1, Ordering::Relaxed);
                (format!("s3://{BUCKET}/{next}.lance"), server.options())
            }
        };
        Fresh {
            uri,
            options,
            directory,
        }
    }
}

/// Settles a backlog that the log's disk has, as one that waited has come to be.
fn drain(place: &Place, batches: &[RecordBatch]) -> Duration {
    let fresh = place.fresh();
    let store = StoreOptions::new()
        .tiering(false)
        .open(fresh.directory.path().join("store"))
        .expect("a store");
    let mut options = TableOptions::new(batches[0].schema())
        .lake(fresh.uri)
        .secrets_in_clear(true);
    for (name, value) in fresh.options {
        options = options.storage_option(name, value);
    }
    let table = store.create_table("t", options).expect("a table");
    for batch in batches {
        let _ = table.append(batch).expect("appended");
    }
    table.sync().expect("synced");
    let begin = Instant::now();
    table.flush_to_lake().expect("tiered");
    begin.elapsed()
}

/// One plain Lance write of the same batches, which a disk may lose; with `synced` its files are made durable.
fn plain(place: &Place, batches: &[RecordBatch], synced: bool, runtime: &Runtime) -> Duration {
    let fresh = place.fresh();
    let (owned, schema) = (batches.to_vec(), batches[0].schema());
    let reader = RecordBatchIterator::new(owned.into_iter().map(Ok), schema);
    let options = fresh
        .options
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    let accessor = StorageOptionsAccessor::with_static_options(options.collect());
    let params = WriteParams {
        store_params: Some(ObjectStoreParams {
            storage_options_accessor: Some(Arc::new(accessor)),
            ..ObjectStoreParams::default()
        }),
        ..WriteParams::default()
    };
    let begin = Instant::now();
    runtime
        .block_on(Dataset::write(reader, &fresh.uri, Some(params)))
        .expect("written");
    if synced {
        sync_below(fresh.directory.path());
    }
    begin.elapsed()
}

fn sync_below(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        match entry.path() {
            path if path.is_dir() => sync_below(&path),
            path => File::open(path)
                .and_then(|file| file.sync_all())
                .expect("synced"),
        }
    }
    File::open(directory)
        .and_then(|file| file.sync_all())
        .expect("synced");
}

fn tiering(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
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
        .measurement_time(Duration::from_secs(10));
    for on in ["disk", "s3"] {
        for (name, batches) in &cases {
            let place = match on {
                "disk" => Place::Disk,
                // One for each case: all of them might not have room for what is written.
                _ => Place::S3(S3Server::start(), AtomicU64::new(0)),
            };
            let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
            group.throughput(Throughput::Bytes(bytes as u64));
            for synced in [false, true] {
                // What S3 has it has for good.
                if synced && on == "s3" {
                    continue;
                }
                let lane = if synced {
                    "plain-lance-synced"
                } else {
                    "plain-lance"
                };
                group.bench_function(BenchmarkId::new(format!("{on}-{lane}"), name), |b| {
                    b.iter_custom(|n| {
                        (0..n)
                            .map(|_| plain(&place, batches, synced, &runtime))
                            .sum()
                    })
                });
            }
            group.bench_function(
                BenchmarkId::new(format!("{on}-alluvium-drain"), name),
                |b| b.iter_custom(|n| (0..n).map(|_| drain(&place, batches)).sum()),
            );
        }
    }
    group.finish();
}

criterion_group!(benches, tiering);
criterion_main!(benches);
