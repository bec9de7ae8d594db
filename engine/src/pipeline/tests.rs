//! What a user of transforms relies on: each row is transformed once, whatever happens in between.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use tempfile::TempDir;

use crate::transform::guests::{ERR, guest, on_value, record_guest, spec};
use crate::{Error, OnError, Store, StoreOptions, Table, TableOptions, TransformSpec};

/// Rows with an int32 "x" and a text that no transform reads.
pub(crate) fn rows(range: std::ops::Range<i32>) -> RecordBatch {
    let text = range.clone().map(|x| format!("row {x}"));
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(text));
    let x: ArrayRef = Arc::new(Int32Array::from_iter_values(range));
    RecordBatch::try_from_iter([("x", x), ("text", text)]).unwrap()
}

pub(crate) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(crate) fn table_path(&self) -> PathBuf {
        self.path().join("tables/t")
    }

    pub(crate) fn open(&self) -> (Store, Table) {
        let store = StoreOptions::new()
            .tiering(false)
            .open(self.path())
            .unwrap();
        let table = store.table("t").unwrap();
        (store, table)
    }

    /// A transform that makes the column `output` of "x".
    pub(crate) fn transform(&self, bytes: &[u8], output: &str, on_error: OnError) -> TransformSpec {
        let path = self.directory.path().join(format!("{output}.wasm"));
        fs::write(&path, bytes).unwrap();
        TransformSpec {
            plugin: path.to_string_lossy().into_owned(),
            inputs: BTreeMap::from([("x".to_owned(), "x".to_owned())]),
            outputs: BTreeMap::from([("x".to_owned(), output.to_owned())]),
            ..spec(output, on_error)
        }
    }

    pub(crate) fn create(&self, transforms: Vec<TransformSpec>) -> (Store, Table) {
        let store = StoreOptions::new()
            .tiering(false)
            .open(self.path())
            .unwrap();
        let options = TableOptions::new(rows(0..1).schema()).transforms(transforms);
        let table = store.create_table("t", options).unwrap();
        (store, table)
    }
}

