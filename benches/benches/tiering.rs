//! Draining the log into a lake on disk and on S3, beside one plain Lance write of the same batches. Not Criterion: both take
//! alternating turns, and what is told is their ratio, as a row of `benches/results/tiering.md`.
//!
//! `ALLUVIUM_BENCH_LANE=disk|s3` runs one alone.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alluvium::{StoreOptions, TableOptions};
use alluvium_benches::{images, readings};
use alluvium_tests::{BUCKET, S3Server};
use arrow_array::{RecordBatch, RecordBatchIterator};
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

/// How often a case is measured, in alternating turns; a turn before them is not counted.
const TURNS: usize = 7;

/// One turn's seconds.
struct Turn {
    plain: f64,
    /// Of a plain write that survives power loss. What S3 has it has for good.
    synced: Option<f64>,
    drain: f64,
}

fn turn(place: &Place, batches: &[RecordBatch], runtime: &Runtime) -> Turn {
    let plain = |synced| plain(place, batches, synced, runtime).as_secs_f64();
    Turn {
        plain: plain(false),
        synced: matches!(place, Place::Disk).then(|| plain(true)),
        drain: drain(place, batches).as_secs_f64(),
    }
}

/// The least, the median and the most.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    [
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    ]
}

fn tell(what: &str, peer: &str, turns: &[Turn], seconds: impl Fn(&Turn) -> Option<f64>) {
    let peers: Option<Vec<f64>> = turns.iter().map(&seconds).collect();
    let Some(peers) = peers else { return };
    let ratios = turns.iter().zip(&peers);
    let [least, median, most] = spread(ratios.map(|(turn, peer)| peer / turn.drain));
    let [_, drain, _] = spread(turns.iter().map(|turn| turn.drain));
    let [_, peer_median, _] = spread(peers.into_iter());
    println!(
        "| drain {what} over {peer} | {median:.2} ({least:.2} to {most:.2}; {drain:.2} s, {peer_median:.2} s) |"
    );
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let wanted = std::env::var("ALLUVIUM_BENCH_LANE").ok();
    let cases: [(&str, Vec<RecordBatch>); 2] = [
        (
            "36-byte rows",
            (0..256).map(|i| readings(1 << 20, i)).collect(),
        ),
        ("pictures", (0..256).map(|i| images(10, i)).collect()),
    ];
    println!("| what | median (least to most; medians of both) |\n|---|---|");
    for on in ["disk", "s3"] {
        if wanted.as_deref().is_some_and(|wanted| wanted != on) {
            continue;
        }
        for (name, batches) in &cases {
            let place = match on {
                "disk" => Place::Disk,
                // One for each case: all of them might not have room for what is written.
                _ => Place::S3(S3Server::start(), AtomicU64::new(0)),
            };
            let turns = (0..=TURNS).map(|_| turn(&place, batches, &runtime));
            let turns: Vec<_> = turns.skip(1).collect();
            let what = format!("of 256 MiB of {name}, on {on},");
            tell(&what, "one plain Lance write", &turns, |turn| {
                Some(turn.plain)
            });
            tell(&what, "one that is synced", &turns, |turn| turn.synced);
        }
    }
}
