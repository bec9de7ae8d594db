//! Lakes that stay healthy without anyone looking.

use std::time::{Duration, Instant};

use alluvium::{IndexKind, Maintenance, Store, StoreOptions, Table, TableOptions};
use tempfile::TempDir;

use crate::common::{assert_healthy, manual, numbers};

fn options(policy: Maintenance) -> TableOptions {
    let options = TableOptions::new(numbers(0..0).schema());
    options
        .freshness(Duration::from_secs(3600))
        .maintenance(policy)
}

/// A store in which nothing happens by itself.
fn append_rounds(table: &Table, rounds: std::ops::Range<i64>) {
    for round in rounds {
        let _ = table.append(&numbers(round..round + 1)).unwrap();
        table.flush_to_lake().unwrap();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "not yet {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn small_fragments_are_merged_without_being_asked() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path().join("s")).unwrap();
    let policy = Maintenance::default().every(Duration::from_millis(50));
    let table = store.create_table("t", options(policy)).unwrap();
    append_rounds(&table, 0..30);
    until("merged", || {
        table.status().unwrap().maintenance.fragments_merged >= 8
    });
    assert_healthy(&table);
    store.close().unwrap();
}

#[test]
fn a_crowd_of_small_fragments_is_merged_before_its_time() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path().join("s")).unwrap();
    let policy = Maintenance::default().every(Duration::from_secs(3600));
    let table = store.create_table("t", options(policy)).unwrap();
    append_rounds(&table, 0..400);
    until("merged", || {
        table.status().unwrap().maintenance.fragments_merged >= 200
    });
    assert_healthy(&table);
    store.close().unwrap();
}

#[test]
fn what_maintain_did_is_in_the_status_also_of_a_reader_and_the_table_goes_on() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let policy = Maintenance::default()
        .keep_versions(1)
        .keep_versions_for(Duration::ZERO);
    let table = store.create_table("t", options(policy)).unwrap();
    append_rounds(&table, 0..10);
    let status = table.maintain().unwrap();
    assert_eq!((status.fragments_merged, status.fragments), (10, 1));
    assert_eq!(status.lake_rows, 10);
    assert!(status.versions_removed >= 10, "{status:?}");
    let reader = StoreOptions::new().read_only(true).open(&path).unwrap();
    let seen = reader.table("t").unwrap().status().unwrap();
    assert_eq!(seen.maintenance, status);
    assert_eq!(seen.rows_tiered, 10);
    append_rounds(&table, 10..12);
    assert_healthy(&table);
}

#[test]
fn a_store_that_was_cleaned_goes_on_where_it_was_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let policy = Maintenance::default()
        .keep_versions(1)
        .keep_versions_for(Duration::ZERO);
    let store = manual(&path);
    let table = store.create_table("t", options(policy)).unwrap();
    append_rounds(&table, 0..9);
    table.maintain().unwrap();
    drop(table);
    store.close().unwrap();
    let store = manual(&path);
    let table = store.table("t").unwrap();
    append_rounds(&table, 9..12);
    assert_eq!(table.status().unwrap().rows_tiered, 12);
    assert_healthy(&table);
}

#[test]
fn an_index_that_is_wanted_is_built_by_a_later_process_and_can_be_dropped() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let store = manual(&path);
    let table = store
        .create_table("t", options(Maintenance::default()))
        .unwrap();
    table.create_index("n", IndexKind::Auto).unwrap();
    table.create_index("n", IndexKind::Auto).unwrap();
    let _ = table.append(&numbers(0..5000)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(table.status().unwrap().indices[0].segments, 0);
    drop(table);
    store.close().unwrap();

    let store = manual(&path);
    let table = store.table("t").unwrap();
    table.maintain().unwrap();
    let indices = table.status().unwrap().indices;
    assert_eq!((indices.len(), indices[0].indexed_rows), (1, 5000));
    let told = table.drop_index("m_auto").unwrap_err().to_string();
    assert!(told.contains("n_auto"), "{told}");
    table.drop_index("n_auto").unwrap();
    assert!(table.status().unwrap().indices.is_empty());
    table.maintain().unwrap();
    assert_healthy(&table);
}

#[test]
fn an_index_that_cannot_be_is_refused_with_the_reason() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    let table = store
        .create_table("t", options(Maintenance::default()))
        .unwrap();
    let told = |column: &str, kind| table.create_index(column, kind).unwrap_err().to_string();
    assert!(told("m", IndexKind::Auto).contains("not in the table's lake"));
    assert!(told("n", IndexKind::IvfPq).contains("Int64"));
    assert!(told("n", IndexKind::FullText).contains("full_text"));
}

#[test]
fn a_policy_that_cannot_be_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = manual(&dir.path().join("s"));
    for policy in [
        Maintenance::default().merge_at(1),
        Maintenance::default().keep_versions(0),
        Maintenance::default().fragment_bytes(1),
        Maintenance::default().fragment_rows(0),
    ] {
        assert!(store.create_table("t", options(policy)).is_err());
    }
}
