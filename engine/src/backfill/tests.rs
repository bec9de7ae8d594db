//! What a user relies on who lets a transform loose on a lake that is there.

use std::collections::BTreeMap;

use lance::Dataset;

use super::*;
use crate::pipeline::tests::{Fixture, assert_sound, column, rows, some};
use crate::transform::guests::{ERR, guest, on_value, origin, record_guest};
use crate::{IndexKind, MadeBy, OnError, Store, StoreOptions, Table, TableOptions, TransformSpec};

/// A guest that adds to each value.
fn adds(number: i32) -> Vec<u8> {
    let at = "(i32.add (local.get $data) (i32.shl (local.get $i) (i32.const 2)))";
    let apply = format!(
        "(local.set $i (i32.const 0))
         (block $done (loop $next
           (br_if $done (i32.ge_u (local.get $i) (local.get $rows)))
           (i32.store {at} (i32.add (i32.load {at}) (i32.const {number})))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br $next)))"
    );
    guest("", &apply)
}

fn append_rounds(table: &Table, range: std::ops::Range<i32>) {
    for start in range.step_by(10) {
        let _ = table.append(&rows(start..start + 10)).unwrap();
        table.flush_to_lake().unwrap();
    }
}

fn shares(table: &Table) -> Vec<(Option<String>, u64)> {
    let made = table.made_by().unwrap();
    let all: f64 = made.iter().map(|made| made.share).sum();
    assert!((all - 1.0).abs() < 1e-9, "{made:?}");
    made.into_iter()
        .map(|made| (made.transform, made.rows))
        .collect()
}

fn lake_of(fixture: &Fixture) -> String {
    fixture.path().join("lake/t.lance").display().to_string()
}

#[test]
fn rows_of_before_a_transform_get_what_it_makes_once_and_for_all() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(Vec::new());
    append_rounds(&table, 0..30);
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    table.replace_transforms(&[copy]).unwrap();
    append_rounds(&table, 30..40);
    let y = Some("y".to_owned());
    assert_eq!(shares(&table), [(None, 30), (y.clone(), 10)]);
    let report = table.backfill("y").unwrap();
    assert_eq!((report.fragments, report.rows, report.kept), (3, 30, 0));
    assert_eq!(report.columns, ["y"]);
    assert_eq!(column(&store, "y"), some(0..40));
    assert_eq!(column(&store, "x"), some(0..40));
    assert_eq!(shares(&table), [(y, 40)]);
    assert_eq!(table.backfill("y").unwrap(), BackfillReport::default());
    assert_sound(&table);
    drop(table);
    store.close().unwrap();
    let (store, table) = fixture.open();
    assert_eq!(table.backfill("y").unwrap().rows, 0);
    append_rounds(&table, 40..50);
    assert_eq!(column(&store, "y"), some(0..50));
}

/// A backfill called as a host calls it that is asynchronous itself.
fn backfill_in_a_runtime(table: &Table, transform: &str) -> Result<BackfillReport> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { table.backfill(transform) })
}

#[test]
fn within_a_runtime_a_backfill_works_as_elsewhere() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(Vec::new());
    append_rounds(&table, 0..20);
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    table.replace_transforms(&[copy]).unwrap();
    assert_eq!(backfill_in_a_runtime(&table, "y").unwrap().rows, 20);
    assert_eq!(column(&store, "y"), some(0..20));
}

#[test]
fn within_a_runtime_a_backfill_that_fails_tells_why() {
    let fixture = Fixture::new();
    let (_store, table) = fixture.create(Vec::new());
    append_rounds(&table, 0..20);
    let strict = fixture.transform(&guest("", &on_value(15, ERR)), "y", OnError::Fail);
    table.replace_transforms(&[strict]).unwrap();
    let told = backfill_in_a_runtime(&table, "y").unwrap_err();
    assert!(matches!(told, Error::TransformFailed { .. }), "{told}");
}

#[test]
fn another_version_of_a_plugin_makes_its_column_anew_also_where_an_index_has_it() {
    let fixture = Fixture::new();
    let first = fixture.transform(&adds(1), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![first]);
    for start in (0..6000).step_by(2000) {
        let _ = table.append(&rows(start..start + 2000)).unwrap();
        table.flush_to_lake().unwrap();
    }
    table.create_index("y", IndexKind::BTree).unwrap();
    table.maintain().unwrap();
    assert_eq!(
        table.status().unwrap().maintenance.indices[0].unindexed_rows,
        0
    );
    let second = fixture.transform(&adds(100_000), "y", OnError::DeadLetter);
    table.replace_transforms(&[second]).unwrap();
    let sha256 = |made: &MadeBy| made.sha256.clone();
    let before = table.made_by().unwrap();
    table.backfill("y").unwrap();
    let after = table.made_by().unwrap();
    assert_ne!(sha256(&before[0]), sha256(&after[0]));
    assert_eq!(column(&store, "y"), some(100_000..106_000));
    let count = |condition: &str| {
        let sql = format!("SELECT x FROM t WHERE {condition}");
        let found = store.query(&sql).unwrap();
        found.map(|batch| batch.unwrap().num_rows()).sum::<usize>()
    };
    assert_eq!(count("y = 103000"), 1);
    assert_eq!(count("y < 100000"), 0);
    table.maintain().unwrap();
    assert_eq!(count("y = 103000"), 1);
    assert_eq!(count("y < 100000"), 0);
    assert_sound(&table);
}

