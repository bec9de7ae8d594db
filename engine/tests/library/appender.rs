//! What a program that gives rows one by one relies on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium::{Appender, AppenderOptions, Error, Store, StoreOptions, Table, TableOptions};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray, StringViewArray};
use arrow_schema::{DataType, Field, Schema};
use tempfile::TempDir;

use crate::common::{copy_directory, manual};

fn numbers(range: Range<i64>) -> RecordBatch {
    let names: Vec<String> = range.clone().map(|n| format!("row {n}")).collect();
    RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(range)) as _),
        ("name", Arc::new(StringArray::from(names)) as _),
    ])
    .unwrap()
}

fn give(appender: &Appender, range: Range<i64>) {
    for n in range {
        let name = format!("row {n}");
        appender.append_row(&[n.into(), (&name).into()]).unwrap();
    }
}

/// A store that tiers when it is told to, and not before.
fn numbers_table(store: &Store) -> Table {
    let options = TableOptions::new(numbers(0..0).schema()).segment_bytes(64 << 10);
    store.create_table("t", options).unwrap()
}

/// Writes when told to, and not before.
fn patient() -> AppenderOptions {
    AppenderOptions::new().linger(Duration::MAX)
}

/// The numbers in the table, in the order of their offsets; each must have its own name.
fn stored(store: &Store, table: &Table) -> Vec<i64> {
    table.flush_to_lake().unwrap();
    let rows = store
        .query("SELECT n, name FROM t ORDER BY __offset")
        .unwrap();
    let mut numbers = Vec::new();
    for batch in rows.map(Result::unwrap) {
        let found = batch["n"].as_primitive::<Int64Type>().values().to_vec();
        let names: Vec<String> = found.iter().map(|n| format!("row {n}")).collect();
        let has = batch["name"].as_string::<i32>().iter().flatten();
        assert!(has.eq(names.iter().map(String::as_str)));
        numbers.extend(found);
    }
    numbers
}

fn expect_rows(table: &Table, rows: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while table.status().unwrap().rows_committed < rows {
        assert!(Instant::now() < deadline, "{:?}", table.status());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn rows_and_batches_that_are_mixed_keep_their_order() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let appender = table.appender(patient().bytes(4096)).unwrap();
    let (mut next, mut step) = (0, 0);
    while next < 20_000 {
        step += 1;
        // Some batches are large enough for a frame of their own, most are one row or a few.
        let rows = [1, 7, 2, 500, 30][step % 5];
        match step % 3 {
            0 => give(&appender, next..next + rows),
            1 => appender.append(&numbers(next..next + rows)).unwrap(),
            _ => appender
                .append(&numbers(next - 1..next + rows + 5).slice(1, rows as usize))
                .unwrap(),
        }
        next += rows;
    }
    let ticket = appender.flush().unwrap();
    assert_eq!(ticket.offsets().end, next as u64);
    assert_eq!(stored(&store, &table), (0..next).collect::<Vec<_>>());
}

#[test]
fn thousands_of_batches_of_one_row_become_one_frame() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let appender = table.appender(patient()).unwrap();
    let all = numbers(0..3000);
    for n in 0..3000 {
        appender.append(&all.slice(n, 1)).unwrap();
    }
    assert_eq!(appender.pending_rows(), 3000);
    assert_eq!(appender.flush().unwrap().offsets(), 0..3000);
    assert_eq!(table.verify().unwrap().frames, 1);
    assert_eq!(appender.pending_rows(), 0);
    assert_eq!(stored(&store, &table), (0..3000).collect::<Vec<_>>());
}

#[test]
fn a_row_that_has_grown_old_is_written_without_another_call() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let options = AppenderOptions::new().linger(Duration::from_millis(20));
    let appender = table.appender(options).unwrap();
    for n in 0..3 {
        let given = Instant::now();
        give(&appender, n..n + 1);
        expect_rows(&table, n as u64 + 1);
        assert!(
            given.elapsed() >= Duration::from_millis(20),
            "it did not linger"
        );
    }
    assert_eq!(stored(&store, &table), [0, 1, 2]);
    let ticket = appender.flush().unwrap();
    assert!(ticket.offsets().is_empty());
    ticket.wait().unwrap();
    assert_eq!(
        table.status().unwrap().rows_durable,
        3,
        "the ticket covers what the background wrote"
    );
}