/// Waits until the transforms are done with all that was appended; no round is run.
pub(crate) fn wait_staged(table: &Table) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let status = table.status().unwrap();
        if status.transform_lag_rows == 0 {
            return;
        }
        assert!(Instant::now() < until, "{status:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A column of the lake in the order of the offsets.
pub(crate) fn column(store: &Store, name: &str) -> Vec<Option<i32>> {
    let sql = format!("SELECT {name} FROM t ORDER BY __offset");
    let batches = store.query(&sql).unwrap().map(Result::unwrap);
    let values = batches.flat_map(|batch| {
        let column = batch.column(0).as_primitive::<Int32Type>().clone();
        (0..column.len()).map(move |row| column.is_valid(row).then(|| column.value(row)))
    });
    values.collect()
}

pub(crate) fn some(range: std::ops::Range<i32>) -> Vec<Option<i32>> {
    range.map(Some).collect()
}

pub(crate) fn assert_sound(table: &Table) {
    assert_eq!(table.verify().unwrap().problems, Vec::<String>::new());
}

pub(crate) fn dead_offsets(table: &Table) -> Vec<i64> {
    let letters = table.dead_letters().unwrap();
    let offsets = letters.flat_map(|batch| {
        let batch = batch.unwrap();
        let offsets = batch.column_by_name("__offset").unwrap();
        offsets.as_primitive::<Int64Type>().values().to_vec()
    });
    offsets.collect()
}

#[test]
fn rows_are_transformed_when_they_are_committed_and_tiered_as_they_were_staged() {
    let fixture = Fixture::new();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    for start in (0..5000).step_by(50) {
        let _ = table.append(&rows(start..start + 50)).unwrap();
    }
    let _ = table.append(&rows(5000..9000)).unwrap();
    wait_staged(&table);
    assert_eq!(table.status().unwrap().rows_tiered, 0);
    assert_eq!(table.flush_to_lake().unwrap(), 9000);
    assert_eq!(column(&store, "y"), some(0..9000));
    assert_eq!(column(&store, "x"), some(0..9000));
    assert_sound(&table);
}

#[test]
fn what_is_filtered_or_fails_is_told_apart_and_the_rest_arrives() {
    let fixture = Fixture::new();
    let picky = fixture.transform(&record_guest(), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![picky]);
    let _ = table.append(&rows(0..20)).unwrap();
    let _ = table.append(&rows(7..8)).unwrap();
    let _ = table.append(&rows(13..14)).unwrap();
    table.flush_to_lake().unwrap();
    let kept = (0..20).filter(|x| *x != 7 && *x != 13).map(Some);
    assert_eq!(column(&store, "y"), kept.collect::<Vec<_>>());
    assert_eq!(dead_offsets(&table), [13, 21]);
    assert_eq!(table.status().unwrap().filtered, 2);
    assert_sound(&table);
}

#[test]
fn rows_that_are_staged_are_tiered_after_a_restart_without_the_plugin() {
    let fixture = Fixture::new();
    let picky = fixture.transform(&record_guest(), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![picky]);
    let _ = table.append(&rows(0..100)).unwrap();
    wait_staged(&table);
    drop(table);
    store.close().unwrap();
    for file in fs::read_dir(fixture.path().join("plugins")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let (store, table) = fixture.open();
    assert_eq!(table.flush_to_lake().unwrap(), 100);
    assert_eq!(column(&store, "y").len(), 98);
    assert_eq!(dead_offsets(&table), [13]);
    // What comes now needs it.
    let _ = table.append(&rows(0..1)).unwrap();
    assert!(matches!(table.flush_to_lake(), Err(Error::Tiering { .. })));
    assert!(table.status().unwrap().transform_error.is_some());
}

#[test]
fn staged_rows_that_are_lost_are_made_again() {
    let fixture = Fixture::new();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    let _ = table.append(&rows(0..100)).unwrap();
    table.flush_to_lake().unwrap();
    let _ = table.append(&rows(100..200)).unwrap();
    wait_staged(&table);
    drop(table);
    store.close().unwrap();
    fs::remove_dir_all(fixture.table_path().join("staged")).unwrap();
    let (store, table) = fixture.open();
    assert_eq!(table.flush_to_lake().unwrap(), 200);
    assert_eq!(column(&store, "y"), some(0..200));
    assert_sound(&table);
}

fn only_segment(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory).unwrap().map(|f| f.unwrap().path());
    let mut segments = files.filter(|path| path.extension().is_some_and(|e| e == "seg"));
    segments.next().unwrap()
}

#[test]
fn staged_rows_that_are_damaged_are_made_again() {
    use std::os::unix::fs::FileExt;
    let fixture = Fixture::new();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    let _ = table.append(&rows(0..1000)).unwrap();
    let _ = table.append(&rows(1000..2000)).unwrap();
    wait_staged(&table);
    let segment = only_segment(&fixture.table_path().join("staged"));
    let file = fs::File::options().write(true).open(segment).unwrap();
    file.write_all_at(&[0xff; 64], 4096 + 1024).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 2000);
    assert_eq!(column(&store, "y"), some(0..2000));
    assert_sound(&table);
}

pub(crate) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_directory(&path, &copy),
            false => drop(fs::copy(&path, &copy).unwrap()),
        }
    }
}

