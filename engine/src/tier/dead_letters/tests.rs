//! What a user of dead letters relies on: each is in one place, once, whatever happens in between.

use std::fs;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use parking_lot::Mutex;
use uuid::Uuid;

use super::*;
use crate::pipeline::tests::{Fixture, assert_sound, column, dead_offsets, rows};
use crate::transform::guests::{ERR, guest, on_value, origin, record_guest};
use crate::{DeadLetterFilter, OnError, Store, StoreOptions, Table, TransformSpec};

/// The tables that are to end at a moment.
static ENDS: Mutex<Vec<(Uuid, Moment)>> = Mutex::new(Vec::new());

pub(super) fn reached(context: &TierContext, moment: Moment) -> Result<()> {
    let ends = ENDS.lock();
    match ends.contains(&(context.table_id, moment)) {
        true => Err(Error::Tiering {
            reason: format!("the test ends at {moment:?}"),
        }),
        false => Ok(()),
    }
}

fn end_at(table: &Table, moment: Option<Moment>) {
    let id = table.inner.tierer.context.table_id;
    let mut ends = ENDS.lock();
    ends.retain(|(table, _)| *table != id);
    ends.extend(moment.map(|moment| (id, moment)));
}

/// Fails on 5, 7 and 13.
fn picky(fixture: &Fixture) -> TransformSpec {
    let fails = [5, 7, 13].map(|value| on_value(value, ERR)).concat();
    fixture.transform(&guest("", &fails), "y", OnError::DeadLetter)
}

/// Filters 7, fails on 13.
fn mended(fixture: &Fixture) -> TransformSpec {
    fixture.transform(&record_guest(), "y", OnError::DeadLetter)
}

fn harmless(fixture: &Fixture) -> TransformSpec {
    fixture.transform(&guest("", ""), "y", OnError::DeadLetter)
}

/// A table whose rows 5, 7 and 13 of 20 are dead letters in the dataset.
fn with_letters(fixture: &Fixture) -> (Store, Table) {
    let (store, table) = fixture.create(vec![picky(fixture)]);
    let _ = table.append(&rows(0..20)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [5, 7, 13]);
    (store, table)
}

fn dataset(fixture: &Fixture) -> std::path::PathBuf {
    fixture.path().join("lake/t.dead_letters.lance")
}

fn retry(table: &Table) -> Result<[u64; 4]> {
    let report = table.retry_dead_letters(&DeadLetterFilter::all())?;
    Ok([
        report.retried,
        report.recovered,
        report.filtered,
        report.failed,
    ])
}

fn reopened(fixture: &Fixture, open: (Store, Table)) -> (Store, Table) {
    drop(open);
    fixture.open()
}

fn counts(table: &Table) -> [u64; 3] {
    let status = table.status().unwrap();
    [status.dead_letters, status.filtered, status.dropped]
}

/// As another process sees it.
fn assert_sound_from_outside(fixture: &Fixture) {
    let store = StoreOptions::new()
        .read_only(true)
        .open(fixture.path())
        .unwrap();
    assert_sound(&store.table("t").unwrap());
}

fn all_but(end: i32, without: &[i32]) -> Vec<Option<i32>> {
    (0..end)
        .filter(|x| !without.contains(x))
        .map(Some)
        .collect()
}

#[test]
fn dead_letters_are_rows_of_a_dataset_beside_the_lake() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    assert!(dataset(&fixture).is_dir());
    let sql = r#"SELECT x, text, "__error", "__plugin", "__version" FROM "t.dead_letters" WHERE "__offset" = 13 AND "__bucket" = 0"#;
    let letter = store.query(sql).unwrap().next().unwrap().unwrap();
    assert_eq!(letter["text"].as_string::<i32>().value(0), "row 13");
    assert!(
        letter["__error"]
            .as_string::<i32>()
            .value(0)
            .contains("bad row")
    );
    assert_eq!(letter["__plugin"].as_string::<i32>().value(0).len(), 64);
    assert_eq!(letter["__version"].null_count(), 1);
    let status = table.status().unwrap();
    assert_eq!(status.dead_letters_uri, dataset(&fixture).to_str().unwrap());
    assert_eq!(status.dead_letters_error, None);
    assert_sound(&table);
}

#[test]
fn a_table_without_dead_letters_has_no_dataset_of_them() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(vec![harmless(&fixture)]);
    let _ = table.append(&rows(0..20)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(retry(&table).unwrap(), [0, 0, 0, 0]);
    assert_eq!(
        table.drop_dead_letters(&DeadLetterFilter::all()).unwrap(),
        0
    );
    assert!(dead_offsets(&table).is_empty());
    let mut none = store.query(r#"SELECT * FROM "t.dead_letters""#).unwrap();
    assert!(none.all(|batch| batch.unwrap().num_rows() == 0));
    assert!(!dataset(&fixture).exists());
}

#[test]
fn what_is_settled_twice_over_a_crash_is_there_once() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(vec![picky(&fixture)]);
    end_at(&table, Some(Moment::Settled));
    let _ = table.append(&rows(0..20)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 20, "the lake does not wait");
    let told = table.status().unwrap().dead_letters_error.unwrap();
    assert!(told.contains("the test ends"), "{told}");
    assert_sound(&table);
    end_at(&table, None);
    let (_store, table) = reopened(&fixture, (store, table));
    let _ = table.append(&rows(0..20)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [5, 7, 13, 25, 27, 33]);
    assert_eq!(table.status().unwrap().dead_letters_error, None);
    assert_sound(&table);
}

