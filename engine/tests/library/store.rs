//! What a program that links the library relies on.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium::{Durability, Error, ErrorKind, Store, StoreOptions, Table, TableOptions};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use tempfile::TempDir;

use crate::common::{assert_healthy, copy_directory, manual, numbers};

fn options() -> TableOptions {
    TableOptions::new(numbers(0..0).schema()).freshness(Duration::from_secs(3600))
}

/// A store that tiers when it is told to, and not before.
fn column(store: &Store, sql: &str) -> Vec<i64> {
    let batches = store.query(sql).unwrap().map(Result::unwrap);
    batches
        .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

#[test]
fn rows_arrive_in_the_lake_once_with_their_offset_bucket_and_time() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store.create_table("t", options().bucket(7)).unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    let _ = table.append(&numbers(10..25)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 25);
    assert_eq!(
        table.flush_to_lake().unwrap(),
        25,
        "a second time there is nothing to do"
    );
    let rows = store
        .query("SELECT n, __offset, __bucket, __timestamp FROM t ORDER BY __offset")
        .unwrap();
    let rows: Vec<_> = rows.map(Result::unwrap).collect();
    let rows = arrow_select::concat::concat_batches(&rows[0].schema(), &rows).unwrap();
    let expected: Vec<i64> = (0..25).collect();
    assert_eq!(rows["n"].as_primitive::<Int64Type>().values(), &expected);
    assert_eq!(
        rows["__offset"].as_primitive::<Int64Type>().values(),
        &expected
    );
    assert_eq!(
        rows["__bucket"].as_primitive::<Int32Type>().values(),
        &[7; 25]
    );
    let times = rows["__timestamp"].as_primitive::<TimestampMicrosecondType>();
    assert!(times.values().is_sorted() && times.value(0) > 1_700_000_000_000_000);
    assert_healthy(&table);
}

#[test]
fn rows_that_were_not_tiered_before_a_restart_are_tiered_after_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = store.create_table("t", options()).unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    let _ = table.append(&numbers(10..20)).unwrap();
    store.close().unwrap();
    let store = manual(&path);
    let table = store.table("t").unwrap();
    assert_eq!(table.append(&numbers(20..30)).unwrap().offsets(), 20..30);
    table.flush_to_lake().unwrap();
    assert_eq!(
        column(&store, "SELECT n FROM t ORDER BY n"),
        (0..30).collect::<Vec<_>>()
    );
    assert_healthy(&table);
}

#[test]
fn rows_are_tiered_in_the_background_when_they_are_old_enough() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path().join("s")).unwrap();
    let table = store
        .create_table("t", options().freshness(Duration::from_millis(50)))
        .unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while table.status().unwrap().rows_tiered < 10 {
        assert!(Instant::now() < deadline, "{:?}", table.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(column(&store, "SELECT count(*) FROM t"), [10]);
}

#[test]
fn rows_are_tiered_in_the_background_when_enough_bytes_wait_however_fresh() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path().join("s")).unwrap();
    let table = store
        .create_table("t", options().round_bytes(100_000))
        .unwrap();
    let _ = table.append(&numbers(0..1000)).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(table.status().unwrap().rows_tiered, 0, "8 KB are too few");
    let _ = table.append(&numbers(1000..20_000)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while table.status().unwrap().rows_tiered < 20_000 {
        assert!(Instant::now() < deadline, "{:?}", table.status());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn log_segments_are_released_once_their_rows_are_in_the_lake() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store
        .create_table("t", options().segment_bytes(64 << 10))
        .unwrap();
    for start in (0..100_000).step_by(1000) {
        let _ = table.append(&numbers(start..start + 1000)).unwrap();
    }
    let before = table.status().unwrap();
    assert!(
        before.segments > 10 && before.lag_rows == 100_000,
        "{before:?}"
    );
    table.flush_to_lake().unwrap();
    let after = table.status().unwrap();
    assert_eq!((after.segments, after.lag_rows, after.lag_bytes), (1, 0, 0));
    assert_eq!(column(&store, "SELECT count(DISTINCT n) FROM t"), [100_000]);
    assert_healthy(&table);
}

#[test]
fn a_second_writer_is_told_who_holds_the_store_and_a_reader_is_let_in() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = store.create_table("t", options()).unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    let reader = StoreOptions::new().read_only(true).open(&path).unwrap();
    let seen = reader.table("t").unwrap();
    assert_eq!(seen.status().unwrap().rows_committed, 10);
    assert!(matches!(
        seen.append(&numbers(0..1)),
        Err(Error::Unavailable { .. })
    ));
    assert!(matches!(
        seen.flush_to_lake(),
        Err(Error::Unavailable { .. })
    ));
    table.flush_to_lake().unwrap();
    assert_eq!(column(&reader, "SELECT count(*) FROM t"), [10]);
    store.close().unwrap();
    assert!(
        Store::open(&path).is_ok(),
        "the lock is gone with its holder"
    );
}

