//! Alluvium's own lanes.

use std::path::Path;
use std::time::{Duration, Instant};

use alluvium::{AppenderOptions, Durability, Store, StoreOptions, Table, TableOptions};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tempfile::TempDir;

use crate::InsertRows;
use crate::lane::{Contestant, Lane, Opening, Promise, punch};
use crate::samples::{Sample, Samples};

/// A table in a store of its own, tiered only when asked.
pub(crate) struct Log {
    pub(crate) table: Table,
    // Closed after the table's handle is gone.
    _store: Store,
}

impl Log {
    /// Makes a store in a directory, and a table in it.
    pub(crate) fn create(directory: &Path, options: TableOptions) -> Self {
        let store = StoreOptions::new().tiering(false);
        let store = store.open(directory.join("store")).expect("a store");
        let table = store.create_table("t", options).expect("a table");
        Self {
            table,
            _store: store,
        }
    }
}

impl Lane for Log {
    fn append(&self, _producer: usize, sample: &Sample) {
        let _ = self.table.append(&sample.batch).expect("appended");
    }
}

/// The lane of a promise, each append into segments that were never written to.
pub(crate) fn contestant(promise: Promise) -> Contestant {
    match promise {
        Promise::Crash => Contestant {
            name: "alluvium",
            open: buffered,
        },
        Promise::Power => Contestant {
            name: "alluvium",
            open: synced,
        },
    }
}

/// A log whose rows nobody will read: on abandoning it, what isn't on the disk yet is forgotten.
struct Abandoned {
    log: Log,
    segments: std::path::PathBuf,
}

impl Lane for Abandoned {
    fn append(&self, producer: usize, sample: &Sample) {
        self.log.append(producer, sample);
    }

    fn abandon(&self) {
        for entry in std::fs::read_dir(&self.segments).expect("segments") {
            let path = entry.expect("a segment").path();
            if path.extension().is_some_and(|ending| ending == "seg") {
                punch(&path);
            }
        }
    }
}

fn buffered(opening: &Opening<'_>) -> Box<dyn Lane> {
    open(opening, Durability::Buffered)
}

fn synced(opening: &Opening<'_>) -> Box<dyn Lane> {
    open(opening, Durability::Sync)
}

fn open(opening: &Opening<'_>, durability: Durability) -> Box<dyn Lane> {
    let options = options(&opening.samples.schema, durability);
    Box::new(Abandoned {
        log: Log::create(opening.directory, options),
        segments: opening.directory.join("store/tables/t/raw"),
    })
}

pub(crate) fn options(schema: &SchemaRef, durability: Durability) -> TableOptions {
    TableOptions::new(schema.clone()).durability(durability)
}

/// Sums the first column, an int64, of batches in memory and of the same batches in a log.
pub struct Sums {
    samples: Samples,
    log: Log,
    _directory: TempDir,
}

impl Sums {
    /// Appends the samples to a log.
    pub fn new(root: &Path, samples: Samples) -> Self {
        let directory = TempDir::new_in(root).expect("a directory");
        let options = options(&samples.schema, Durability::Buffered);
        let log = Log::create(directory.path(), options);
        for sample in &samples.all {
            log.append(0, sample);
        }
        Self {
            samples,
            log,
            _directory: directory,
        }
    }

    /// The bytes of the column.
    pub fn column_bytes(&self) -> u64 {
        let rows = self.samples.all.iter().map(|s| s.batch.num_rows());
        8 * rows.sum::<usize>() as u64
    }

    /// Over the arrays in memory.
    pub fn of_memory(&self) -> i64 {
        let batches = self.samples.all.iter().map(|s| &s.batch);
        batches.fold(0, |sum, b| sum.wrapping_add(first_column(b)))
    }

    /// Over the log, as it is read from its first row on.
    pub fn of_log(&self) -> i64 {
        let logged = self.log.table.read_log(0);
        let batches = logged.map(|l| l.expect("a batch").batch);
        batches.fold(0, |sum, b| sum.wrapping_add(first_column(&b)))
    }
}

fn first_column(batch: &arrow_array::RecordBatch) -> i64 {
    let values = batch.column(0).as_primitive::<Int64Type>().values();
    values.iter().fold(0i64, |sum, v| sum.wrapping_add(*v))
}

/// What the kernel says that this process wrote, and the payload that it was, for a log of these samples.
pub fn written(root: &Path, samples: &Samples) -> (u64, u64) {
    let directory = TempDir::new_in(root).expect("a directory");
    let options = options(&samples.schema, Durability::Buffered);
    let log = Log::create(directory.path(), options);
    let before = bytes_written();
    for sample in &samples.all {
        log.append(0, sample);
    }
    log.table.sync().expect("synced");
    let payload = samples.all.iter().map(|s| s.bytes.len() as u64).sum();
    (bytes_written() - before, payload)
}

/// The bytes that this process caused to be written to a disk.
fn bytes_written() -> u64 {
    let counters = std::fs::read_to_string("/proc/self/io").expect("Linux's counters");
    let line = counters
        .lines()
        .find_map(|l| l.strip_prefix("write_bytes: "));
    line.and_then(|n| n.parse().ok()).expect("a number")
}

/// Rows through an appender.
pub(crate) fn row_contestant() -> (&'static str, InsertRows) {
    ("alluvium", append_rows)
}

/// Every row is in the kernel's hands at the end, as [`Table::append`] would have left it.
fn append_rows(directory: &Path, rows: u64) -> Duration {
    let schema = Schema::new(vec![
        Field::new("time", DataType::Int64, false),
        Field::new("sensor", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ]);
    let options = options(&schema.into(), Durability::Buffered);
    let log = Log::create(directory, options);
    let appender = log.table.appender(AppenderOptions::new());
    let appender = appender.expect("an appender");
    let begin = Instant::now();
    for row in 0..rows as i64 {
        let cells = [row.into(), (row % 64).into(), (row as f64).into()];
        appender.append_row(&cells).expect("appended");
    }
    let _ = appender.flush().expect("flushed");
    begin.elapsed()
}

/// The time to open a store, without that to close it.
pub(crate) fn time_to_open(path: &Path) -> Duration {
    let begin = Instant::now();
    let store = StoreOptions::new().tiering(false).create(false).open(path);
    let elapsed = begin.elapsed();
    drop(store.expect("a store").table("t").expect("its table"));
    elapsed
}
