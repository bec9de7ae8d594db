//! What a user relies on who changes the columns of a table that is in use.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

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
        arrays.iter().flat_map(|a| numbers_of(a)).collect()
    }

    fn lake_texts(&self, column: &str) -> Vec<Option<String>> {
        let arrays = self.lake(column);
        arrays.iter().flat_map(|a| texts_of(a)).collect()
    }
}

fn manual(path: &Path) -> Store {
    StoreOptions::new().tiering(false).open(path).unwrap()
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

fn assert_healthy(table: &Table) {
    let report = table.verify().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

fn log_rows(table: &Table) -> Vec<RecordBatch> {
    table.read_log(0).map(|rows| rows.unwrap().batch).collect()
}

#[test]
fn an_added_column_is_null_in_rows_that_are_older_and_in_those_of_old_producers() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    table.alter(&[add("note", DataType::Utf8)]).unwrap();
    assert_eq!(table.schema().field(2).name(), "note");
    let note: ArrayRef = Arc::new(StringArray::from_iter_values(
        (20..30).map(|n| format!("note {n}")),
    ));
    let _ = table.append(&rows_with(20..30, "note", note)).unwrap();
    let _ = table.append(&rows(30..40)).unwrap();
    let logged: Vec<_> = log_rows(&table)
        .iter()
        .map(|b| b["note"].null_count())
        .collect();
    assert_eq!(logged, [10, 10, 0, 10]);
    let table = fixture.reopen();
    assert_eq!(table.schema().field(2).name(), "note");
    let _ = table.append(&rows(40..50)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(fixture.lake_numbers("n"), some(0..50));
    let notes = fixture.lake_texts("note");
    let expected = (0..50).map(|n| (20..30).contains(&n).then(|| format!("note {n}")));
    assert_eq!(notes, expected.collect::<Vec<_>>());
    assert_healthy(&table);
}

#[test]
fn a_widened_column_has_its_values_cast_wherever_they_are() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    let alterations = [widen("n", DataType::Int64), widen("s", DataType::LargeUtf8)];
    table.alter(&alterations).unwrap();
    let _ = table.append(&rows(20..30)).unwrap();
    let wide = RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef),
        ("s", Arc::new(LargeStringArray::from(vec!["large"])) as _),
    ]);
    let _ = table.append(&wide.unwrap()).unwrap();
    let table = fixture.reopen();
    assert_eq!(log_rows(&table)[0]["n"].data_type(), &DataType::Int64);
    table.flush_to_lake().unwrap();
    let mut expected = some(0..30);
    expected.push(Some(1 << 40));
    assert_eq!(fixture.lake_numbers("n"), expected);
    assert_eq!(fixture.lake("n")[0].data_type(), &DataType::Int64);
    assert_eq!(fixture.lake("s")[0].data_type(), &DataType::LargeUtf8);
    assert_eq!(fixture.lake_texts("s")[9], Some("row 9".to_owned()));
    assert_healthy(&table);
}

#[test]
fn a_dropped_column_is_gone_and_producers_that_still_send_it_go_on() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    table.alter(&[drop_column("s")]).unwrap();
    let _ = table.append(&rows(20..30)).unwrap();
    let only: ArrayRef = Arc::new(Int32Array::from_iter_values(30..40));
    let _ = table
        .append(&RecordBatch::try_from_iter([("n", only)]).unwrap())
        .unwrap();
    assert!(
        log_rows(&table)
            .iter()
            .all(|batch| batch.num_columns() == 1)
    );
    let table = fixture.reopen();
    table.flush_to_lake().unwrap();
    assert_eq!(fixture.lake_numbers("n"), some(0..40));
    let lake = fixture
        .store
        .as_ref()
        .unwrap()
        .query("SELECT * FROM t")
        .unwrap();
    let names: Vec<_> = lake
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["n", "__bucket", "__offset", "__timestamp"]);
    assert_healthy(&table);
}

#[test]
fn a_column_that_is_added_again_has_nothing_of_the_one_that_was_dropped() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    table.alter(&[drop_column("s")]).unwrap();
    table.alter(&[add("s", DataType::Utf8)]).unwrap();
    let _ = table.append(&rows(20..22)).unwrap();
    table.flush_to_lake().unwrap();
    let mut expected = vec![None; 20];
    expected.extend([Some("row 20".to_owned()), Some("row 21".to_owned())]);
    assert_eq!(fixture.lake_texts("s"), expected);
}

