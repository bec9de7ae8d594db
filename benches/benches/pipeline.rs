//! How soon a row is transformed once it was appended, and what is written for it.
//!
//! It needs the components of `make plugins`, in ALLUVIUM_PLUGIN_PATH.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium::transform::parse_transforms_toml;
use alluvium::{Durability, Store, StoreOptions, Table, TableOptions};
use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use tempfile::TempDir;

/// Appends, one after the other, with a pause between: a light load.
const APPENDS: usize = 300;
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

fn table(directory: &TempDir, schema: &RecordBatch, transforms: &str) -> (Store, Table) {
    let store = StoreOptions::new()
        .tiering(false)
        .open(directory.path().join("store"))
        .expect("a store");
    let transforms = parse_transforms_toml(transforms, Path::new("/")).expect("transforms");
    let options = TableOptions::new(schema.schema())
        .durability(Durability::Buffered)
        .transforms(transforms);
    let table = store.create_table("t", options).expect("a table");
    (store, table)
}

fn staged_rows(table: &Table) -> u64 {
    table
        .staged_metrics()
        .map_or(0, |staged| staged.appended_rows)
}

/// Spins until so many rows are staged.
fn wait_staged(table: &Table, rows: u64) {
    let begin = Instant::now();
    while staged_rows(table) < rows {
        assert!(begin.elapsed() < PATIENCE, "the transforms do not go on");
        std::hint::spin_loop();
    }
}

/// From append to staged, through a plugin that does little: microseconds at the median and at the 99th percentile.
fn latency() -> (f64, f64) {
    let directory = TempDir::new().expect("a directory");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["one short passage"]));
    let batch = RecordBatch::try_from_iter([("text", text)]).expect("a batch");
    let transforms = "[[transform]]\nname = \"chunks\"\nplugin = \"chunk-text\"\n";
    let (store, table) = table(&directory, &batch, transforms);
    let mut times = Vec::new();
    for appended in 1..=APPENDS {
        let begin = Instant::now();
        let _ = table.append(&batch).expect("appended");
        wait_staged(&table, appended as u64);
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        std::thread::sleep(PAUSE);
    }
    store.close().expect("closed");
    times.sort_by(f64::total_cmp);
    (times[APPENDS / 2], times[APPENDS * 99 / 100])
}

/// Bytes in both logs over those in the raw one, for the demo's photographs and a thumbnail of each.
fn written() -> (f64, f64) {
    let directory = TempDir::new().expect("a directory");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/photos");
    let files = fs::read_dir(folder)
        .expect("photographs")
        .map(|f| f.expect("a file").path());
    let photographs =
        files.filter(|path| path.extension().is_some_and(|e| e == "jpg" || e == "png"));
    let photographs: Vec<_> = photographs
        .map(|path| fs::read(path).expect("a photograph"))
        .collect();
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(&photographs));
    let batch = RecordBatch::try_from_iter([("image", images)]).expect("a batch");
    let transforms = "[[transform]]\nname = \"thumbnail\"\nplugin = \"resize-image\"\n\
        config = { width = 128, height = 128, fit = \"inside\", format = \"jpeg\" }\n\
        inputs = { image = \"image\" }\noutputs = { image = \"thumbnail\" }\n";
    let (store, table) = table(&directory, &batch, transforms);
    let _ = table.append(&batch).expect("appended");
    wait_staged(&table, photographs.len() as u64);
    let raw = table.metrics().appended_bytes as f64;
    let staged = table.staged_metrics().map_or(0, |s| s.appended_bytes) as f64;
    store.close().expect("closed");
    ((raw + staged) / raw, raw / photographs.len() as f64)
}

fn main() {
    let (median, worst) = latency();
    println!("append -> transformed and staged, light load: p50 {median:.0} us, p99 {worst:.0} us");
    let (ratio, image) = written();
    println!(
        "bytes written to raw and staged logs over raw bytes, photographs of {:.0} KB and a thumbnail: {ratio:.3}",
        image / 1e3
    );
}
