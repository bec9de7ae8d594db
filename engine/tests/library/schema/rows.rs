//! Rows of before and of after: in the log, in the lake, on their way.

use super::*;

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