#[test]
fn a_closed_store_takes_nothing_and_hangs_nobody() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store.create_table("t", options()).unwrap();
    store.close().unwrap();
    assert!(matches!(
        table.append(&numbers(0..1)),
        Err(Error::Unavailable { .. })
    ));
    assert!(matches!(
        table.flush_to_lake(),
        Err(Error::Unavailable { .. })
    ));
}

#[test]
fn a_batch_of_another_schema_is_refused_with_the_difference() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store.create_table("t", options()).unwrap();
    let text =
        RecordBatch::try_from_iter([("n", Arc::new(StringArray::from(vec!["1"])) as _)]).unwrap();
    let error = table.append(&text).unwrap_err().to_string();
    assert!(
        error.contains("\"n\"") && error.contains("Utf8") && error.contains("Int64"),
        "{error}"
    );
    let nulls =
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![None])) as _)]).unwrap();
    assert!(matches!(
        table.append(&nulls),
        Err(Error::SchemaMismatch { .. })
    ));
    assert_eq!(table.status().unwrap().rows_committed, 0);
}

#[test]
fn names_that_would_escape_or_clash_are_refused() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    for name in [
        "",
        "..",
        "a/b",
        "a.new",
        "-x",
        "täble",
        "a b",
        &"x".repeat(65),
    ] {
        let refused = store.create_table(name, options());
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{name:?}");
    }
    for name in ["", "__offset", "a.b", "a\nb", &"x".repeat(300)] {
        let schema = Schema::new(vec![Field::new(name, DataType::Int64, false)]);
        let refused = store.create_table("t", TableOptions::new(Arc::new(schema)));
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{name:?}");
    }
    assert!(store.table_names().unwrap().is_empty());
    store.create_table("t", options()).unwrap();
    assert!(matches!(
        store.create_table("t", options()),
        Err(Error::TableExists { .. })
    ));
    assert!(matches!(store.table("u"), Err(Error::TableNotFound { .. })));
}

#[test]
fn a_directory_of_something_else_does_not_become_a_store() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "precious").unwrap();
    assert!(matches!(
        Store::open(dir.path()),
        Err(Error::NotAStore { .. })
    ));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_lake_that_was_removed_is_noticed_rather_than_filled_with_a_gap() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = store
        .create_table("t", options().segment_bytes(64 << 10))
        .unwrap();
    for start in (0..20_000).step_by(1000) {
        let _ = table.append(&numbers(start..start + 1000)).unwrap();
    }
    table.flush_to_lake().unwrap();
    store.close().unwrap();
    std::fs::remove_dir_all(path.join("lake")).unwrap();
    let store = manual(&path);
    let table = store.table("t").unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    let error = table.flush_to_lake().unwrap_err().to_string();
    assert!(error.contains("bring it back"), "{error}");
    assert_eq!(
        table.status().unwrap().rows_committed,
        20_010,
        "the log keeps the rows"
    );
}

#[test]
fn an_older_copy_of_the_log_is_refused_before_it_gives_out_offsets_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = store.create_table("t", options()).unwrap();
    let raw = path.join("tables/t/raw/00000000000000000000.seg");
    let older = std::fs::read(&raw).unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    store.close().unwrap();
    std::fs::write(&raw, older).unwrap();
    let error = manual(&path).table("t").unwrap_err().to_string();
    assert!(error.contains("older copy"), "{error}");
}

/// What a flush is refused with, twice.
fn refused(table: &Table, kind: ErrorKind) -> String {
    let [first, second] = [(); 2].map(|()| table.flush_to_lake().unwrap_err());
    assert_eq!(first.kind(), kind);
    assert_eq!(first.to_string(), second.to_string());
    first.to_string()
}

#[test]
fn a_store_older_than_its_lake_tiers_nothing_however_much_is_appended_to_it() {
    let dir = TempDir::new().unwrap();
    let [path, backup] = ["s", "backup"].map(|name| dir.path().join(name));
    let store = manual(&path);
    let lake = dir.path().join("t.lance").display().to_string();
    let table = store.create_table("t", options().lake(lake)).unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    copy_directory(&path, &backup);
    let _ = table.append(&numbers(10..20)).unwrap();
    table.flush_to_lake().unwrap();
    store.close().unwrap();
    for appended in [100..115, 115..120] {
        let restored = manual(&backup);
        let table = restored.table("t").unwrap();
        let _ = table.append(&numbers(appended)).unwrap();
        let reason = refused(&table, ErrorKind::Fenced);
        assert!(reason.contains("a backup older than the lake"), "{reason}");
        restored.close().unwrap();
    }
    let store = manual(&path);
    let expected: Vec<_> = (0..20).collect();
    assert_eq!(
        column(&store, "SELECT n FROM t ORDER BY __offset"),
        expected
    );
    let restored = manual(&backup);
    let refused = restored.table("t").unwrap().verify().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    let reader = StoreOptions::new().read_only(true).open(&backup).unwrap();
    let refused = reader.table("t").unwrap().verify().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    let kept = restored.table("t").unwrap().status().unwrap();
    assert_eq!(
        (kept.rows_committed, kept.log_from),
        (30, 0),
        "the log keeps the rows"
    );
}

