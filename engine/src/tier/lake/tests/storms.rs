//! Rounds and maintenance on an object store that refuses, loses replies, cuts uploads and is late, at random, and on local
//! files, of which some operations fail, done or not.
//!
//! `ALLUVIUM_SOAK=1` runs thousands of rounds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use alluvium_tests::{BUCKET, S3Server};

use super::faulty::Faults;
use crate::pipeline::tests::{assert_sound, rows};
use crate::transform::guests::{record_guest, spec};
use crate::{
    Error, IndexKind, Maintenance, OnError, Store, StoreOptions, Table, TableOptions,
    TransformSpec, WhenFull,
};

const ROWS_A_ROUND: i32 = 5;
/// How many parts a storm has, with a restart of the store between them.
const PARTS: usize = 4;
/// Operations of a thousand that fail: a commit takes some twenty.
const RATE: u64 = 25;
/// All of them.
const ALWAYS: u64 = 1000;

/// Longer than a commit may take on a busy machine, also one that the client gave up on.
const ORPHANS_AFTER: Duration = Duration::from_secs(10);

struct Storm {
    directory: tempfile::TempDir,
    /// Where the lake is, if it is of local files.
    files: Option<PathBuf>,
    store: Store,
    table: Table,
    faults: std::sync::Arc<Faults>,
    appended: i32,
    failed: u64,
}

fn open(directory: &tempfile::TempDir) -> Store {
    let options = StoreOptions::new().tiering(false);
    options.open(directory.path().join("store")).unwrap()
}

impl Storm {
    /// A table whose lake is below an address, with nothing that is kept for long.
    fn new(address: &str, seed: u64, options: TableOptions) -> Self {
        Self::within(tempfile::tempdir().unwrap(), address, seed, options)
    }

    fn within(
        directory: tempfile::TempDir,
        address: &str,
        seed: u64,
        options: TableOptions,
    ) -> Self {
        let faults = Faults::of(address, seed);
        let policy = Maintenance::default()
            .merge_at(4)
            .keep_versions(2)
            .keep_versions_for(Duration::ZERO)
            .orphans_after(ORPHANS_AFTER)
            .unindexed_rows(20);
        let options = options
            .lake(format!("{address}t.lance"))
            .maintenance(policy);
        let store = open(&directory);
        let table = store.create_table("t", options).unwrap();
        table.create_index("x", IndexKind::BTree).unwrap();
        Self {
            directory,
            files: None,
            store,
            table,
            faults,
            appended: 0,
            failed: 0,
        }
    }

    /// The same with a lake of its own in memory.
    fn in_memory(name: &str, seed: u64, options: TableOptions) -> Self {
        let address = format!("shared-memory://{name}-{seed}/");
        Self::new(&address, seed, options)
    }

    /// The same with a lake of local files. With every second seed Lance goes through the object store for all that it does
    /// to them; with the others it writes and reads them as it does for users, and what fails is the rest.
    fn of_files(seed: u64, options: TableOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = directory.path().join("lake");
        let address = format!("{}/", lake.display());
        let storm = Self::within(directory, &address, seed, options);
        if seed % 2 == 1 {
            storm.faults.take_files();
        }
        Self {
            files: Some(lake),
            ..storm
        }
    }

    fn round(&mut self) {
        let end = self.appended + ROWS_A_ROUND;
        let _ = self.table.append(&rows(self.appended..end)).unwrap();
        self.appended = end;
        self.failed += u64::from(self.table.flush_to_lake().is_err());
    }

    /// Lets so many rounds go through the storm, with maintenance beside them and a restart now and then, and one more
    /// afterwards.
    fn pass(mut self, rounds: usize) -> Self {
        self.faults.rate(RATE);
        for part in 0..PARTS {
            if part > 0 {
                self = self.reopened();
            }
            let is_over = AtomicBool::new(false);
            let table = self.table.clone();
            std::thread::scope(|scope| {
                let maintenance = scope.spawn(|| maintain_until(&table, &is_over));
                (0..rounds / PARTS).for_each(|_| self.round());
                is_over.store(true, Ordering::Relaxed);
                self.failed += maintenance.join().unwrap();
            });
        }
        self.calm();
        self
    }

