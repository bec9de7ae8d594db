//! What cleanup would take from the history, kept: how far each table and bucket was when old versions were removed.
//!
//! It lies in the dataset's config, which every later version carries: `alluvium.progress.<table id>.<bucket>` is a JSON
//! object of the version that it was taken at, the [`Progress`] there, the transaction that recorded it, and the writer of that: a
//! round whose reply was lost is recognized though its version is gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lance::Dataset;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Lake;
use super::progress::{
    Found, Progress, Step, find, has_files_of, is_missing, keeps_all, recorded, step,
};
use super::round::{is_conflict, pause};
use crate::Result;

const PREFIX: &str = "alluvium.progress.";

/// How often a checkpoint is tried again when other writers were faster.
const ATTEMPTS: u32 = 5;

/// How far a table's bucket was as of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) version: u64,
    #[serde(flatten)]
    pub(super) progress: Progress,
    #[serde(default)]
    transaction: Option<String>,
    #[serde(default)]
    writer: Option<Uuid>,
}

impl Checkpoint {
    /// What a dataset's config says of a table's bucket. What can't be read is none: the rows tell then.
    pub(super) fn read(dataset: &Dataset, table: Uuid, bucket: i32) -> Option<Self> {
        let text = dataset.config().get(&key(table, bucket))?;
        serde_json::from_str(text).ok()
    }

    /// Another table of which it says how far its bucket, the same, was.
    pub(super) fn other(dataset: &Dataset, table: Uuid, bucket: i32) -> Option<Uuid> {
        let mut keys = dataset.config().keys().filter_map(|key| parse_key(key));
        let other = keys.find(|(of_table, of_bucket)| *of_bucket == bucket && *of_table != table);
        other.map(|(of_table, _)| of_table)
    }

    /// The version as of which the last checkpoint was taken, of all tables and buckets that there were.
    pub(super) fn newest(dataset: &Dataset) -> Option<u64> {
        let keys = dataset.config().keys().filter_map(|key| parse_key(key));
        let all = keys.filter_map(|(table, bucket)| Self::read(dataset, table, bucket));
        all.map(|checkpoint| checkpoint.version).max()
    }

    pub(super) fn found(&self) -> Found {
        Found {
            progress: self.progress,
            transaction: self.transaction.clone(),
            writer: self.writer,
            taken_by: None,
        }
    }
}

fn key(table: Uuid, bucket: i32) -> String {
    format!("{PREFIX}{table}.{bucket}")
}

fn parse_key(key: &str) -> Option<(Uuid, i32)> {
    let (table, bucket) = key.strip_prefix(PREFIX)?.split_once('.')?;
    Some((table.parse().ok()?, bucket.parse().ok()?))
}

impl Lake {
    /// Keeps how far every table and bucket is as of the version that this handle reads, or a newer one, in a version of its
    /// own, and gives that version: it and those before may be removed. Other writers may commit meanwhile; when they are faster
    /// again and again it is better tried later.
    pub(super) async fn checkpoint(&mut self) -> Result<Option<u64>> {
        for attempt in 0..ATTEMPTS {
            let entries = self.checkpoints().await?;
            let version = self.version();
            if entries.is_empty() {
                return Ok(Some(version));
            }
            match self.dataset.update_config(entries).await {
                Ok(_) => {}
                // Also a checkpoint of another engine, or of our own that was said to have failed.
                Err(lance::Error::IncompatibleTransaction { .. }) => {}
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(self.error("keep the progress in")(error)),
            }
            self.refresh().await?;
            // What was said to be done may be of a version that no later one came from.
            let newest = Checkpoint::newest(&self.dataset);
            if newest >= Some(version) {
                return Ok(newest);
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Ok(None)
    }

    /// The config's entries as of the version that this handle reads.
    async fn checkpoints(&self) -> Result<Vec<(String, String)>> {
        let newest = newest(&self.dataset).await;
        let newest = newest.map_err(self.error("read the progress from"))?;
        let version = self.version();
        let entries = newest.into_iter().map(|((table, bucket), found)| {
            let text = serde_json::to_string(&Checkpoint {
                version,
                progress: found.progress,
                transaction: found.transaction,
                writer: found.writer,
            });
            (key(table, bucket), text.unwrap_or_default())
        });
        Ok(entries.collect())
    }
}

/// How far every table and bucket is that the history, or an earlier checkpoint, knows.
async fn newest(dataset: &Dataset) -> Result<HashMap<(Uuid, i32), Found>, lance::Error> {
    let mut all = HashMap::new();
    let mut version = dataset.version_id();
    // Up to the newest checkpoint there is nothing that it doesn't know.
    let until = Checkpoint::newest(dataset).unwrap_or_default();
    let mut is_whole = true;
    let mut is_kept = false;
    while is_whole && version > until {
        let transaction = match dataset.read_transaction_by_version(version).await {
            Ok(transaction) => transaction,
            Err(error) if is_missing(&error) => {
                is_whole = false;
                break;
            }
            Err(error) => return Err(error),
        };
        let Some(transaction) = transaction else {
            is_kept = false;
            version -= 1;
            continue;
        };
        if let Some((table, bucket, found)) = recorded(&transaction)? {
            if is_kept && !has_files_of(dataset, version + 1, &transaction).await? {
                is_whole = false;
                break;
            }
            all.entry((table, bucket)).or_insert(found);
        }
        is_kept = keeps_all(&transaction.operation);
        match step(&transaction.operation, version) {
            Step::To(before) => version = before,
            Step::Emptied | Step::Replaced => is_whole = false,
        }
    }
    let keys = dataset.config().keys().filter_map(|key| parse_key(key));
    for (table, bucket) in keys {
        if let Entry::Vacant(unknown) = all.entry((table, bucket)) {
            let found = match Checkpoint::read(dataset, table, bucket) {
                // Nothing came after it, or it had been seen.
                Some(checkpoint) if is_whole => checkpoint.found(),
                _ => find(dataset, table, bucket, None).await?,
            };
            unknown.insert(found);
        }
    }
    Ok(all)
}