#[test]
fn what_power_loss_took_of_the_staged_rows_is_not_made_again_if_the_lake_has_it() {
    let fixture = Fixture::new();
    // So slow that a round is over before rows are transformed.
    let slow = "(local.set $i (i32.const 0))
        (loop $next
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (i32.const 150000000))))";
    let slow = fixture.transform(&guest("", slow), "y", OnError::DeadLetter);
    let options = TableOptions::new(rows(0..1).schema())
        .segment_bytes(64 << 10)
        .transforms(vec![slow]);
    let store = Store::open(fixture.path()).unwrap();
    store.create_table("t", options).unwrap();
    store.close().unwrap();
    let append = |to: i32| {
        let (store, table) = fixture.open();
        let from = table.inner.raw.committed() as i32;
        for start in (from..to).step_by(1000) {
            let _ = table.append(&rows(start..start + 1000)).unwrap();
        }
        wait_staged(&table);
        store.close().unwrap();
    };
    let flush = || {
        let (store, table) = fixture.open();
        let tiered = table.flush_to_lake().unwrap();
        store.close().unwrap();
        tiered
    };
    let kept = fixture.directory.path().join("kept");
    let keep = |name: &str| copy_directory(&fixture.table_path().join(name), &kept.join(name));
    append(1000);
    assert_eq!(flush(), 1000);
    keep("staged");
    append(16_000);
    keep("raw");
    assert_eq!(flush(), 16_000);
    // The lake is durable, the log's segments are not removed for good, and nobody syncs what is staged.
    for name in ["raw", "staged"] {
        fs::remove_dir_all(fixture.table_path().join(name)).unwrap();
        copy_directory(&kept.join(name), &fixture.table_path().join(name));
    }
    fs::remove_file(fixture.table_path().join("tier.json")).unwrap();

    let (store, table) = fixture.open();
    assert_eq!(table.flush_to_lake().unwrap(), 16_000);
    let _ = table.append(&rows(16_000..16_010)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 16_010);
    assert_eq!(column(&store, "y"), some(0..16_010));
    assert_sound(&table);
}