    fn reopened(self) -> Self {
        self.store.close().unwrap();
        let store = open(&self.directory);
        let table = store.table("t").unwrap();
        Self {
            store,
            table,
            ..self
        }
    }

    /// Ends the storm, and lets what it left be settled and cleaned up.
    fn calm(&self) {
        self.faults.rate(0);
        self.table.flush_to_lake().unwrap();
        self.table.maintain().unwrap();
        match &self.files {
            Some(lake) => age(lake),
            None => std::thread::sleep(ORPHANS_AFTER),
        }
        self.table.maintain().unwrap();
        if let Some(lake) = &self.files {
            assert_eq!(hidden(lake), Vec::<PathBuf>::new());
        }
    }

    /// The values of "x" in the lake in their order.
    fn lake(&self, condition: &str) -> Vec<i32> {
        use arrow_array::cast::AsArray;
        use arrow_array::types::Int32Type;
        let sql = format!("SELECT x FROM t WHERE {condition} ORDER BY __offset");
        let batches = self.store.query(&sql).unwrap().map(Result::unwrap);
        let values =
            batches.flat_map(|b| b.column(0).as_primitive::<Int32Type>().values().to_vec());
        values.collect()
    }

    fn assert_rows(&self, seed: u64) {
        let all: Vec<i32> = (0..self.appended).collect();
        assert_eq!(self.lake("true"), all, "seed {seed}");
        let some = self.lake("x >= 100 AND x < 103");
        assert_eq!(some, [100, 101, 102], "seed {seed}");
        self.assert_healthy();
    }

    fn assert_healthy(&self) {
        assert_sound(&self.table);
        let status = self.table.status().unwrap();
        assert_eq!(status.maintenance.orphan_bytes, 0, "{status:?}");
        assert!(status.last_error.is_none(), "{status:?}");
        assert!(self.failed > 0, "nothing failed");
        assert!(self.faults.injected.load(Ordering::Relaxed) > self.failed);
    }
}

/// Lets all files below a directory be old enough to be called garbage.
fn age(directory: &Path) {
    let then = SystemTime::now() - ORPHANS_AFTER;
    for path in below(directory) {
        let file = fs::File::open(path).unwrap();
        file.set_modified(then).unwrap();
    }
}

/// Files that are being written, or were: Lance does not look for most of them.
fn hidden(directory: &Path) -> Vec<PathBuf> {
    let mut paths = below(directory);
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with('.') || name.contains('#')
    });
    paths
}

/// All files below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.flat_map(|path| match path.is_dir() {
        true => below(&path),
        false => vec![path],
    });
    files.collect()
}

/// Maintains a table again and again; how often that failed.
fn maintain_until(table: &Table, is_over: &AtomicBool) -> u64 {
    let mut failed = 0;
    while !is_over.load(Ordering::Relaxed) {
        failed += u64::from(table.maintain().is_err());
    }
    failed
}

fn plain() -> TableOptions {
    TableOptions::new(rows(0..1).schema())
}

/// A table with a transform that filters 7 and fails on 13.
fn picky(directory: &Path) -> TableOptions {
    let path = directory.join("picky.wasm");
    fs::write(&path, record_guest()).unwrap();
    let wired = |to: &str| BTreeMap::from([("x".to_owned(), to.to_owned())]);
    plain().transforms(vec![TransformSpec {
        plugin: path.to_string_lossy().into_owned(),
        inputs: wired("x"),
        outputs: wired("y"),
        ..spec("picky", OnError::DeadLetter)
    }])
}

/// How many seeds, and rounds of each.
fn size(seeds: u64, rounds: usize) -> (std::ops::Range<u64>, usize) {
    match std::env::var_os("ALLUVIUM_SOAK") {
        Some(_) => (0..20 * seeds, 2 * rounds),
        None => (0..seeds, rounds),
    }
}