#[test]
fn a_copy_of_a_store_tiers_nothing_once_the_original_has() {
    let dir = TempDir::new().unwrap();
    let [path, copied] = ["s", "copy"].map(|name| dir.path().join(name));
    let store = manual(&path);
    let lake = dir.path().join("t.lance").display().to_string();
    let table = store.create_table("t", options().lake(lake)).unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    copy_directory(&path, &copied);
    let zombie = manual(&copied);
    let late = zombie.table("t").unwrap();
    let _ = late.append(&numbers(100..115)).unwrap();
    let _ = table.append(&numbers(10..20)).unwrap();
    table.flush_to_lake().unwrap();
    let reason = refused(&late, ErrorKind::Fenced);
    assert!(reason.contains("this store is a copy"), "{reason}");
    let _ = table.append(&numbers(20..30)).unwrap();
    table.flush_to_lake().unwrap();
    let expected: Vec<_> = (0..30).collect();
    assert_eq!(
        column(&store, "SELECT n FROM t ORDER BY __offset"),
        expected
    );
    assert_healthy(&table);
}

#[test]
fn of_two_tables_that_were_given_one_bucket_only_the_first_to_tier_does() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let lake = dir.path().join("shared.lance").display().to_string();
    let tables = ["a", "b"].map(|name| {
        let options = options().lake(lake.clone());
        store.create_table(name, options).unwrap()
    });
    for table in &tables {
        let _ = table.append(&numbers(0..10)).unwrap();
    }
    let [first, second] = tables;
    first.flush_to_lake().unwrap();
    let _ = second.append(&numbers(10..20)).unwrap();
    let reason = refused(&second, ErrorKind::Mismatch);
    assert!(reason.contains("under bucket 0"), "{reason}");
    assert_eq!(column(&store, "SELECT n FROM a").len(), 10);
    assert_eq!(second.status().unwrap().log_from, 0);
}

#[test]
fn flushing_an_empty_table_returns_at_once() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store.create_table("t", options()).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 0);
}

#[test]
fn a_lake_that_has_rows_of_the_bucket_is_not_taken_for_a_new_table() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let lake = dir.path().join("shared.lance").display().to_string();
    let first = store.create_table("a", options().lake(&lake)).unwrap();
    let _ = first.append(&numbers(0..10)).unwrap();
    first.flush_to_lake().unwrap();
    let taken = store.create_table("b", options().lake(&lake));
    assert!(matches!(taken, Err(Error::LakeMismatch { .. })));
    let second = store
        .create_table("b", options().lake(&lake).bucket(1))
        .unwrap();
    let _ = second.append(&numbers(10..15)).unwrap();
    second.flush_to_lake().unwrap();
    assert_eq!(column(&store, "SELECT count(*) FROM a"), [15]);
    assert_healthy(&first);
    assert_healthy(&second);
}

#[test]
fn a_struct_whose_fields_stand_in_another_order_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let place = |names: [&str; 2]| {
        let field = |name: &str| Arc::new(Field::new(name, DataType::Int64, false));
        let numbers = |n: i64| Arc::new(Int64Array::from(vec![n])) as arrow_array::ArrayRef;
        let place = arrow_array::StructArray::from(vec![
            (field(names[0]), numbers(1)),
            (field(names[1]), numbers(2)),
        ]);
        RecordBatch::try_from_iter([("place", Arc::new(place) as _)]).unwrap()
    };
    let options = TableOptions::new(place(["latitude", "longitude"]).schema());
    let table = store.create_table("t", options).unwrap();
    let _ = table.append(&place(["latitude", "longitude"])).unwrap();
    let swapped = table.append(&place(["longitude", "latitude"]));
    assert!(matches!(swapped, Err(Error::SchemaMismatch { .. })));
}

