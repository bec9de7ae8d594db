//! What cannot be altered, and what else there is in a lake that is.

use super::*;

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
