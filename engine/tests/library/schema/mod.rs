//! What a user relies on who changes the columns of a table that is in use.

mod layout;
mod limits;
mod model;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium::{
    Alteration, AppenderOptions, Error, IndexKind, Maintenance, Store, StoreOptions, Table,
    TableOptions,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array, LargeStringArray,
    ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_schema::{DataType, Field, Fields, Schema};
use tempfile::TempDir;

use crate::common::{assert_healthy, manual};

struct Fixture {
    directory: TempDir,
    store: Option<Store>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            store: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    fn table_file(&self) -> String {
        std::fs::read_to_string(self.path().join("tables/t/table.json")).unwrap()
    }

    /// Opens the store, closing it first: it tiers when it is told to, and not before.
    fn reopen(&mut self) -> Table {
        if let Some(store) = self.store.take() {
            store.close().unwrap();
        }
        let store = manual(&self.path());
        let table = store.table("t").unwrap();
        self.store = Some(store);
        table
    }

    fn create(&mut self, options: TableOptions) -> Table {
        let store = manual(&self.path());
        let table = store.create_table("t", options).unwrap();
        self.store = Some(store);
        table
    }

    /// A column of the lake, in the order of offsets.
    fn lake(&self, column: &str) -> Vec<ArrayRef> {
        let sql = format!("SELECT \"{column}\" FROM t ORDER BY __offset");
        let batches = self.store.as_ref().unwrap().query(&sql).unwrap();
        batches.map(|b| Arc::clone(b.unwrap().column(0))).collect()
    }

    fn lake_numbers(&self, column: &str) -> Vec<Option<i64>> {
        let arrays = self.lake(column);
        arrays.iter().flat_map(numbers_of).collect()
    }

    fn lake_texts(&self, column: &str) -> Vec<Option<String>> {
        let arrays = self.lake(column);
        arrays.iter().flat_map(texts_of).collect()
    }
}

fn numbers_of(array: &ArrayRef) -> Vec<Option<i64>> {
    match array.data_type() {
        DataType::Int32 => {
            let values = array.as_primitive::<Int32Type>().iter();
            values.map(|v| v.map(i64::from)).collect()
        }
        _ => array.as_primitive::<Int64Type>().iter().collect(),
    }
}

fn texts_of(array: &ArrayRef) -> Vec<Option<String>> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(owned).collect(),
        _ => array.as_string::<i64>().iter().map(owned).collect(),
    }
}

fn some(range: std::ops::Range<i64>) -> Vec<Option<i64>> {
    range.map(Some).collect()
}

/// Rows with an int32 "n" and a text "s".
fn rows(range: std::ops::Range<i32>) -> RecordBatch {
    let text = range.clone().map(|n| format!("row {n}"));
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(text));
    let n: ArrayRef = Arc::new(Int32Array::from_iter_values(range));
    RecordBatch::try_from_iter([("n", n), ("s", text)]).unwrap()
}

/// The same with a column behind them.
fn rows_with(range: std::ops::Range<i32>, name: &str, column: ArrayRef) -> RecordBatch {
    let rows = rows(range);
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
    let columns = [rows.columns(), &[column]].concat();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn add(name: &str, data_type: DataType) -> Alteration {
    Alteration::Add(Field::new(name, data_type, true))
}

fn widen(column: &str, to: DataType) -> Alteration {
    Alteration::Widen {
        column: column.to_owned(),
        to,
    }
}

fn drop_column(column: &str) -> Alteration {
    Alteration::Drop(column.to_owned())
}

fn options() -> TableOptions {
    TableOptions::new(rows(0..0).schema())
}

/// Appends ten rows that are tiered, and ten that are not yet.
fn with_rows(fixture: &mut Fixture) -> Table {
    let table = fixture.create(options());
    let _ = table.append(&rows(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    let _ = table.append(&rows(10..20)).unwrap();
    table
}

fn log_rows(table: &Table) -> Vec<RecordBatch> {
    table.read_log(0).map(|rows| rows.unwrap().batch).collect()
}
