//! A lake that hangs, on a real S3 server that is stopped.

use std::sync::Arc;
use std::time::Duration;

use alluvium_tests::{BUCKET, S3Server};
use arrow_array::{Int64Array, RecordBatch};
use tempfile::TempDir;

use crate::{StoreOptions, TableOptions};

fn numbers(rows: i64) -> RecordBatch {
    let columns = ["a", "b", "c", "d", "e", "f"].map(|name| {
        let column = Int64Array::from_iter_values(0..rows);
        (name, Arc::new(column) as _)
    });
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
#[ignore = "needs an S3 server"]
fn on_s3_tables_whose_lakes_hang_delay_no_other() {
    let (server, dir) = (S3Server::start(), TempDir::new().unwrap());
    let store = StoreOptions::new().open(dir.path().join("s")).unwrap();
    let soon = || TableOptions::new(numbers(0).schema()).freshness(Duration::from_millis(20));
    let hanging = ["h1", "h2", "h3"].map(|name| {
        let options = server.options().into_iter();
        let on_s3 = soon()
            .lake(format!("s3://{BUCKET}/{name}.lance"))
            .secrets_in_clear(true);
        let options = options.fold(on_s3, |table, (key, value)| {
            table.storage_option(key, value)
        });
        let table = store.create_table(name, options).unwrap();
        let _ = table.append(&numbers(10)).unwrap();
        table.flush_to_lake().unwrap();
        table
    });
    let whole = store.create_table("whole", soon()).unwrap();
    server.pause();
    let waiting = hanging.each_ref().map(|table| {
        let _ = table.append(&numbers(1000)).unwrap();
        table.start_flush().unwrap()
    });
    std::thread::sleep(Duration::from_millis(500));
    for round in 1..=10 {
        let _ = whole.append(&numbers(10_000)).unwrap();
        assert_eq!(whole.flush_to_lake().unwrap(), round * 10_000);
    }
    assert!(waiting.iter().all(|flush| !flush.is_done()));
    server.resume();
    for flush in waiting {
        assert_eq!(flush.wait().unwrap(), 1010);
    }
}
