//! What is measured of Alluvium: a table in a store of its own, as users have it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alluvium::{AppenderOptions, LogRows, Store, StoreOptions, Table, TableOptions};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};

use crate::InsertRows;
use crate::lane::Promise;
use crate::log::LogOptions;

/// A table that is tiered only when asked.
pub(crate) struct Log {
    table: Table,
    /// Where its log is.
    pub(crate) segments: PathBuf,
    // Closed after the table's handle is gone.
    _store: Store,
}

impl Log {
    /// Makes a store in a directory, and a table in it.
    pub(crate) fn create(directory: &Path, options: &LogOptions<'_>) -> Self {
        let table = TableOptions::new(options.schema.clone())
            .durability(options.durability)
            .segment_bytes(options.segment_bytes)
            .recycled_segments(options.recycled_segments);
        let store = StoreOptions::new().tiering(false);
        let store = store.open(directory.join("store")).expect("a store");
        Self {
            table: store.create_table("t", table).expect("a table"),
            segments: directory.join("store/tables/t/raw"),
            _store: store,
        }
    }

    pub(crate) fn append(&self, batch: &RecordBatch) {
        let _ = self.table.append(batch).expect("appended");
    }

    pub(crate) fn sync(&self) {
        self.table.sync().expect("synced");
    }

    /// Lets go of full segments, so that they are used again.
    pub(crate) fn release(&self) {
        self.table.flush_to_lake().expect("tiered");
    }

    pub(crate) fn count_segments(&self) -> usize {
        self.table.status().expect("a status").segments
    }

    pub(crate) fn read(&self) -> LogRows {
        self.table.read_log(0)
    }
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
    let log = Log::create(directory, &LogOptions::new(&schema.into(), Promise::Crash));
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
