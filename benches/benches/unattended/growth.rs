//! How commits and files grow with a table's age, beside plain Lance appends.

use std::path::Path;
use std::time::{Duration, Instant};

use alluvium::{Durability, TableOptions};
use alluvium_benches::readings;
use arrow_array::{RecordBatch, RecordBatchIterator};
use lance::dataset::{Dataset, WriteMode, WriteParams};
use tempfile::TempDir;

use crate::{hurried, percentile, store};

const ROUNDS: usize = 1000;
const PLAIN_APPENDS: usize = 1000;
/// From one round's begin to the next one's: twenty times as often as a freshness of one second asks for.
pub(crate) const BETWEEN_ROUNDS: Duration = Duration::from_millis(50);

pub(crate) fn small() -> RecordBatch {
    readings(4096, 0)
}

fn ratio(name: &str, latencies: &[f64]) {
    let mut first = latencies[..100].to_vec();
    let mut last = latencies[latencies.len() - 100..].to_vec();
    let (first, last) = (percentile(&mut first, 0.5), percentile(&mut last, 0.5));
    println!(
        "| {name}: median of the last 100 over the first 100 | {:.2} ({last:.1} ms over {first:.1} ms) |",
        last / first
    );
}

/// The latency of a small round, from the thousandth to the first.
pub(crate) fn latency() {
    let batch = small();
    let (_directory, store) = store();
    let options = TableOptions::new(batch.schema()).freshness(Duration::from_secs(3600));
    let table = store.create_table("t", hurried(options)).expect("a table");
    let latencies: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let _ = table.append(&batch).expect("appended");
            let begin = Instant::now();
            table.flush_to_lake().expect("tiered");
            let elapsed = begin.elapsed();
            std::thread::sleep(BETWEEN_ROUNDS.saturating_sub(elapsed));
            elapsed.as_secs_f64() * 1e3
        })
        .collect();
    ratio("rounds, one every 50 ms, maintenance on", &latencies);
    let status = table.status().expect("a status").maintenance;
    println!(
        "| merges, versions removed meanwhile | {}, {} |",
        status.compactions, status.versions_removed
    );
    let (directory, latencies) = plain(&batch, ROUNDS);
    ratio("plain Lance appends", &latencies);
    drop(directory);
}

fn plain(batch: &RecordBatch, appends: usize) -> (TempDir, Vec<f64>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = TempDir::new().expect("a directory");
    let uri = directory.path().join("plain.lance").display().to_string();
    let latencies = (0..appends).map(|append| {
        let reader = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
        let mode = if append == 0 {
            WriteMode::Create
        } else {
            WriteMode::Append
        };
        let params = WriteParams {
            mode,
            ..WriteParams::default()
        };
        let begin = Instant::now();
        runtime
            .block_on(Dataset::write(reader, &uri, Some(params)))
            .expect("written");
        begin.elapsed().as_secs_f64() * 1e3
    });
    let latencies = latencies.collect();
    (directory, latencies)
}

pub(crate) fn files_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => files_below(&path),
            _ => 1,
        })
        .sum()
}

/// The files of a lake after many small appends.
pub(crate) fn files() {
    let batch = small();
    let (directory, store) = store();
    let options = TableOptions::new(batch.schema()).freshness(Duration::from_millis(50));
    let options = hurried(options).durability(Durability::Buffered);
    let table = store.create_table("t", options).expect("a table");
    for _ in 0..10_000 {
        let _ = table.append(&batch).expect("appended");
        std::thread::sleep(Duration::from_millis(1));
    }
    table.flush_to_lake().expect("tiered");
    let rounds = table.tier_metrics().rounds;
    table.maintain().expect("maintained");
    let lake = directory.path().join("store/lake/t.lance");
    println!(
        "| files of every kind after 10,000 small appends in {rounds} rounds | {} (data: {}) |",
        files_below(&lake),
        files_below(&lake.join("data"))
    );
    let (directory, _) = plain(&batch, PLAIN_APPENDS);
    println!(
        "| files after {PLAIN_APPENDS} plain Lance appends | {} |",
        files_below(&directory.path().join("plain.lance"))
    );
}