#[test]
fn nested_columns_are_added_kept_and_dropped_as_others() {
    let mut fixture = Fixture::new();
    let parts = Fields::from(vec![
        Field::new("a", DataType::Int32, false),
        Field::new("b", DataType::Utf8, true),
    ]);
    let nested: ArrayRef = Arc::new(StructArray::new(
        parts,
        vec![
            Arc::new(Int32Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec![Some("x"), None])),
        ],
        None,
    ));
    let first = rows_with(0..2, "nested", nested);
    let table = fixture.create(TableOptions::new(first.schema()));
    let _ = table.append(&first).unwrap();
    table.flush_to_lake().unwrap();
    let _ = table.append(&first).unwrap();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vector = DataType::FixedSizeList(Arc::clone(&item), 2);
    let words = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let alterations = [
        widen("n", DataType::Int64),
        add("vector", vector),
        add("words", words),
    ];
    table.alter(&alterations).unwrap();
    let _ = table.append(&first).unwrap();
    let vectors =
        FixedSizeListArray::new(item, 2, Arc::new(Float32Array::from(vec![1.0, 2.0])), None);
    let words =
        ListArray::from_nested_iter::<arrow_array::builder::StringBuilder, _, _, _>(vec![Some(
            vec![Some("w")],
        )]);
    let mut columns = rows(9..10).columns().to_vec();
    columns[0] = Arc::new(Int64Array::from(vec![9]));
    columns.push(first["nested"].slice(0, 1));
    columns.extend([Arc::new(vectors) as ArrayRef, Arc::new(words)]);
    let _ = table
        .append(&RecordBatch::try_new(table.schema(), columns).unwrap())
        .unwrap();
    table.flush_to_lake().unwrap();
    let nulls = |column| {
        fixture
            .lake(column)
            .iter()
            .map(|c| c.null_count())
            .sum::<usize>()
    };
    assert_eq!(
        [nulls("nested"), nulls("vector"), nulls("words")],
        [0, 6, 6]
    );
    table
        .alter(&[drop_column("nested"), drop_column("words")])
        .unwrap();
    let _ = table.append(&first).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(
        fixture.lake_numbers("n"),
        [0, 1, 0, 1, 0, 1, 9, 0, 1].map(Some)
    );
    assert_healthy(&table);
}

#[test]
fn an_appender_that_was_made_before_goes_on_and_takes_batches_of_the_new_columns_too() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    let appender = table
        .appender(AppenderOptions::new().linger(std::time::Duration::MAX))
        .unwrap();
    appender.append_row(&[20.into(), "row 20".into()]).unwrap();
    // The types of the new columns are those of the old ones: only the names tell them apart.
    table
        .alter(&[drop_column("s"), add("note", DataType::Utf8)])
        .unwrap();
    appender.append_row(&[21.into(), "row 21".into()]).unwrap();
    let n: ArrayRef = Arc::new(Int32Array::from(vec![22]));
    let note: ArrayRef = Arc::new(StringArray::from(vec!["note 22"]));
    let batch = RecordBatch::try_from_iter_with_nullable([("n", n, false), ("note", note, true)]);
    appender.append(&batch.unwrap()).unwrap();
    appender.append(&rows(23..24)).unwrap();
    let _ = appender.flush().unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(fixture.lake_numbers("n"), some(0..24));
    let notes = fixture.lake_texts("note");
    assert_eq!(notes[22], Some("note 22".to_owned()));
    assert_eq!(notes.iter().flatten().count(), 1);
}

#[test]
fn a_reader_of_the_log_goes_on_over_an_alteration() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    let mut all = table.read_log(0);
    let mut some = table.read_log(0).columns(&["n"]).unwrap();
    let mut next = || {
        let columns = all.next().unwrap().unwrap().batch.num_columns();
        (columns, some.next().unwrap().unwrap().batch.num_columns())
    };
    assert_eq!(next(), (2, 1));
    table.alter(&[add("note", DataType::Utf8)]).unwrap();
    assert_eq!(next(), (2, 1));
    let note: ArrayRef = Arc::new(StringArray::from(vec!["new"]));
    let _ = table.append(&rows_with(20..21, "note", note)).unwrap();
    assert_eq!(next(), (3, 1));
    table.alter(&[widen("n", DataType::Int64)]).unwrap();
    let wide = RecordBatch::try_new(
        table.schema(),
        vec![
            Arc::new(Int64Array::from(vec![21])),
            Arc::new(StringArray::from(vec!["row 21"])),
            Arc::new(StringArray::from(vec!["wide"])),
        ],
    );
    let _ = table.append(&wide.unwrap()).unwrap();
    let reader = StoreOptions::new()
        .read_only(true)
        .open(fixture.path())
        .unwrap();
    let follower = reader.table("t").unwrap();
    let n: Vec<_> = follower
        .read_log(20)
        .map(|b| numbers_of(&b.unwrap().batch["n"]))
        .collect();
    assert_eq!(n, [[Some(20)], [Some(21)]]);
    assert_healthy(&follower);
}