#[test]
fn every_row_is_in_the_lake_once_whatever_the_store_did() {
    let (seeds, rounds) = size(2, 40);
    for seed in seeds {
        let storm = Storm::in_memory("rows", seed, plain()).pass(rounds);
        storm.assert_rows(seed);
    }
}

#[test]
fn every_row_is_in_a_lake_of_local_files_once_whatever_failed() {
    let (seeds, rounds) = size(2, 24);
    for seed in seeds {
        let storm = Storm::of_files(seed, plain()).pass(rounds);
        storm.assert_rows(seed);
    }
}

#[test]
#[ignore = "needs an S3 server"]
fn on_s3_every_row_is_in_the_lake_once_whatever_is_injected() {
    let server = S3Server::start();
    let (seeds, rounds) = size(1, 40);
    for seed in seeds {
        let address = format!("s3://{BUCKET}/storm-{}/", uuid::Uuid::new_v4());
        let options = plain().secrets_in_clear(true);
        let options = server
            .options()
            .into_iter()
            .fold(options, |options, (key, value)| {
                options.storage_option(key, value)
            });
        Storm::new(&address, seed, options)
            .pass(rounds)
            .assert_rows(seed);
    }
}

#[test]
fn a_log_at_its_limit_while_the_lake_is_away_refuses_rows_and_goes_on_once_it_is_back() {
    let options = plain()
        .segment_bytes(64 << 10)
        .max_log_bytes(512 << 10)
        .when_full(WhenFull::Fail);
    let storm = Storm::new("shared-memory://away/", 0, options);
    storm.faults.rate(ALWAYS);
    let mut appended = 0;
    let full = loop {
        match storm.table.append(&rows(appended..appended + 1000)) {
            Ok(_) => appended += 1000,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::LogFull { .. }), "{full}");
    assert!(appended > 5000, "{appended}");
    assert!(storm.table.flush_to_lake().is_err());
    storm.faults.rate(0);
    storm.table.flush_to_lake().unwrap();
    let _ = storm.table.append(&rows(appended..appended + 1)).unwrap();
    storm.table.flush_to_lake().unwrap();
    assert_eq!(storm.lake("true"), (0..=appended).collect::<Vec<_>>());
    assert_sound(&storm.table);
}

#[test]
fn dead_letters_are_settled_once_whatever_the_store_did() {
    let (seeds, rounds) = size(1, 40);
    let plugins = tempfile::tempdir().unwrap();
    for seed in seeds {
        let storm = Storm::in_memory("letters", seed, picky(plugins.path()));
        settles_letters_once(storm, rounds, seed);
    }
}

#[test]
fn dead_letters_are_settled_once_among_local_files_whatever_failed() {
    let (seeds, rounds) = size(2, 12);
    let plugins = tempfile::tempdir().unwrap();
    for seed in seeds {
        let storm = Storm::of_files(seed, picky(plugins.path()));
        settles_letters_once(storm, rounds, seed);
    }
}

fn settles_letters_once(mut storm: Storm, times: usize, seed: u64) {
    storm.faults.rate(RATE);
    // Each round has one row that is filtered and one that fails.
    for _ in 0..times {
        let _ = storm.table.append(&rows(6..8)).unwrap();
        let _ = storm.table.append(&rows(13..15)).unwrap();
        storm.failed += u64::from(storm.table.flush_to_lake().is_err());
        storm.failed += u64::from(storm.table.maintain().is_err());
    }
    storm.calm();
    let came: Vec<i32> = (0..times).flat_map(|_| [6, 14]).collect();
    assert_eq!(storm.lake("true"), came, "seed {seed}");
    let letters = storm
        .store
        .query("SELECT __offset FROM \"t.dead_letters\"")
        .unwrap();
    let letters: usize = letters.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(letters, times, "seed {seed}");
    storm.assert_healthy();
}