#[test]
fn rows_make_a_frame_when_they_have_the_bytes_for_it() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let appender = table.appender(patient().bytes(1000)).unwrap();
    // A row is a number of 8 bytes, an offset of 4 and a name of 8.
    give(&appender, 1000..1049);
    assert_eq!(
        (
            table.status().unwrap().rows_committed,
            appender.pending_rows()
        ),
        (0, 49)
    );
    give(&appender, 1049..1050);
    assert_eq!(
        (
            table.status().unwrap().rows_committed,
            appender.pending_rows()
        ),
        (50, 0)
    );
    give(&appender, 1050..1060);
    appender.append(&numbers(1060..1160)).unwrap();
    assert_eq!(
        table.status().unwrap().rows_committed,
        160,
        "the batch is a frame of its own, after the rows"
    );
    assert_eq!(stored(&store, &table), (1000..1160).collect::<Vec<_>>());
}

#[test]
fn rows_that_were_flushed_are_there_after_the_process_forgot_everything() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = numbers_table(&store);
    let appender = table.appender(patient()).unwrap();
    give(&appender, 0..100);
    let _ = appender.flush().unwrap();
    give(&appender, 100..110);
    // What lies on the disk at this moment is what a killed process leaves.
    let copy = dir.path().join("copy");
    copy_directory(&path, &copy);
    std::mem::forget(appender);
    let reopened = manual(&copy);
    let table = reopened.table("t").unwrap();
    assert_eq!(table.status().unwrap().rows_committed, 100);
    assert!(table.verify().unwrap().problems.is_empty());
}

#[test]
fn many_threads_lose_nothing_and_each_keeps_its_order() {
    const THREADS: i64 = 8;
    const ROWS: i64 = 5000;
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let options = AppenderOptions::new()
        .linger(Duration::from_millis(1))
        .bytes(8 << 10);
    let appender = table.appender(options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let appender = &appender;
            scope.spawn(move || {
                let mut next = thread * ROWS;
                while next < (thread + 1) * ROWS {
                    match next % 100 {
                        0 => appender.append(&numbers(next..next + 50)).unwrap(),
                        _ => give(appender, next..next + 50),
                    }
                    next += 50;
                }
                let _ = appender.flush().unwrap();
            });
        }
    });
    assert_eq!(appender.pending_rows(), 0);
    let stored = stored(&store, &table);
    for thread in 0..THREADS {
        let own = thread * ROWS..(thread + 1) * ROWS;
        let found = stored.iter().copied().filter(|n| own.contains(n));
        assert!(found.eq(own.clone()), "thread {thread}");
    }
}

#[test]
fn what_is_gathered_is_written_when_the_appender_is_dropped() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let appender = table.appender(patient()).unwrap();
    give(&appender, 0..10);
    assert_eq!(table.status().unwrap().rows_committed, 0);
    drop(appender);
    assert_eq!(stored(&store, &table), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_row_that_does_not_fit_is_refused_and_the_others_are_not() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let appender = table.appender(patient()).unwrap();
    give(&appender, 0..1);
    for bad in [
        &[1.into(), 2.into()][..],
        &["row 1".into(), "row 1".into()],
        &[1.into()],
    ] {
        let error = appender.append_row(bad).unwrap_err();
        assert!(
            matches!(&error, Error::SchemaMismatch { table, .. } if table == "t"),
            "{error:?}"
        );
    }
    let other =
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    assert!(matches!(
        appender.append(&other),
        Err(Error::SchemaMismatch { .. })
    ));
    assert_eq!(appender.pending_rows(), 1);
    give(&appender, 1..2);
    let _ = appender.flush().unwrap();
    assert_eq!(stored(&store, &table), [0, 1]);
}

