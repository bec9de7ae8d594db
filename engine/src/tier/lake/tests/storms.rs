//! Rounds and maintenance on an object store that refuses, loses replies, cuts uploads and is late, at random.
//!
//! `ALLUVIUM_SOAK=1` runs thousands of rounds.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::faulty::Faults;
use crate::pipeline::tests::{assert_sound, rows};
use crate::transform::guests::{record_guest, spec};
use crate::{
    IndexKind, Maintenance, OnError, Store, StoreOptions, Table, TableOptions, TransformSpec,
};

const ROWS_A_ROUND: i32 = 5;
/// Operations of a thousand that fail: a commit takes some twenty.
const RATE: u64 = 25;

struct Storm {
    _directory: tempfile::TempDir,
    store: Store,
    table: Table,
    faults: std::sync::Arc<Faults>,
    appended: i32,
    failed: u64,
}

impl Storm {
    /// A table whose lake is on an object store of its own, with nothing that is kept for long.
    fn new(
        name: &str,
        seed: u64,
        transforms: impl FnOnce(&std::path::Path) -> Vec<TransformSpec>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bucket = format!("{name}-{seed}");
        let faults = Faults::of(&format!("shared-memory://{bucket}/"), seed);
        let policy = Maintenance::default()
            .merge_at(4)
            .keep_versions(2)
            .keep_versions_for(Duration::ZERO)
            .orphans_after(Duration::ZERO)
            .unindexed_rows(20);
        let options = TableOptions::new(rows(0..1).schema())
            .lake(format!("shared-memory://{bucket}/t.lance"))
            .transforms(transforms(directory.path()))
            .maintenance(policy);
        let store = StoreOptions::new()
            .tiering(false)
            .open(directory.path().join("store"))
            .unwrap();
        let table = store.create_table("t", options).unwrap();
        table.create_index("x", IndexKind::BTree).unwrap();
        Self {
            _directory: directory,
            store,
            table,
            faults,
            appended: 0,
            failed: 0,
        }
    }

    fn round(&mut self) {
        let end = self.appended + ROWS_A_ROUND;
        let _ = self.table.append(&rows(self.appended..end)).unwrap();
        self.appended = end;
        self.failed += u64::from(self.table.flush_to_lake().is_err());
        if self.appended % (4 * ROWS_A_ROUND) == 0 {
            self.failed += u64::from(self.table.maintain().is_err());
        }
    }

    /// Lets so many rounds go through the storm, and one more afterwards.
    fn pass(&mut self, rounds: usize) {
        self.faults.rate(RATE);
        for _ in 0..rounds {
            self.round();
        }
        self.faults.rate(0);
        self.table.flush_to_lake().unwrap();
        self.table.maintain().unwrap();
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

    fn assert_healthy(&self) {
        assert_sound(&self.table);
        let status = self.table.status().unwrap();
        assert_eq!(status.maintenance.orphan_bytes, 0, "{status:?}");
        assert_eq!(status.last_error, None);
        assert!(self.failed > 0, "nothing failed");
        assert!(self.faults.injected.load(Ordering::Relaxed) > self.failed);
    }
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
        let mut storm = Storm::new("rows", seed, |_| Vec::new());
        storm.pass(rounds);
        let all: Vec<i32> = (0..storm.appended).collect();
        assert_eq!(storm.lake("true"), all, "seed {seed}");
        assert_eq!(
            storm.lake("x >= 100 AND x < 103"),
            [100, 101, 102],
            "seed {seed}"
        );
        storm.assert_healthy();
    }
}

#[test]
fn dead_letters_are_settled_once_whatever_the_store_did() {
    let (seeds, rounds) = size(1, 40);
    for seed in seeds {
        let mut storm = Storm::new("letters", seed, |directory| {
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
        storm.faults.rate(0);
        storm.table.flush_to_lake().unwrap();
        storm.table.maintain().unwrap();
        storm.table.maintain().unwrap();
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
