//! fjall: batches, or rows, as values of consecutive keys.

use std::path::Path;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{Keys, ROWS_PER_TRANSACTION, blob};
use crate::lane::{Lane, Opening, Promise, punch};
use crate::samples::Sample;

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    keys: Keys,
    journals: std::path::PathBuf,
    promise: Promise,
}

pub(super) fn open(opening: &Opening<'_>) -> Box<dyn Lane> {
    let path = opening.directory.join("fjall");
    let database = Database::builder(&path).open().expect("a database");
    let options = || {
        let options = KeyspaceCreateOptions::default()
            // Who syncs after every insert needs no flush before it.
            .manual_journal_persist(opening.promise == Promise::Power);
        match opening.samples.payload > 16 << 10 {
            true => options.with_kv_separation(Some(KvSeparationOptions::default())),
            false => options,
        }
    };
    Box::new(Fjall {
        keyspace: database.keyspace("batches", options).expect("a keyspace"),
        database,
        keys: Keys::default(),
        journals: path,
        promise: opening.promise,
    })
}

impl Lane for Fjall {
    fn append(&self, _producer: usize, sample: &Sample) {
        let key = self.keys.next().to_be_bytes();
        let inserted = self.keyspace.insert(key, blob(&sample.batch));
        inserted.expect("inserted");
        if self.promise == Promise::Power {
            self.database
                .persist(PersistMode::SyncData)
                .expect("synced");
        }
    }

    fn abandon(&self) {
        for entry in std::fs::read_dir(&self.journals).expect("files") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|ending| ending == "jnl") {
                punch(&path);
            }
        }
    }
}

/// Rows in atomic batches, each in the kernel's hands when it is committed.
pub(super) fn insert_rows(directory: &Path, rows: u64) -> Duration {
    let database = Database::builder(directory.join("fjall"))
        .open()
        .expect("a database");
    let keyspace = database
        .keyspace("rows", KeyspaceCreateOptions::default)
        .expect("a keyspace");
    let begin = Instant::now();
    let mut row = 0;
    while row < rows {
        let mut batch = database.batch();
        for _ in 0..ROWS_PER_TRANSACTION.min(rows - row) {
            let mut value = [0u8; 16];
            value[..8].copy_from_slice(&(row % 64).to_le_bytes());
            value[8..].copy_from_slice(&(row as f64).to_le_bytes());
            batch.insert(&keyspace, row.to_be_bytes(), value);
            row += 1;
        }
        batch.commit().expect("committed");
    }
    begin.elapsed()
}
