//! Full disks, with the real kernel: each test runs a part of itself in a process that has small file systems of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use tempfile::TempDir;

use crate::{Error, ErrorKind, Maintenance, Store, StoreOptions, Table, TableOptions, WhenFull};

/// Where the part of a test that runs in a process of its own finds its directory.
const CHILD: &str = "ALLUVIUM_TEST_CHILD";
/// A file that the other process leaves.
const RAN: &str = "ran";
/// What the script exits with when the system doesn't allow to mount.
const NOT_ALLOWED: i32 = 77;
/// Two small file systems that nobody else sees.
const MOUNT: &str = "mkdir \"$1/log\" \"$1/lake\"; mount -t tmpfs -o size=24m tmpfs \"$1/log\" || exit 77; \
    mount -t tmpfs -o size=128m tmpfs \"$1/lake\" || exit 77; shift; exec \"$@\"";
const SEGMENT_BYTES: u64 = 1 << 20;

/// The directory with both file systems, in the process that has them; in the other one the test is run there.
fn with_small_disks(test: &str) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os(CHILD) {
        let directory = PathBuf::from(directory);
        fs::write(directory.join(RAN), "").unwrap();
        return Some(directory);
    }
    let can_unshare = Command::new("unshare").args(["-rm", "true"]).status();
    if !can_unshare.is_ok_and(|status| status.success()) {
        println!("skipped {test}: neither root nor a user namespace");
        return None;
    }
    let directory = TempDir::new().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", MOUNT, "sh"]);
    command.arg(directory.path());
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("tier::tests_disk::{test}")]);
    let status = command.env(CHILD, directory.path()).status().unwrap();
    match status.code() {
        Some(NOT_ALLOWED) => println!("skipped {test}: mounting is not permitted"),
        _ => assert!(status.success(), "{test}: {status}"),
    }
    // A name that is no test's would pass too.
    assert!(status.code() == Some(NOT_ALLOWED) || directory.path().join(RAN).exists());
    None
}

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let column = Int64Array::from_iter_values(range);
    RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap()
}

/// A table whose log and lake are on the two file systems.
fn create(directory: &Path) -> (Store, Table) {
    let store = StoreOptions::new()
        .tiering(false)
        .open(directory.join("log/store"))
        .unwrap();
    let policy = Maintenance::default()
        .keep_versions(1)
        .keep_versions_for(Duration::ZERO)
        .orphans_after(Duration::ZERO);
    let options = TableOptions::new(numbers(0..0).schema())
        .lake(directory.join("lake/t.lance").display().to_string())
        .segment_bytes(SEGMENT_BYTES)
        .when_full(WhenFull::Fail)
        .maintenance(policy);
    let table = store.create_table("t", options).unwrap();
    (store, table)
}

/// Appends rows with the next numbers.
fn append(table: &Table, rows: i64) -> Result<(), Error> {
    let start = table.status().unwrap().rows_committed as i64;
    table.append(&numbers(start..start + rows)).map(drop)
}

fn lake(store: &Store) -> Vec<i64> {
    let batches = store.query("SELECT n FROM t ORDER BY __offset").unwrap();
    let values = batches.flat_map(|b| {
        b.unwrap()
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    });
    values.collect()
}

/// Takes all the room that a file system has.
fn fill(path: &Path) {
    let mut bytes = 64 << 10;
    let mut file = fs::File::create(path).unwrap();
    while bytes > 0 {
        if std::io::Write::write_all(&mut file, &vec![1u8; bytes]).is_err() {
            bytes /= 2;
        }
    }
}

fn assert_whole(store: &Store, table: &Table) {
    let rows = table.status().unwrap().rows_committed as i64;
    assert_eq!(lake(store), (0..rows).collect::<Vec<_>>());
    table.maintain().unwrap();
    let status = table.maintain().unwrap();
    assert_eq!(status.orphan_bytes, 0);
    assert_eq!(table.verify().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_lake_whose_disk_is_full_gets_its_rows_once_there_is_room() {
    let Some(directory) =
        with_small_disks("a_lake_whose_disk_is_full_gets_its_rows_once_there_is_room")
    else {
        return;
    };
    let (store, table) = create(&directory);
    append(&table, 1000).unwrap();
    table.flush_to_lake().unwrap();
    let ballast = directory.join("lake/ballast");
    fill(&ballast);
    for _ in 0..3 {
        append(&table, 20_000).unwrap();
        let error = table.flush_to_lake().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    }
    let status = table.status().unwrap();
    assert_eq!((status.rows_committed, status.rows_tiered), (61_000, 1000));
    assert!(status.last_error.is_some());
    fs::remove_file(&ballast).unwrap();
    append(&table, 1000).unwrap();
    table.flush_to_lake().unwrap();
    assert_whole(&store, &table);
    assert!(table.status().unwrap().last_error.is_none());
}

#[test]
fn a_log_whose_disk_is_full_while_the_lake_is_down_keeps_what_it_acknowledged() {
    let Some(directory) = with_small_disks(
        "a_log_whose_disk_is_full_while_the_lake_is_down_keeps_what_it_acknowledged",
    ) else {
        return;
    };
    let (store, table) = create(&directory);
    append(&table, 1000).unwrap();
    table.flush_to_lake().unwrap();
    let (there, away) = (directory.join("lake/t.lance"), directory.join("lake/away"));
    fs::rename(&there, &away).unwrap();
    fs::write(&there, "in its place").unwrap();
    let full = (0..1000).find_map(|_| append(&table, 20_000).err());
    let full = full.expect("the disk was never full");
    assert!(matches!(full, Error::Io { .. }), "{full}");
    assert!(table.flush_to_lake().is_err());
    let acknowledged = table.status().unwrap().rows_committed;
    assert!(acknowledged > 100_000, "{acknowledged}");
    fs::remove_file(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    table.flush_to_lake().unwrap();
    append(&table, 20_000).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(
        table.status().unwrap().rows_committed,
        acknowledged + 20_000
    );
    assert_whole(&store, &table);
}
