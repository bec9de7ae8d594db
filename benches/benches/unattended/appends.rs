//! What appends feel of tiering, merging and indexing beside them.

use std::time::{Duration, Instant};

use alluvium::{Durability, IndexKind, StoreOptions, TableOptions};
use alluvium_benches::readings;
use tempfile::TempDir;

use crate::hurried;

const BATCH_BYTES: usize = 64 << 10;
const BYTES: usize = 4 << 30;
/// What is in the log when appends begin to be timed, so that rounds run all the time.
const BACKLOG_BYTES: usize = 1 << 30;

/// MB/s and the p99 latency in microseconds.
fn run(tiers: bool) -> (f64, f64) {
    let batch = readings(BATCH_BYTES, 0);
    let column = batch.schema().field(0).name().clone();
    let directory = TempDir::new().expect("a directory");
    let options = StoreOptions::new().tiering(tiers);
    let store = options
        .open(directory.path().join("store"))
        .expect("a store");
    let options = TableOptions::new(batch.schema())
        .durability(Durability::Buffered)
        .freshness(Duration::from_millis(200));
    let table = store.create_table("t", hurried(options)).expect("a table");
    if tiers {
        table
            .create_index(&column, IndexKind::Auto)
            .expect("wanted");
    }
    for _ in 0..BACKLOG_BYTES / BATCH_BYTES {
        let _ = table.append(&batch).expect("appended");
    }
    if tiers {
        // Two rounds' rows are there to be merged and indexed.
        table.flush_to_lake().expect("tiered");
        let _ = table.append(&batch).expect("appended");
        table.flush_to_lake().expect("tiered");
    }
    let begin = Instant::now();
    for _ in 0..BYTES / BATCH_BYTES {
        let _ = table.append(&batch).expect("appended");
    }
    let seconds = begin.elapsed().as_secs_f64();
    let p99 = table.metrics().append_latency.p99_us;
    if tiers {
        let status = table.status().expect("a status");
        println!(
            "| meanwhile | {} rounds, {} merges, {} index updates |",
            status.tiering.rounds, status.maintenance.compactions, status.maintenance.index_updates
        );
    }
    (BYTES as f64 / seconds / 1e6, p99)
}

pub(crate) fn beside_tiering() {
    let (alone, p99_alone) = run(false);
    let (beside, p99_beside) = run(true);
    println!(
        "| appends of 64 KiB while tiering, merging and indexing run, over alone | {:.2} ({beside:.0} of {alone:.0} MB/s) |",
        beside / alone
    );
    println!(
        "| their p99 latency | {:.1} times ({p99_beside:.0} us over {p99_alone:.0} us) |",
        p99_beside / p99_alone
    );
}
