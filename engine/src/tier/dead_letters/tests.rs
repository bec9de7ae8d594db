//! What a user of dead letters relies on: each is in one place, once, whatever happens in between.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use parking_lot::Mutex;
use uuid::Uuid;

use super::*;
use crate::pipeline::tests::{Fixture, assert_sound, column, dead_offsets, rows};
use crate::transform::guests::{ERR, guest, on_value, origin, record_guest};
use crate::{DeadLetterFilter, OnError, Store, StoreOptions, Table, TransformSpec};

mod crashed;
mod maintained;
mod meddled;

/// The tables that are to end at a moment.
static ENDS: Mutex<Vec<(Uuid, Moment)>> = Mutex::new(Vec::new());

pub(super) fn reached(context: &TierContext, moment: Moment) -> Result<()> {
    let ends = ENDS.lock();
    match ends.contains(&(context.table_id, moment)) {
        true => Err(Error::Internal {
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
fn the_log_gives_its_segments_back_once_its_letters_are_in_the_dataset() {
    let fixture = Fixture::new();
    let (_store, table) = fixture.create(vec![picky(&fixture)]);
    let text = "x".repeat(1 << 20);
    let wide = |x: i32| {
        let text: ArrayRef = Arc::new(StringArray::from_iter_values([&text]));
        RecordBatch::try_new(
            rows(0..1).schema(),
            vec![Arc::new(Int32Array::from(vec![x])), text],
        )
    };
    for _ in 0..20 {
        let _ = table.append(&wide(13).unwrap()).unwrap();
    }
    table.flush_to_lake().unwrap();
    let segments = || {
        let files = fs::read_dir(fixture.table_path().join("dead")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".seg")).count()
    };
    let until = Instant::now() + Duration::from_secs(60);
    while segments() > 1 {
        assert!(Instant::now() < until, "{} segments are left", segments());
        // Segments are sealed in the background.
        let _ = table.append(&rows(0..1)).unwrap();
        table.flush_to_lake().unwrap();
    }
    assert_eq!(dead_offsets(&table), (0..20).collect::<Vec<_>>());
    assert_sound(&table);
}

#[tokio::test]
async fn a_host_that_is_asynchronous_retries_while_rows_are_tiered() {
    let fixture = Fixture::new();
    drop(with_letters(&fixture));
    let store = Store::open(fixture.path()).unwrap();
    let table = store.table("t").unwrap();
    table.replace_transforms(&[mended(&fixture)]).unwrap();
    let rounds = std::thread::spawn({
        let table = table.clone();
        move || {
            for _ in 0..10 {
                let _ = table.append(&rows(13..14)).unwrap();
                table.flush_to_lake().unwrap();
            }
        }
    });
    for _ in 0..5 {
        retry(&table).unwrap();
    }
    rounds.join().unwrap();
    table.replace_transforms(&[harmless(&fixture)]).unwrap();
    retry(&table).unwrap();
    assert_eq!(column(&store, "y").len(), 29);
    assert_eq!(counts(&table), [0, 1, 0]);
    assert_sound(&table);
}
