//! What a program relies on that appends: side by side, once, within limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium::{Durability, Error, StoreOptions, Table, TableOptions, WhenFull};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use tempfile::TempDir;

use crate::common::{manual, numbers};

const SEGMENT: u64 = 64 << 10;

fn options() -> TableOptions {
    TableOptions::new(numbers(0..0).schema())
        .freshness(Duration::from_secs(3600))
        .segment_bytes(SEGMENT)
        .durability(Durability::Buffered)
}

/// A store that tiers when it is told to, and not before.
fn logged(table: &Table, from: u64) -> Vec<i64> {
    let mut next = from;
    let mut values = Vec::new();
    for logged in table.read_log(from) {
        let logged = logged.unwrap();
        assert_eq!(logged.offsets.start, next, "offsets have no gaps");
        next = logged.offsets.end;
        values.extend_from_slice(logged.batch["n"].as_primitive::<Int64Type>().values());
    }
    values
}

/// Runs a future to its end, parking this thread meanwhile.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn producers_append_side_by_side_and_no_row_is_lost_or_doubled() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store.create_table("t", options()).unwrap();
    std::thread::scope(|scope| {
        for producer in 0..4 {
            let table = &table;
            scope.spawn(move || {
                for i in 0..200 {
                    let first = (producer * 200 + i) * 10;
                    let ticket = table.append(&numbers(first..first + 10)).unwrap();
                    let own = table
                        .read_log(ticket.offsets().start)
                        .next()
                        .unwrap()
                        .unwrap();
                    assert_eq!(
                        own.offsets,
                        ticket.offsets(),
                        "what is acknowledged is readable"
                    );
                    assert_eq!(own.batch, numbers(first..first + 10));
                }
            });
        }
    });
    let mut values = logged(&table, 0);
    values.sort_unstable();
    assert_eq!(values, (0..8000).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_is_sent_again_after_a_restart_is_not_doubled() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    {
        let store = manual(&path);
        let table = store.create_table("t", options()).unwrap();
        assert_eq!(table.last_sequence(7), None);
        assert!(
            !table
                .append_once(7, 1, &numbers(0..10))
                .unwrap()
                .is_duplicate()
        );
        assert!(
            !table
                .append_once(8, 1, &numbers(10..20))
                .unwrap()
                .is_duplicate()
        );
        store.close().unwrap();
    }
    let store = manual(&path);
    let table = store.table("t").unwrap();
    assert_eq!(table.last_sequence(7), Some(1));
    let again = table.append_once(7, 1, &numbers(0..10)).unwrap();
    assert!(again.is_duplicate());
    assert_eq!(again.offsets(), 0..10);
    again.wait().unwrap();
    assert!(
        !table
            .append_once(7, 2, &numbers(20..30))
            .unwrap()
            .is_duplicate()
    );
    assert_eq!(logged(&table, 0), (0..30).collect::<Vec<_>>());
    assert_eq!(table.metrics().duplicates, 1);
}

#[test]
fn producers_are_remembered_when_the_segments_with_their_rows_are_gone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    {
        let store = manual(&path);
        let table = store.create_table("t", options()).unwrap();
        let _ = table.append_once(7, 5, &numbers(0..10)).unwrap();
        for _ in 0..40 {
            let _ = table.append(&numbers(0..1000)).unwrap();
        }
        table.flush_to_lake().unwrap();
        assert!(table.status().unwrap().log_from > 10);
    }
    let store = manual(&path);
    let table = store.table("t").unwrap();
    assert!(
        table
            .append_once(7, 5, &numbers(0..10))
            .unwrap()
            .is_duplicate()
    );
    assert_eq!(table.last_sequence(7), Some(5));
}

#[test]
fn a_ticket_can_be_awaited_and_then_the_rows_are_durable() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    for (name, durability) in [
        ("buffered", Durability::Buffered),
        ("interval", Durability::Interval(Duration::from_secs(3600))),
    ] {
        let table = store
            .create_table(name, options().durability(durability))
            .unwrap();
        let tickets: Vec<_> = (0..10)
            .map(|i| table.append(&numbers(i..i + 1)).unwrap())
            .collect();
        assert_eq!(table.status().unwrap().rows_durable, 0);
        for ticket in &tickets {
            block_on(ticket.durable()).unwrap();
        }
        assert_eq!(table.status().unwrap().rows_durable, 10);
    }
}

#[test]
fn tiered_segments_are_written_again_and_never_under_a_reader() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store
        .create_table("t", options().recycled_segments(8))
        .unwrap();
    let append = |from: i64| {
        for i in 0..20 {
            let first = from + i * 1000;
            let _ = table.append(&numbers(first..first + 1000)).unwrap();
        }
    };
    append(0);
    let held = table.read_log(0).next().unwrap().unwrap();
    table.flush_to_lake().unwrap();
    assert!(table.status().unwrap().spare_segments > 0);
    append(20_000);
    append(40_000);
    let metrics = table.metrics();
    assert!(metrics.segments_recycled > 0, "{metrics:?}");
    assert_eq!(
        held.batch,
        numbers(0..1000),
        "a batch that is held stays what it is"
    );
    let from = table.status().unwrap().log_from;
    assert_eq!(
        logged(&table, from),
        (from as i64..60_000).collect::<Vec<_>>()
    );
}