#[test]
fn a_lake_that_is_gone_is_never_taken_for_an_empty_one() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = store.create_table("t", options()).unwrap();
    let _ = table.append(&numbers(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    store.close().unwrap();
    std::fs::remove_dir_all(path.join("lake")).unwrap();
    let store = StoreOptions::new().read_only(true).open(&path).unwrap();
    let table = store.table("t").unwrap();
    assert!(matches!(table.verify(), Err(Error::LakeMismatch { .. })));
    assert!(store.query("SELECT count(*) FROM t").is_err());
    let status = table.status().unwrap();
    assert!(
        status
            .last_error
            .is_some_and(|error| matches!(*error, Error::LakeMismatch { .. }))
    );
    assert_eq!(status.rows_tiered, 10);
    assert!(!path.join("lake").exists());
}

#[test]
fn a_damaged_table_keeps_nobody_from_the_others() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    for name in ["bad", "good"] {
        let table = store.create_table(name, options()).unwrap();
        let _ = table.append(&numbers(0..10)).unwrap();
    }
    store.close().unwrap();
    let segment = path.join("tables/bad/raw/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let store = manual(&path);
    assert!(matches!(store.table("bad"), Err(Error::Corrupt { .. })));
    let good = store.table("good").unwrap();
    assert_eq!(good.append(&numbers(10..11)).unwrap().offsets(), 10..11);
    assert_eq!(good.flush_to_lake().unwrap(), 11);
}

#[test]
fn a_table_whose_lake_is_broken_delays_no_other() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path().join("s")).unwrap();
    let fresh = || options().freshness(Duration::from_millis(20));
    let broken = store.create_table("broken", fresh()).unwrap();
    let whole = store.create_table("whole", fresh()).unwrap();
    let lake = Path::new(broken.lake_uri());
    std::fs::remove_dir_all(lake).unwrap();
    std::fs::write(lake, "not a directory").unwrap();
    let _ = broken.append(&numbers(0..10)).unwrap();
    assert!(matches!(broken.flush_to_lake(), Err(Error::Tiering { .. })));
    for start in 0..10 {
        let _ = whole.append(&numbers(start..start + 1)).unwrap();
        whole.flush_to_lake().unwrap();
    }
    assert!(broken.status().unwrap().last_error.is_some());
    std::fs::remove_file(lake).unwrap();
    assert_eq!(
        broken.flush_to_lake().unwrap(),
        10,
        "it goes on once the lake is back"
    );
    assert!(broken.status().unwrap().last_error.is_none());
}

#[test]
fn a_host_within_a_tokio_runtime_can_call_everything() {
    let dir = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(dir.path().join("s")).unwrap();
        let table = store.create_table("t", options()).unwrap();
        table.append(&numbers(0..10)).unwrap().wait().unwrap();
        table.flush_to_lake().unwrap();
        assert_eq!(column(&store, "SELECT count(*) FROM t"), [10]);
        store.close().unwrap();
    });
}

#[test]
fn producers_on_many_threads_lose_and_double_nothing() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path().join("s")).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("producer", DataType::Int32, false),
        Field::new("n", DataType::Int64, false),
    ]));
    let options = TableOptions::new(Arc::clone(&schema))
        .durability(Durability::Sync)
        .freshness(Duration::from_millis(20));
    let table = store.create_table("t", options).unwrap();
    std::thread::scope(|scope| {
        for producer in 0..4 {
            let (table, schema) = (table.clone(), Arc::clone(&schema));
            scope.spawn(move || {
                for n in 0..50 {
                    let columns: Vec<arrow_array::ArrayRef> = vec![
                        Arc::new(Int32Array::from(vec![producer])),
                        Arc::new(Int64Array::from(vec![n])),
                    ];
                    let _ = table
                        .append(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
                        .unwrap();
                }
            });
        }
    });
    table.flush_to_lake().unwrap();
    assert_eq!(column(&store, "SELECT count(*) FROM t"), [200]);
    assert_eq!(
        column(&store, "SELECT count(DISTINCT producer * 1000 + n) FROM t"),
        [200]
    );
    assert_healthy(&table);
}

#[test]
fn with_memory_for_one_round_the_rows_of_many_tables_all_arrive() {
    let dir = TempDir::new().unwrap();
    let options = StoreOptions::new().tiering_memory(1);
    let store = options.open(dir.path().join("s")).unwrap();
    let tables: Vec<_> = (0..6)
        .map(|i| {
            store
                .create_table(&format!("t{i}"), options_soon())
                .unwrap()
        })
        .collect();
    let flushes: Vec<_> = tables
        .iter()
        .map(|table| {
            let _ = table.append(&numbers(0..10)).unwrap();
            table.start_flush().unwrap()
        })
        .collect();
    for flush in flushes {
        assert_eq!(flush.wait().unwrap(), 10);
        assert!(flush.is_done());
    }
    tables.iter().for_each(assert_healthy);
}

fn options_soon() -> TableOptions {
    options().freshness(Duration::from_millis(1))
}
