//! SQLite with a write-ahead log: batches as blobs of consecutive keys, a transaction for each; or rows as rows.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::{ROWS_PER_TRANSACTION, blob};
use crate::lane::{Lane, Opening, Promise};
use crate::samples::Sample;

/// One connection for all: SQLite has one writer at a time, and a mutex hands on faster than its file lock.
struct Sqlite(Mutex<Connection>);

fn connect(directory: &Path, page_bytes: u32, promise: Promise) -> Connection {
    let connection = Connection::open(directory.join("sqlite")).expect("a database");
    let synchronous = match promise {
        Promise::Crash => "OFF",
        Promise::Power => "FULL",
    };
    let settings = format!(
        "PRAGMA page_size = {page_bytes}; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};"
    );
    connection.execute_batch(&settings).expect("settings");
    connection
}

pub(super) fn open(opening: &Opening<'_>) -> Box<dyn Lane> {
    // Large blobs want large pages.
    let page_bytes = match opening.samples.payload > 16 << 10 {
        true => 65536,
        false => 4096,
    };
    let connection = connect(opening.directory, page_bytes, opening.promise);
    connection
        .execute_batch("CREATE TABLE batches (key INTEGER PRIMARY KEY, value BLOB NOT NULL)")
        .expect("a table");
    Box::new(Sqlite(Mutex::new(connection)))
}

impl Lane for Sqlite {
    fn append(&self, _producer: usize, sample: &Sample) {
        let value = blob(&sample.batch);
        let connection = self.0.lock().expect("the connection");
        connection
            .execute("INSERT INTO batches (value) VALUES (?1)", params![value])
            .expect("inserted");
    }
}

/// Rows through a prepared statement, many to a transaction.
pub(super) fn insert_rows(directory: &Path, rows: u64) -> Duration {
    let connection = connect(directory, 4096, Promise::Crash);
    connection
        .execute_batch(
            "CREATE TABLE rows (time INTEGER PRIMARY KEY, sensor INTEGER NOT NULL, value REAL NOT NULL)",
        )
        .expect("a table");
    let mut insert = connection
        .prepare("INSERT INTO rows VALUES (?1, ?2, ?3)")
        .expect("a statement");
    let begin = Instant::now();
    let mut row = 0;
    while row < rows {
        connection.execute_batch("BEGIN").expect("begun");
        for _ in 0..ROWS_PER_TRANSACTION.min(rows - row) {
            let time = row as i64;
            insert
                .execute(params![time, time % 64, time as f64])
                .expect("inserted");
            row += 1;
        }
        connection.execute_batch("COMMIT").expect("committed");
    }
    begin.elapsed()
}