#[test]
fn a_retry_puts_what_succeeds_into_the_lake_and_keeps_the_rest_with_its_new_error() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    assert_eq!(retry(&table).unwrap(), [3, 0, 0, 3], "nothing was mended");
    assert_sound(&table);
    table.replace_transforms(&[mended(&fixture)]).unwrap();
    let plugin = table.status().unwrap().transforms[0].sha256.clone();
    assert_eq!(retry(&table).unwrap(), [3, 1, 1, 1]);
    assert_eq!(column(&store, "y"), all_but(20, &[7, 13]));
    let letters: Vec<_> = table.dead_letters().unwrap().collect();
    let letter = letters[0].as_ref().unwrap();
    assert_eq!((letters.len(), letter.num_rows()), (1, 1));
    assert_eq!(letter["__plugin"].as_string::<i32>().value(0), plugin);
    assert_eq!(counts(&table), [1, 1, 0]);
    assert_sound(&table);

    // What failed again is retried once more, and a second time there is nothing to do.
    table.replace_transforms(&[harmless(&fixture)]).unwrap();
    assert_eq!(retry(&table).unwrap(), [1, 1, 0, 0]);
    assert_eq!(retry(&table).unwrap(), [0, 0, 0, 0]);
    assert_eq!(column(&store, "y"), all_but(20, &[7]));
    let sql = "SELECT count(distinct __timestamp) AS n FROM t";
    let times = store.query(sql).unwrap().next().unwrap().unwrap();
    let times = times["n"].as_primitive::<arrow_array::types::Int64Type>();
    assert_eq!(times.value(0), 1, "a row keeps the time of its append");
    let _ = table.append(&rows(20..30)).unwrap();
    table.flush_to_lake().unwrap();
    assert_sound(&table);
    let (store, table) = reopened(&fixture, (store, table));
    assert_eq!(column(&store, "y"), all_but(30, &[7]));
    assert_eq!(counts(&table), [0, 1, 0]);
    assert_sound(&table);
}

#[test]
fn a_retry_that_crashes_anywhere_neither_doubles_nor_loses_a_row() {
    for moment in [Moment::Begun, Moment::Committed, Moment::Gone] {
        let fixture = Fixture::new();
        let (store, table) = with_letters(&fixture);
        table.replace_transforms(&[mended(&fixture)]).unwrap();
        end_at(&table, Some(moment));
        retry(&table).unwrap_err();
        assert_sound_from_outside(&fixture);
        end_at(&table, None);
        let (store, table) = reopened(&fixture, (store, table));
        assert_sound(&table);
        // Rounds go on, and then it is retried again.
        let _ = table.append(&rows(20..30)).unwrap();
        table.flush_to_lake().unwrap();
        assert_sound(&table);
        retry(&table).unwrap();
        assert_eq!(column(&store, "y").len(), 28, "{moment:?}");
        assert_eq!(dead_offsets(&table), [13], "{moment:?}");
        assert_eq!(counts(&table), [1, 1, 0], "{moment:?}");
        assert_sound(&table);
        assert!(!Resolution::is_there(&fixture.table_path()));
    }
}

#[test]
fn without_a_restart_a_failed_retry_is_brought_to_its_end_too() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    table.replace_transforms(&[mended(&fixture)]).unwrap();
    end_at(&table, Some(Moment::Committed));
    retry(&table).unwrap_err();
    assert_eq!(dead_offsets(&table), [13], "5 and 7 are none any more");
    end_at(&table, None);
    assert_eq!(retry(&table).unwrap(), [1, 0, 0, 1]);
    assert_eq!(column(&store, "y"), all_but(20, &[7, 13]));
    assert_sound(&table);
}

#[test]
fn dropped_letters_are_gone_and_counted_also_over_a_crash() {
    for moment in [
        None,
        Some(Moment::Begun),
        Some(Moment::Committed),
        Some(Moment::Gone),
    ] {
        let fixture = Fixture::new();
        let (store, table) = with_letters(&fixture);
        end_at(&table, moment);
        let some = DeadLetterFilter::all().offsets(6..100);
        let dropped = table.drop_dead_letters(&some);
        assert_eq!(dropped.is_err(), moment.is_some());
        assert_sound_from_outside(&fixture);
        end_at(&table, None);
        let (store, table) = reopened(&fixture, (store, table));
        table.drop_dead_letters(&some).unwrap();
        assert_eq!(dead_offsets(&table), [5]);
        assert_eq!(counts(&table), [1, 0, 2], "{moment:?}");
        assert_eq!(column(&store, "y"), all_but(20, &[5, 7, 13]));
        assert_sound(&table);
    }
}

