//! What a user of transforms relies on whose table gets other columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};

use crate::pipeline::tests::{
    Fixture, assert_sound, column, dead_offsets, rows, some, wait_staged,
};
use crate::transform::guests::{guest, record_guest};
use crate::{Alteration, DeadLetterFilter, OnError, Store, Table};

fn add(name: &str) -> Alteration {
    Alteration::Add(Field::new(name, DataType::Utf8, true))
}

fn widen_x() -> Alteration {
    Alteration::Widen {
        column: "x".to_owned(),
        to: DataType::Int64,
    }
}

fn drop_column(name: &str) -> Alteration {
    Alteration::Drop(name.to_owned())
}

fn long(store: &Store, name: &str) -> Vec<Option<i64>> {
    let sql = format!("SELECT {name} FROM t ORDER BY __offset");
    let batches = store.query(&sql).unwrap().map(Result::unwrap);
    let values = batches.map(|batch| batch.column(0).as_primitive::<Int64Type>().clone());
    values
        .flat_map(|values| values.iter().collect::<Vec<_>>())
        .collect()
}

fn some_long(range: std::ops::Range<i64>) -> Vec<Option<i64>> {
    range.map(Some).collect()
}

/// Rows of the columns that a table has after `x` was widened and `note` added.
fn new_rows(table: &Table, range: std::ops::Range<i64>) -> RecordBatch {
    let texts = |of: &str| -> ArrayRef {
        let texts = range.clone().map(|x| format!("{of} {x}"));
        Arc::new(StringArray::from_iter_values(texts))
    };
    let x: ArrayRef = Arc::new(Int64Array::from_iter_values(range.clone()));
    RecordBatch::try_new(table.schema(), vec![x, texts("row"), texts("note")]).unwrap()
}

#[test]
fn transforms_go_on_with_other_columns_and_what_they_made_before_fits_the_lake() {
    let fixture = Fixture::new();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    let _ = table.append(&rows(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    let _ = table.append(&rows(10..20)).unwrap();
    wait_staged(&table);
    // What the transform makes of "x" is as wide as "x".
    table.alter(&[widen_x(), add("note")]).unwrap();
    let _ = table.append(&new_rows(&table, 20..30)).unwrap();
    let _ = table.append(&rows(30..40)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(long(&store, "y"), some_long(0..40));
    table.alter(&[drop_column("text")]).unwrap();
    let _ = table.append(&rows(40..50)).unwrap();
    wait_staged(&table);
    drop(table);
    store.close().unwrap();
    let (store, table) = fixture.open();
    let _ = table.append(&rows(50..60)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(long(&store, "x"), some_long(0..60));
    assert_eq!(long(&store, "y"), some_long(0..60));
    assert!(table.lake_schema().field_with_name("text").is_err());
    assert_sound(&table);
}

#[test]
fn rows_are_transformed_once_though_columns_change_all_the_time() {
    let fixture = Fixture::new();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    let producer = std::thread::spawn({
        let table = table.clone();
        move || {
            for start in (0..2000).step_by(10) {
                let _ = table.append(&rows(start..start + 10)).unwrap();
            }
        }
    });
    for turn in 0..10 {
        table.alter(&[add(&format!("note{turn}"))]).unwrap();
        let _ = table.flush_to_lake().unwrap();
        table.alter(&[drop_column(&format!("note{turn}"))]).unwrap();
    }
    producer.join().unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(column(&store, "x"), some(0..2000));
    assert_eq!(column(&store, "y"), some(0..2000));
    assert_sound(&table);
}

#[test]
fn a_column_that_a_transform_reads_is_not_dropped_nor_made_what_it_does_not_take() {
    let fixture = Fixture::new();
    let picky = fixture.transform(&record_guest(), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![picky]);
    let before = table.schema();
    let told = table.alter(&[drop_column("x")]).unwrap_err().to_string();
    assert!(told.contains("\"y\"") && told.contains("\"x\""), "{told}");
    let told = table.alter(&[add("y")]).unwrap_err().to_string();
    assert!(told.contains("in the lake already"), "{told}");
    assert_eq!(table.schema(), before);
    let _ = table.append(&rows(0..5)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(column(&store, "y"), some(0..5));
}

#[test]
fn dead_letters_of_before_have_the_columns_of_now_and_can_be_retried() {
    let fixture = Fixture::new();
    // Fails on 13, and filters 7.
    let picky = fixture.transform(&record_guest(), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![picky]);
    let _ = table.append(&rows(13..14)).unwrap();
    table.flush_to_lake().unwrap();
    // Staged as a dead letter, and not settled.
    let _ = table.append(&rows(13..14)).unwrap();
    wait_staged(&table);
    table.alter(&[add("note"), drop_column("text")]).unwrap();
    let _ = table.append(&rows(13..14)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [0, 1, 2]);
    for batch in table.dead_letters().unwrap() {
        let batch = batch.unwrap();
        assert!(batch.column_by_name("text").is_none());
        assert_eq!(batch["note"].null_count(), batch.num_rows());
    }
    let sql = "SELECT note FROM \"t.dead_letters\"";
    let settled = store.query(sql).unwrap().map(|b| b.unwrap().num_rows());
    assert_eq!(settled.sum::<usize>(), 3);
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    table.replace_transforms(&[copy]).unwrap();
    table.alter(&[widen_x()]).unwrap();
    let report = table.retry_dead_letters(&DeadLetterFilter::all()).unwrap();
    assert_eq!(report.recovered, 3);
    assert_eq!(long(&store, "x"), [13; 3].map(Some));
    assert_sound(&table);
}

#[test]
fn a_table_without_transforms_gets_no_staged_log_by_it() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(Vec::new());
    let _ = table.append(&rows(0..5)).unwrap();
    table.alter(&[widen_x(), add("note")]).unwrap();
    assert!(table.staged_metrics().is_none());
    table.flush_to_lake().unwrap();
    assert_eq!(long(&store, "x"), some_long(0..5));
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    table.replace_transforms(&[copy]).unwrap();
    let _ = table.append(&rows(5..10)).unwrap();
    table.flush_to_lake().unwrap();
    let y = [vec![None; 5], some_long(5..10)].concat();
    assert_eq!(long(&store, "y"), y);
}