#[test]
fn a_full_log_refuses_appends_or_lets_them_wait_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let limited = options()
        .max_log_bytes(4 * SEGMENT)
        .when_full(WhenFull::Fail);
    let table = store.create_table("t", limited).unwrap();
    let mut rows = 0;
    let refused = loop {
        match table.append(&numbers(rows..rows + 1000)) {
            Ok(_) => rows += 1000,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::LogFull { .. }), "{refused}");
    assert!(refused.to_string().contains("max_log_bytes"), "{refused}");
    assert!(rows >= 3 * SEGMENT as i64 / 8 - 3000, "{rows}");
    let on_disk: u64 = std::fs::read_dir(dir.path().join("s/tables/t/raw"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk <= 4 * SEGMENT, "{on_disk}");
    table.flush_to_lake().unwrap();
    let _ = table.append(&numbers(rows..rows + 1000)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), rows as u64 + 1000);
    assert!(table.metrics().refused_for_space >= 1);
}

#[test]
fn an_append_to_a_full_log_goes_on_once_tiering_makes_room() {
    let dir = TempDir::new().unwrap();
    let store = StoreOptions::new().open(dir.path().join("s")).unwrap();
    let limited = options()
        .max_log_bytes(6 * SEGMENT)
        .when_full(WhenFull::Block(Duration::from_secs(60)));
    let table = store.create_table("t", limited).unwrap();
    for first in (0..200_000).step_by(1000) {
        let _ = table.append(&numbers(first..first + 1000)).unwrap();
    }
    assert_eq!(table.flush_to_lake().unwrap(), 200_000);
    assert!(table.status().unwrap().log_bytes <= 6 * SEGMENT);
}

#[test]
fn tiered_rows_stay_readable_as_long_as_they_are_retained() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let kept = options().retain_bytes(3 * SEGMENT);
    let table = store.create_table("by_size", kept).unwrap();
    for first in (0..100_000).step_by(1000) {
        let _ = table.append(&numbers(first..first + 1000)).unwrap();
    }
    table.flush_to_lake().unwrap();
    let status = table.status().unwrap();
    assert_eq!(status.segments, 4, "three tiered ones and the active one");
    assert_eq!(
        logged(&table, status.log_from),
        (status.log_from as i64..100_000).collect::<Vec<_>>()
    );

    let kept = options().retain_age(Duration::from_millis(1500));
    let table = store.create_table("by_age", kept).unwrap();
    for first in (0..30_000).step_by(1000) {
        let _ = table.append(&numbers(first..first + 1000)).unwrap();
    }
    table.flush_to_lake().unwrap();
    assert_eq!(table.status().unwrap().log_from, 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while table.status().unwrap().log_from == 0 {
        assert!(Instant::now() < deadline, "what is too old goes");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn offsets_that_the_log_let_go_are_said_to_be_in_the_lake() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store.create_table("t", options()).unwrap();
    for first in (0..30_000).step_by(1000) {
        let _ = table.append(&numbers(first..first + 1000)).unwrap();
    }
    table.flush_to_lake().unwrap();
    let error = table.read_log(0).next().unwrap().unwrap_err();
    assert!(error.to_string().contains("lake"), "{error}");
}

#[test]
fn what_a_log_does_is_counted() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store.create_table("t", options()).unwrap();
    for first in (0..20_000).step_by(1000) {
        table
            .append(&numbers(first..first + 1000))
            .unwrap()
            .wait()
            .unwrap();
    }
    let metrics = table.metrics();
    assert_eq!((metrics.appends, metrics.appended_rows), (20, 20_000));
    assert!(metrics.appended_bytes >= 160_000);
    assert!(
        metrics.fsyncs >= 20 && metrics.append_latency.max_us > 0.0,
        "{metrics:?}"
    );
    assert!(
        metrics.segments_created >= 3 && metrics.backlog_bytes >= 160_000,
        "{metrics:?}"
    );
}

#[test]
fn hostile_names_are_refused_and_odd_ones_come_back_as_they_are() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let long = "x".repeat(300);
    for name in [
        "..", "/", "../t", "a/b", "", ".", "-x", "t\0", "tablé", &long,
    ] {
        let error = store.create_table(name, options()).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{name:?}: {error}");
    }
    assert!(store.table_names().unwrap().is_empty());
    let column = |name: &str| {
        let column = Int64Array::from(vec![1]);
        RecordBatch::try_from_iter([(name, Arc::new(column) as _)]).unwrap()
    };
    for name in ["..", "a.b", "__x", "", "line\nbreak", &long] {
        let refused = store.create_table("t", TableOptions::new(column(name).schema()));
        assert!(
            matches!(refused.unwrap_err(), Error::Invalid { .. }),
            "{name:?}"
        );
    }
    for (i, name) in ["/", "größe 🙂", "select", "a b", "\"quoted\""]
        .iter()
        .enumerate()
    {
        let batch = column(name);
        let table = store
            .create_table(&format!("t{i}"), TableOptions::new(batch.schema()))
            .unwrap();
        let _ = table.append(&batch).unwrap();
        table.flush_to_lake().unwrap();
        let quoted = name.replace('"', "\"\"");
        let rows = store
            .query(&format!("SELECT \"{quoted}\" FROM t{i}"))
            .unwrap();
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        assert_eq!(rows[0].schema().field(0).name(), name);
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[1]);
    }
}