#[test]
fn a_filter_takes_letters_by_transform_and_number() {
    let fixture = Fixture::new();
    let (_store, table) = with_letters(&fixture);
    let drop = |filter: &DeadLetterFilter| table.drop_dead_letters(filter).unwrap();
    assert_eq!(drop(&DeadLetterFilter::all().transform("it's another")), 0);
    assert_eq!(drop(&DeadLetterFilter::all().transform("y").limit(2)), 2);
    assert_eq!(dead_offsets(&table), [13]);
    assert_sound(&table);
}

#[test]
fn a_letter_that_becomes_many_rows_is_retried_once() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    let twice = fixture.transform(&guest("", &origin(&[0, 0])), "y", OnError::DeadLetter);
    table.replace_transforms(&[twice]).unwrap();
    let report = table
        .retry_dead_letters(&DeadLetterFilter::all().offsets(13..14))
        .unwrap();
    assert_eq!((report.retried, report.recovered), (1, 1));
    let sql = "SELECT x FROM t WHERE __offset = 13";
    let found: usize = store
        .query(sql)
        .unwrap()
        .map(|b| b.unwrap().num_rows())
        .sum();
    assert_eq!(found, 2);
    assert_eq!(dead_offsets(&table), [5, 7]);
    assert_sound(&table);
}

#[test]
fn letters_that_must_not_fail_stay_as_they_are() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    let strict = TransformSpec {
        on_error: OnError::Fail,
        ..mended(&fixture)
    };
    table.replace_transforms(&[strict]).unwrap();
    let told = retry(&table).unwrap_err().to_string();
    assert!(told.contains("offset 13"), "{told}");
    assert_eq!(dead_offsets(&table), [5, 7, 13]);
    assert_eq!(column(&store, "y"), all_but(20, &[5, 7, 13]));
    assert_sound(&table);
}

#[test]
fn letters_that_came_back_from_an_old_version_are_not_put_into_the_lake_again() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    let kept = fixture.path().join("kept");
    copy(&dataset(&fixture), &kept);
    table.replace_transforms(&[harmless(&fixture)]).unwrap();
    assert_eq!(retry(&table).unwrap(), [3, 3, 0, 0]);
    drop((store, table));
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    fs::rename(&kept, dataset(&fixture)).unwrap();
    let (store, table) = fixture.open();
    assert_eq!(retry(&table).unwrap(), [0, 0, 0, 0]);
    assert_eq!(column(&store, "y"), all_but(20, &[]));
    assert_sound(&table);
}

#[test]
fn a_dataset_that_was_deleted_is_told_and_keeps_no_round() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    table
        .drop_dead_letters(&DeadLetterFilter::all().limit(1))
        .unwrap();
    drop((store, table));
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    let (store, table) = fixture.open();
    let _ = table.append(&rows(0..20)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 40);
    let told = table.status().unwrap().dead_letters_error.unwrap();
    assert!(told.contains("bring it back"), "{told}");
    assert!(table.dead_letters().is_err() && retry(&table).is_err());
    assert!(!dataset(&fixture).exists(), "an empty one would hide it");

    let lost = table.drop_dead_letters(&DeadLetterFilter::all()).unwrap();
    assert_eq!(lost, 5);
    assert_eq!(counts(&table), [0, 0, 6]);
    let _ = table.append(&rows(0..20)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [45, 47, 53]);
    assert_sound(&table);
    drop(store);
}

#[test]
fn a_dataset_of_other_columns_is_told_and_nothing_is_lost() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(vec![picky(&fixture)]);
    let other = Arc::new(arrow_schema::Schema::new(vec![arrow_schema::Field::new(
        "x",
        arrow_schema::DataType::Utf8,
        true,
    )]));
    let context = &table.inner.tierer.context;
    let options = dataset::options_of(&context.lake);
    context
        .executor
        .run(async move { Lake::create(&options, &other).await })
        .unwrap()
        .unwrap();
    let _ = table.append(&rows(0..20)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 20);
    let told = table.status().unwrap().dead_letters_error.unwrap();
    assert!(
        told.contains("column \"x\" is Int32 in the table and Utf8"),
        "{told}"
    );
    drop((store, table));
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    let (_store, table) = fixture.open();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [5, 7, 13]);
    assert_sound(&table);
}

#[test]
fn dead_letters_of_a_store_that_had_no_dataset_yet_are_settled() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    drop((store, table));
    // As a store was before there were datasets of dead letters.
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    let report = fixture.table_path().join("tier.json");
    fs::write(&report, r#"{"tiered":20,"filtered":0,"dead":3,"lake_version":2,"last_error":null,"last_error_us":null}"#).unwrap();
    let store = Store::open(fixture.path()).unwrap();
    let table = store.table("t").unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !dataset(&fixture).is_dir() || table.status().unwrap().dead_letters != 3 {
        assert!(std::time::Instant::now() < until, "nobody asked for it");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(dead_offsets(&table), [5, 7, 13]);
    assert_sound(&table);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}