#[test]
fn no_row_goes_untransformed_where_a_staged_log_cannot_be_begun_anew() {
    let fixture = Fixture::new();
    // Rows that go round the transform would be taken for what it made.
    let copy = fixture.transform(&guest("", ""), "x", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    let staged = fixture.table_path().join("staged");
    fs::remove_dir_all(&staged).unwrap();
    fs::write(&staged, "in its way").unwrap();
    table.inner.pipeline.begin_anew(0).unwrap_err();
    let _ = table.append(&rows(0..10)).unwrap();
    table.flush_to_lake().unwrap_err();
    assert_eq!(table.status().unwrap().rows_tiered, 0);
    drop(table);
    let _ = store.close();
    fs::remove_file(&staged).unwrap();
    let (store, table) = fixture.open();
    assert_eq!(table.flush_to_lake().unwrap(), 10);
    assert_eq!(column(&store, "x"), some(0..10));
}

#[test]
fn staged_rows_of_what_the_raw_log_has_lost_do_not_stand_for_the_rows_that_follow() {
    let fixture = Fixture::new();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    let _ = table.append(&rows(0..10)).unwrap();
    wait_staged(&table);
    drop(table);
    store.close().unwrap();
    let (raw, kept) = (
        fixture.table_path().join("raw"),
        fixture.directory.path().join("kept"),
    );
    copy_directory(&raw, &kept);
    let (store, table) = fixture.open();
    let _ = table.append(&rows(10..20)).unwrap();
    wait_staged(&table);
    drop(table);
    store.close().unwrap();
    fs::remove_dir_all(&raw).unwrap();
    copy_directory(&kept, &raw);
    let (store, table) = fixture.open();
    let _ = table.append(&rows(100..110)).unwrap();
    table.flush_to_lake().unwrap();
    let expected: Vec<_> = (0..10).chain(100..110).map(Some).collect();
    assert_eq!(column(&store, "y"), expected);
}

#[test]
fn transforms_that_are_replaced_make_the_rows_from_then_on() {
    let fixture = Fixture::new();
    let first = fixture.transform(&guest("", ""), "first", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![first]);
    let _ = table.append(&rows(0..10)).unwrap();
    wait_staged(&table);
    let second = fixture.transform(&guest("", ""), "second", OnError::DeadLetter);
    table.replace_transforms(&[second]).unwrap();
    let _ = table.append(&rows(10..20)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 20);
    let half = |some_first: bool| -> Vec<_> {
        (0..20)
            .map(|x| ((x < 10) == some_first).then_some(x))
            .collect()
    };
    assert_eq!(column(&store, "first"), half(true));
    assert_eq!(column(&store, "second"), half(false));
    assert_eq!(table.status().unwrap().transforms[0].name, "second");
    assert_sound(&table);
    drop(table);
    store.close().unwrap();
    let (store, table) = fixture.open();
    let _ = table.append(&rows(20..30)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(column(&store, "second")[10..], some(10..30));
}

#[test]
fn a_table_gets_its_first_transforms_and_loses_its_last() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(Vec::new());
    let _ = table.append(&rows(0..5)).unwrap();
    table.flush_to_lake().unwrap();
    // Rows that are not tiered get the new transforms.
    let _ = table.append(&rows(5..10)).unwrap();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    table.replace_transforms(&[copy]).unwrap();
    wait_staged(&table);
    table.replace_transforms(&[]).unwrap();
    let _ = table.append(&rows(10..15)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(column(&store, "x"), some(0..15));
    let expected: Vec<_> = (0..15).map(|x| (5..10).contains(&x).then_some(x)).collect();
    assert_eq!(column(&store, "y"), expected);
    assert_sound(&table);
}

#[test]
fn a_replacement_that_does_not_load_leaves_the_old_transforms_at_work() {
    let fixture = Fixture::new();
    let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
    let (store, table) = fixture.create(vec![copy]);
    let broken = fixture.transform(b"no component", "z", OnError::DeadLetter);
    assert!(matches!(
        table.replace_transforms(&[broken]),
        Err(Error::Plugin { .. })
    ));
    let other_type = TransformSpec {
        outputs: BTreeMap::from([("x".to_owned(), "text".to_owned())]),
        ..fixture.transform(&guest("", ""), "w", OnError::DeadLetter)
    };
    let told = table.replace_transforms(&[other_type]).unwrap_err();
    assert!(
        told.to_string().contains("Utf8") && told.to_string().contains("Int32"),
        "{told}"
    );
    let _ = table.append(&rows(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(column(&store, "y"), some(0..10));
}

#[test]
fn a_record_that_must_not_fail_halts_tiering_until_the_transforms_are_replaced() {
    let fixture = Fixture::new();
    let strict = fixture.transform(&guest("", &on_value(13, ERR)), "y", OnError::Fail);
    let (store, table) = fixture.create(vec![strict.clone()]);
    let _ = table.append(&rows(0..10)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 10);
    let _ = table.append(&rows(10..20)).unwrap();
    let told = table.flush_to_lake().unwrap_err().to_string();
    assert!(
        told.contains("offset 13") && told.contains("bad row"),
        "{told}"
    );
    let lenient = TransformSpec {
        on_error: OnError::Null,
        ..strict
    };
    table.replace_transforms(&[lenient]).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 20);
    let expected: Vec<_> = (0..20).map(|x| (x != 13).then_some(x)).collect();
    assert_eq!(column(&store, "y"), expected);
    assert_sound(&table);
}

#[test]
fn stores_that_share_a_cache_compile_a_plugin_once() {
    let directory = TempDir::new().unwrap();
    let shared = directory.path().join("shared");
    let compiled = || {
        let entries = fs::read_dir(&shared).unwrap().map(Result::unwrap);
        let files = entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().ino()));
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    };
    let open = |fixture: &Fixture| {
        let options = StoreOptions::new().tiering(false).plugin_cache(&shared);
        let store = options.open(fixture.path()).unwrap();
        let copy = fixture.transform(&guest("", ""), "y", OnError::DeadLetter);
        let options = TableOptions::new(rows(0..1).schema()).transforms(vec![copy]);
        let table = store.create_table("t", options).unwrap();
        let _ = table.append(&rows(0..9)).unwrap();
        wait_staged(&table);
        assert!(!fixture.path().join("cache").exists());
    };
    open(&Fixture::new());
    let first = compiled();
    assert_eq!(first.len(), 2, "a key and a plugin: {first:?}");
    open(&Fixture::new());
    assert_eq!(compiled(), first);
}
