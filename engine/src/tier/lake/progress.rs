//! How far a table's rows are in the lake, as the lake's own history tells it.
//!
//! Each round's commit carries its range and its counts as transaction properties, atomically with its rows. The newest
//! such commit decides. When the history was cleaned up, the rows themselves do.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::transaction::{Operation, Transaction};
use serde::Serialize;
use uuid::Uuid;

const TABLE: &str = "alluvium.table";
const BUCKET: &str = "alluvium.bucket";
const FROM: &str = "alluvium.from";
const TO: &str = "alluvium.to";
const ROWS: &str = "alluvium.rows";
const FILTERED: &str = "alluvium.filtered";
const DEAD: &str = "alluvium.dead";
const TRANSFORMS: &str = "alluvium.transforms";

/// The column that tells writers apart.
pub(crate) const BUCKET_COLUMN: &str = "__bucket";
/// The column of a row's number in its table's log.
pub(crate) const OFFSET_COLUMN: &str = "__offset";

/// What of a table's log is in the lake, since its first round. All zero when nothing was committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The first offset that is not in the lake.
    pub(crate) to: u64,
    /// Rows written to the lake.
    pub(crate) rows: u64,
    /// Rows that a transform filtered. Zero again when the history was cleaned up.
    pub(crate) filtered: u64,
    /// Rows that went to the dead letters. Zero again when the history was cleaned up.
    pub(crate) dead: u64,
}

/// A transform as a round records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TransformRecord {
    pub(crate) name: String,
    pub(crate) plugin: String,
    pub(crate) version: Option<String>,
    pub(crate) sha256: String,
}

/// A round: which offsets of which log it settles, and the table's counts once it is committed.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) table_id: Uuid,
    pub(crate) bucket: i32,
    /// The first offset of the round: the progress before it.
    pub(crate) from: u64,
    /// The progress after it, counts since the first round.
    pub(crate) after: Progress,
    pub(crate) transforms: Vec<TransformRecord>,
}

impl Round {
    /// What the commit's transaction says of the round.
    pub(super) fn properties(&self) -> HashMap<String, String> {
        let transforms = serde_json::to_value(&self.transforms).unwrap_or_default();
        [
            (TABLE, self.table_id.to_string()),
            (BUCKET, self.bucket.to_string()),
            (FROM, self.from.to_string()),
            (TO, self.after.to.to_string()),
            (ROWS, self.after.rows.to_string()),
            (FILTERED, self.after.filtered.to_string()),
            (DEAD, self.after.dead.to_string()),
            (TRANSFORMS, transforms.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// Progress, and the transaction that recorded it, if one did.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) progress: Progress,
    pub(super) transaction: Option<String>,
}

/// Reads a round's record from a transaction; `None` when the transaction is not of this table and bucket.
fn recorded(
    transaction: &Transaction,
    table: Uuid,
    bucket: i32,
) -> Result<Option<Found>, lance::Error> {
    let Some(properties) = &transaction.transaction_properties else {
        return Ok(None);
    };
    let is = |key: &str, value: String| properties.get(key).is_some_and(|found| *found == value);
    if !is(TABLE, table.to_string()) || !is(BUCKET, bucket.to_string()) {
        return Ok(None);
    }
    let number = |key: &str| {
        let value = properties.get(key).map(String::as_str).unwrap_or_default();
        // No more than an offset can be: sums of these must not overflow.
        let number = value
            .parse::<i64>()
            .ok()
            .and_then(|n| u64::try_from(n).ok());
        number.ok_or_else(|| {
            let id = &transaction.uuid;
            lance::Error::invalid_input(format!(
                "transaction {id} has {key} = {value:?}, which is not a count"
            ))
        })
    };
    let progress = Progress {
        to: number(TO)?,
        rows: number(ROWS)?,
        filtered: number(FILTERED)?,
        dead: number(DEAD)?,
    };
    Ok(Some(Found {
        progress,
        transaction: Some(transaction.uuid.clone()),
    }))
}

/// What was found before, and as of which version: the walk need not go further back.
pub(super) type Known = (u64, Found);

/// Walks the history from the dataset's version backwards to the newest round of this table and bucket.
/// It reads one manifest a version, so the common case, where the newest version is ours, costs one read.
pub(super) async fn find(
    dataset: &Dataset,
    table: Uuid,
    bucket: i32,
    known: Option<Known>,
) -> Result<Found, lance::Error> {
    let mut version = dataset.version_id();
    while version > 0 {
        if let Some((as_of, found)) = &known
            && *as_of == version
        {
            return Ok(found.clone());
        }
        let transaction = match dataset.read_transaction_by_version(version).await {
            Ok(transaction) => transaction,
            Err(error) if is_missing(&error) => break,
            Err(error) => return Err(error),
        };
        if let Some(transaction) = transaction {
            if let Some(found) = recorded(&transaction, table, bucket)? {
                return Ok(found);
            }
            match &transaction.operation {
                // What came after the restored version was taken back.
                Operation::Restore { version: restored } if *restored < version => {
                    version = *restored;
                    continue;
                }
                Operation::Overwrite { fragments, .. } if fragments.is_empty() => {
                    return Ok(Found::default());
                }
                Operation::Overwrite { .. } | Operation::Clone { .. } => break,
                _ => {}
            }
        }
        version -= 1;
    }
    from_rows(dataset, bucket).await
}

/// Whether a version, or the dataset itself, is not there (and not merely out of reach).
pub(super) fn is_missing(error: &lance::Error) -> bool {
    matches!(
        error,
        lance::Error::DatasetNotFound { .. }
            | lance::Error::NotFound { .. }
            | lance::Error::VersionNotFound { .. }
    )
}

/// The progress that a bucket's rows show. Rows that were filtered after the last one written are not seen: they are
/// transformed, and filtered, once more.
async fn from_rows(dataset: &Dataset, bucket: i32) -> Result<Found, lance::Error> {
    let columns = [BUCKET_COLUMN, OFFSET_COLUMN];
    if dataset.count_fragments() == 0
        || columns
            .iter()
            .any(|name| dataset.schema().field(name).is_none())
    {
        return Ok(Found::default());
    }
    let mut scan = dataset.scan();
    scan.project(&[OFFSET_COLUMN])?
        .filter(&format!("{BUCKET_COLUMN} = {bucket}"))?;
    let mut batches = scan.try_into_stream().await?;
    let mut progress = Progress::default();
    while let Some(batch) = batches.try_next().await? {
        let Some(offsets) = batch
            .columns()
            .first()
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
        else {
            return Err(lance::Error::invalid_input(format!(
                "{OFFSET_COLUMN} is not an int64"
            )));
        };
        progress.rows += batch.num_rows() as u64;
        if let Some(last) = offsets.iter().flatten().max() {
            progress.to = progress.to.max(u64::try_from(last).unwrap_or_default() + 1);
        }
    }
    Ok(Found {
        progress,
        transaction: None,
    })
}
