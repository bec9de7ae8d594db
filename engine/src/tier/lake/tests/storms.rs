//! Rounds and maintenance on an object store that refuses, loses replies, cuts uploads and is late, at random.
//!
//! `ALLUVIUM_SOAK=1` runs thousands of rounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    fn new(
        address: &str,
        seed: u64,
        options: TableOptions,
        transforms: impl FnOnce(&std::path::Path) -> Vec<TransformSpec>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::of(address, seed);
        let policy = Maintenance::default()
            .merge_at(4)
            .keep_versions(2)
            .keep_versions_for(Duration::ZERO)
            .orphans_after(ORPHANS_AFTER)
            .unindexed_rows(20);
        let options = options
            .lake(format!("{address}t.lance"))
            .transforms(transforms(directory.path()))
            .maintenance(policy);
        let store = open(&directory);
        let table = store.create_table("t", options).unwrap();
        table.create_index("x", IndexKind::BTree).unwrap();
        Self {
            directory,
            store,
            table,
            faults,
            appended: 0,
            failed: 0,
        }
    }

    /// The same with a lake of its own in memory.
    fn in_memory(
        name: &str,
        seed: u64,
        transforms: impl FnOnce(&std::path::Path) -> Vec<TransformSpec>,
    ) -> Self {
        let options = TableOptions::new(rows(0..1).schema());
        let address = format!("shared-memory://{name}-{seed}/");
        Self::new(&address, seed, options, transforms)
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
        std::thread::sleep(ORPHANS_AFTER);
        self.table.maintain().unwrap();
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
        assert_eq!(status.last_error, None);
        assert!(self.failed > 0, "nothing failed");
        assert!(self.faults.injected.load(Ordering::Relaxed) > self.failed);
    }
}

/// Maintains a table again and again; how often that failed.
fn maintain_until(table: &Table, is_over: &AtomicBool) -> u64 {
    let mut failed = 0;
    while !is_over.load(Ordering::Relaxed) {
        failed += u64::from(table.maintain().is_err());
    }
    failed
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
        let storm = Storm::in_memory("rows", seed, |_| Vec::new()).pass(rounds);
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
        let options = TableOptions::new(rows(0..1).schema()).secrets_in_clear(true);
        let options = server
            .options()
            .into_iter()
            .fold(options, |options, (key, value)| {
                options.storage_option(key, value)
            });
        Storm::new(&address, seed, options, |_| Vec::new())
            .pass(rounds)
            .assert_rows(seed);
    }
}

#[test]
fn a_log_at_its_limit_while_the_lake_is_away_refuses_rows_and_goes_on_once_it_is_back() {
    let options = TableOptions::new(rows(0..1).schema())
        .segment_bytes(64 << 10)
        .max_log_bytes(512 << 10)
        .when_full(WhenFull::Fail);
    let storm = Storm::new("shared-memory://away/", 0, options, |_| Vec::new());
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
    for seed in seeds {
        let mut storm = Storm::in_memory("letters", seed, |directory| {
            let path = directory.join("picky.wasm");
            std::fs::write(&path, record_guest()).unwrap();
            let wired =
                |to: &str| std::collections::BTreeMap::from([("x".to_owned(), to.to_owned())]);
            vec![TransformSpec {
                plugin: path.to_string_lossy().into_owned(),
                inputs: wired("x"),
                outputs: wired("y"),
                ..spec("picky", OnError::DeadLetter)
            }]
        });
        storm.faults.rate(RATE);
        // The transform filters 7 and fails on 13, so each round has one of each.
        for _ in 0..rounds {
            let _ = storm.table.append(&rows(6..8)).unwrap();
            let _ = storm.table.append(&rows(13..15)).unwrap();
            storm.failed += u64::from(storm.table.flush_to_lake().is_err());
            storm.failed += u64::from(storm.table.maintain().is_err());
        }
        storm.calm();
        let came: Vec<i32> = (0..rounds).flat_map(|_| [6, 14]).collect();
        assert_eq!(storm.lake("true"), came, "seed {seed}");
        let letters = storm
            .store
            .query("SELECT __offset FROM \"t.dead_letters\"")
            .unwrap();
        let letters: usize = letters.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(letters, rounds, "seed {seed}");
        storm.assert_healthy();
    }
}