#[test]
fn rows_that_could_not_be_written_are_kept_and_written_once_when_they_can_be() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = numbers_table(&store);
    let appender = table.appender(patient().bytes(60 << 10)).unwrap();
    give(&appender, 0..1500);
    let _ = appender.flush().unwrap();
    // Without the directory there is no next segment.
    let raw = path.join("tables/t/raw");
    let away = dir.path().join("away");
    std::fs::rename(&raw, &away).unwrap();
    give(&appender, 1500..3000);
    assert!(matches!(appender.flush(), Err(Error::Io { .. })));
    let refused = appender.append_row(&[3000.into(), "row 3000".into()]);
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert!(matches!(
        appender.append(&numbers(3000..3001)),
        Err(Error::Io { .. })
    ));
    assert_eq!(appender.pending_rows(), 1500);
    std::fs::rename(&away, &raw).unwrap();
    give(&appender, 3000..3010);
    let _ = appender.flush().unwrap();
    assert_eq!(appender.pending_rows(), 0);
    assert_eq!(stored(&store, &table), (0..3010).collect::<Vec<_>>());
}

#[test]
fn a_failure_in_the_background_is_told_by_the_next_call_and_mended_by_itself() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = numbers_table(&store);
    let _ = table.append(&numbers(0..1500)).unwrap();
    let linger = Duration::from_millis(300);
    let appender = table
        .appender(AppenderOptions::new().linger(linger))
        .unwrap();
    let raw = path.join("tables/t/raw");
    let away = dir.path().join("away");
    std::fs::rename(&raw, &away).unwrap();
    give(&appender, 1500..3000);
    std::thread::sleep(2 * linger);
    let told = appender.append_row(&[3000.into(), "row 3000".into()]);
    assert!(matches!(told, Err(Error::Io { .. })), "{told:?}");
    std::fs::rename(&away, &raw).unwrap();
    expect_rows(&table, 3000);
    give(&appender, 3000..3001);
    let _ = appender.flush().unwrap();
    assert_eq!(stored(&store, &table), (0..3001).collect::<Vec<_>>());
}

#[test]
fn an_appender_of_a_closed_store_says_so_and_keeps_its_rows() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = numbers_table(&store);
    let appender = table.appender(patient()).unwrap();
    give(&appender, 0..1);
    store.close().unwrap();
    for _ in 0..2 {
        assert!(matches!(appender.flush(), Err(Error::Unavailable { .. })));
        assert!(matches!(
            appender.append_row(&[1.into(), "row 1".into()]),
            Err(Error::Unavailable { .. })
        ));
    }
    assert_eq!(appender.pending_rows(), 1);
}

#[test]
fn options_that_cannot_be_and_a_store_that_is_read_only_are_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = numbers_table(&store);
    for bytes in [0, usize::MAX] {
        let refused = table.appender(AppenderOptions::new().bytes(bytes));
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let reader = StoreOptions::new().read_only(true).open(&path).unwrap();
    let refused = reader.table("t").unwrap().appender(patient());
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
}

#[test]
fn small_slices_of_a_large_batch_of_views_take_only_their_own_bytes() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let texts: Vec<String> = (0..2000)
        .map(|n| format!("a text of some length {n}"))
        .collect();
    let schema = Schema::new(vec![Field::new("text", DataType::Utf8View, false)]);
    let column = StringViewArray::from_iter_values(&texts);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).unwrap();
    let table = store
        .create_table("t", TableOptions::new(batch.schema()))
        .unwrap();
    let appender = table.appender(patient()).unwrap();
    for n in 0..2000 {
        appender.append(&batch.slice(n, 1)).unwrap();
    }
    let _ = appender.flush().unwrap();
    let log_bytes = table.status().unwrap().lag_bytes;
    assert!(log_bytes < 150_000, "{log_bytes} bytes for 2000 texts");
}