#[test]
fn a_row_that_fails_or_is_filtered_keeps_what_it_has() {
    let fixture = Fixture::new();
    let first = fixture.transform(&adds(1), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![first]);
    append_rounds(&table, 0..20);
    let picky = fixture.transform(&record_guest(), "y", OnError::DeadLetter);
    table.replace_transforms(&[picky]).unwrap();
    let report = table.backfill("y").unwrap();
    assert_eq!((report.rows, report.kept), (18, 2));
    assert!(report.first_failure.unwrap().contains("bad row"));
    let expected = (0..20).map(|x| Some(if x == 7 || x == 13 { x + 1 } else { x }));
    assert_eq!(column(&store, "y"), expected.collect::<Vec<_>>());
    assert!(table.dead_letters().unwrap().next().is_none());
}

#[test]
fn only_rows_of_the_table_are_made_anew_and_deleted_ones_stay_deleted() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(Vec::new());
    append_rounds(&table, 0..30);
    let directory = tempfile::tempdir().unwrap();
    let neighbour: Store = StoreOptions::new()
        .tiering(false)
        .open(directory.path().join("s"))
        .unwrap();
    let options = TableOptions::new(rows(0..1).schema())
        .bucket(1)
        .lake(lake_of(&fixture));
    let other = neighbour.create_table("t", options).unwrap();
    append_rounds(&other, 0..10);
    let lake = lake_of(&fixture);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut dataset = Dataset::open(&lake).await.unwrap();
        dataset.delete("x = 5 AND __bucket = 0").await.unwrap();
    });
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    table.replace_transforms(&[copy]).unwrap();
    table.maintain().unwrap();
    assert_eq!(table.backfill("y").unwrap().rows, 29);
    let of = |bucket: i32| {
        let sql = format!("SELECT y FROM t WHERE __bucket = {bucket} ORDER BY __offset");
        let batches = store.query(&sql).unwrap().map(Result::unwrap);
        let values = batches.flat_map(|b| {
            b.column(0)
                .as_primitive::<Int32Type>()
                .iter()
                .collect::<Vec<_>>()
        });
        values.collect::<Vec<_>>()
    };
    assert_eq!(
        of(0),
        (0..30).filter(|x| *x != 5).map(Some).collect::<Vec<_>>()
    );
    assert_eq!(of(1), [None; 10]);
}

#[test]
fn rounds_and_merges_go_on_while_rows_are_made_anew() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(Vec::new());
    append_rounds(&table, 0..400);
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    table.replace_transforms(&[copy]).unwrap();
    std::thread::scope(|scope| {
        let filling = scope.spawn(|| table.backfill("y").unwrap());
        for start in (400..600).step_by(10) {
            append_rounds(&table, start..start + 10);
            table.maintain().unwrap();
        }
        filling.join().unwrap()
    });
    assert_eq!(column(&store, "y"), some(0..600));
    assert!(table.status().unwrap().maintenance.compactions > 0);
    assert_sound(&table);
}

#[test]
fn what_was_done_before_a_failure_is_not_done_again() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(Vec::new());
    append_rounds(&table, 0..30);
    let strict = fixture.transform(&guest("", &on_value(25, ERR)), "y", OnError::Fail);
    table
        .replace_transforms(std::slice::from_ref(&strict))
        .unwrap();
    let told = table.backfill("y").unwrap_err();
    assert!(matches!(told, Error::TransformFailed { .. }), "{told}");
    assert!(fixture.table_path().join(FILE_NAME).exists());
    drop(table);
    store.close().unwrap();
    let (store, table) = fixture.open();
    let expected = (0..30).map(|x| (x < 20).then_some(x));
    assert_eq!(column(&store, "y"), expected.collect::<Vec<_>>());
    let lenient = TransformSpec {
        on_error: OnError::Null,
        ..strict
    };
    table.replace_transforms(&[lenient]).unwrap();
    let report = table.backfill("y").unwrap();
    assert_eq!((report.fragments, report.rows), (1, 10));
    let expected = (0..30).map(|x| (x != 25).then_some(x));
    assert_eq!(column(&store, "y"), expected.collect::<Vec<_>>());
    assert!(!fixture.table_path().join(FILE_NAME).exists());
}

#[test]
fn what_cannot_be_made_anew_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    let (_store, table) = fixture.create(Vec::new());
    append_rounds(&table, 0..10);
    let told = table.backfill("y").unwrap_err().to_string();
    assert!(told.contains("no such transform"), "{told}");
    let overwrites = TransformSpec {
        outputs: BTreeMap::from([("x".to_owned(), "x".to_owned())]),
        ..fixture.transform(&adds(1), "y", OnError::DeadLetter)
    };
    table.replace_transforms(&[overwrites]).unwrap();
    let told = table.backfill("y").unwrap_err().to_string();
    assert!(
        told.contains("overwrite") && told.contains("\"x\""),
        "{told}"
    );
    let twice = guest("", &origin(&[0; 10]));
    let twice = fixture.transform(&twice, "z", OnError::DeadLetter);
    table.replace_transforms(&[twice]).unwrap();
    let told = table.backfill("z").unwrap_err().to_string();
    assert!(told.contains("several rows of one"), "{told}");
}