fn refusal(table: &Table, alterations: &[Alteration]) -> String {
    match table.alter(alterations) {
        Err(error @ Error::Invalid { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_reason_and_nothing_changes() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    let before = fixture.table_file();
    let required = Alteration::Add(Field::new("x", DataType::Utf8, false));
    let union = DataType::Interval(arrow_schema::IntervalUnit::DayTime);
    for (alterations, reason) in [
        (vec![required], "may be null"),
        (vec![add("S", DataType::Utf8)], "is in the table already"),
        (
            vec![add("__offset", DataType::Int64)],
            "is in the lake already",
        ),
        (vec![add("__x", DataType::Int64)], "'__'"),
        (vec![add("a.b", DataType::Int64)], "'.'"),
        (vec![add("`a`", DataType::Int64)], "'`'"),
        (vec![add("", DataType::Int64)], "1 to 255 bytes"),
        (vec![add("x", union)], "cast"),
        (
            vec![add("x", DataType::Utf8), add("X", DataType::Utf8)],
            "already",
        ),
        (
            vec![widen("n", DataType::Int16)],
            "is Int32, and can't become Int16",
        ),
        (vec![widen("n", DataType::Int32)], "can't become Int32"),
        (vec![widen("n", DataType::Float64)], "can't become Float64"),
        (vec![widen("s", DataType::Binary)], "can't become Binary"),
        (
            vec![widen("x", DataType::Int64)],
            "the table has [\"n\", \"s\"]",
        ),
        (vec![drop_column("x")], "is not there"),
        (
            vec![drop_column("n"), drop_column("s")],
            "at least one column",
        ),
        (
            vec![drop_column("s"), add("s", DataType::Int32)],
            "of type Utf8 before",
        ),
        (
            vec![drop_column("s"), add("s", DataType::Utf8)],
            "by the same call",
        ),
    ] {
        let told = refusal(&table, &alterations);
        assert!(told.contains(reason), "{alterations:?}: {told}");
    }
    assert_eq!(fixture.table_file(), before);
    table.alter(&[]).unwrap();
    assert_eq!(fixture.table_file(), before);
    table.alter(&[drop_column("s")]).unwrap();
    let told = refusal(&table, &[add("s", DataType::Int32)]);
    assert!(told.contains("of type Utf8 before"), "{told}");
    let error = table
        .append(&rows_with(0..1, "y", Arc::new(Int32Array::from(vec![1]))))
        .unwrap_err();
    assert!(matches!(error, Error::SchemaMismatch { .. }), "{error}");
    let reader = StoreOptions::new()
        .read_only(true)
        .open(fixture.path())
        .unwrap();
    let error = reader
        .table("t")
        .unwrap()
        .alter(&[drop_column("n")])
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[test]
fn names_that_others_would_quote_are_well() {
    let mut fixture = Fixture::new();
    let names = ["a b", "it's", "\"q\"", "größe", "a/b", "select"];
    let table = fixture.create(options());
    let _ = table.append(&rows(0..2)).unwrap();
    table.flush_to_lake().unwrap();
    let added: Vec<_> = names
        .iter()
        .map(|name| add(name, DataType::Int32))
        .collect();
    table.alter(&added).unwrap();
    let widened: Vec<_> = names
        .iter()
        .map(|name| widen(name, DataType::Int64))
        .collect();
    table.alter(&widened).unwrap();
    let _ = table.append(&rows(2..4)).unwrap();
    table.flush_to_lake().unwrap();
    let dropped: Vec<_> = names.iter().map(|name| drop_column(name)).collect();
    table.alter(&dropped).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(fixture.lake_numbers("n"), some(0..4));
    assert_eq!(table.lake_schema().fields().len(), 5);
}

#[test]
fn a_lake_that_is_gone_lets_an_alteration_fail_and_nothing_changes() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    let before = fixture.table_file();
    let (lake, away) = (fixture.path().join("lake"), fixture.path().join("away"));
    std::fs::rename(&lake, &away).unwrap();
    let alterations = [widen("n", DataType::Int64), drop_column("s")];
    assert!(table.alter(&alterations).is_err());
    assert_eq!(fixture.table_file(), before);
    assert_eq!(table.schema(), rows(0..0).schema());
    let table = fixture.reopen();
    assert!(table.alter(&alterations).is_err());
    assert_eq!(fixture.table_file(), before);
    std::fs::rename(&away, &lake).unwrap();
    table.alter(&alterations).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(fixture.lake_numbers("n"), some(0..20));
}

#[test]
fn an_index_of_a_widened_column_is_built_again_and_that_of_a_dropped_one_is_gone() {
    let mut fixture = Fixture::new();
    let maintenance = Maintenance::default().in_background(false);
    let table = fixture.create(options().maintenance(maintenance));
    let _ = table.append(&rows(0..5000)).unwrap();
    table.flush_to_lake().unwrap();
    table.create_index("n", IndexKind::BTree).unwrap();
    table.create_index("s", IndexKind::BTree).unwrap();
    table.create_index("__offset", IndexKind::BTree).unwrap();
    let indexed = |table: &Table| {
        let status = table.maintain().unwrap();
        let of = status
            .indices
            .into_iter()
            .map(|index| (index.name, index.indexed_rows));
        of.collect::<Vec<_>>()
    };
    let all = ["n_btree", "s_btree", "__offset_btree"];
    assert_eq!(indexed(&table), all.map(|name| (name.to_owned(), 5000)));
    table
        .alter(&[widen("n", DataType::Int64), drop_column("s")])
        .unwrap();
    let left = ["n_btree", "__offset_btree"];
    assert_eq!(indexed(&table), left.map(|name| (name.to_owned(), 5000)));
    let found = fixture
        .store
        .as_ref()
        .unwrap()
        .query("SELECT n FROM t WHERE n = 4321")
        .unwrap();
    assert_eq!(found.map(|b| b.unwrap().num_rows()).sum::<usize>(), 1);
}

#[test]
fn tables_that_share_a_lake_are_altered_one_after_the_other() {
    let mut fixture = Fixture::new();
    let lake = fixture
        .directory
        .path()
        .join("shared.lance")
        .display()
        .to_string();
    let table = fixture.create(options().lake(&lake).bucket(1));
    let store = fixture.store.clone().unwrap();
    let other = store
        .create_table("u", options().lake(&lake).bucket(2))
        .unwrap();
    let alterations = [widen("n", DataType::Int64), add("note", DataType::Utf8)];
    for table in [&table, &other] {
        let _ = table.append(&rows(0..5)).unwrap();
        table.flush_to_lake().unwrap();
        let _ = table.append(&rows(5..10)).unwrap();
    }
    table.alter(&alterations).unwrap();
    table.flush_to_lake().unwrap();
    let told = other.flush_to_lake().unwrap_err().to_string();
    assert!(told.contains("`n`"), "{told}");
    other.alter(&alterations).unwrap();
    other.flush_to_lake().unwrap();
    for bucket in [1, 2] {
        let sql = format!("SELECT n FROM t WHERE __bucket = {bucket} ORDER BY __offset");
        let n = store
            .query(&sql)
            .unwrap()
            .flat_map(|b| numbers_of(b.unwrap().column(0)));
        assert_eq!(n.collect::<Vec<_>>(), some(0..10));
    }
    assert_healthy(&other);
}

#[test]
fn an_alteration_that_the_lake_cannot_take_leaves_all_as_it_was() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    let before = fixture.table_file();
    let data = fixture.path().join("lake/t.lance/data");
    let away = fixture.path().join("away");
    std::fs::rename(&data, &away).unwrap();
    let alterations = [widen("n", DataType::Int64), drop_column("s")];
    let error = table.alter(&alterations).unwrap_err();
    assert!(matches!(error, Error::Lake { .. }), "{error}");
    assert_eq!(fixture.table_file(), before);
    assert_eq!(table.schema(), rows(0..0).schema());
    let _ = std::fs::remove_dir_all(&data);
    std::fs::rename(&away, &data).unwrap();
    let _ = table.append(&rows(20..30)).unwrap();
    table.flush_to_lake().unwrap();
    table.alter(&alterations).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(fixture.lake_numbers("n"), some(0..30));
    assert_healthy(&table);
}

#[test]
fn rows_whose_columns_the_table_does_not_know_are_kept_and_told() {
    let mut fixture = Fixture::new();
    let table = with_rows(&mut fixture);
    let file = fixture.path().join("tables/t/table.json");
    let before = fixture.table_file();
    table.alter(&[add("note", DataType::Utf8)]).unwrap();
    let note: ArrayRef = Arc::new(StringArray::from(vec!["new"]));
    let _ = table.append(&rows_with(20..21, "note", note)).unwrap();
    let after = fixture.table_file();
    // As if an older copy of the file was brought back.
    fixture.store.take().unwrap().close().unwrap();
    std::fs::write(&file, before).unwrap();
    let table = fixture.reopen();
    let told = table.flush_to_lake().unwrap_err().to_string();
    assert!(told.contains("schema 2"), "{told}");
    let told = table.read_log(20).next().unwrap().unwrap_err().to_string();
    assert!(told.contains("schema 2"), "{told}");
    fixture.store.take().unwrap().close().unwrap();
    std::fs::write(&file, after).unwrap();
    let table = fixture.reopen();
    table.flush_to_lake().unwrap();
    assert_eq!(fixture.lake_numbers("n"), some(0..21));
}
