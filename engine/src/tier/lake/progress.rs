//! How far a table's rows are in the lake, as the lake's own history tells it.
//!
//! Each round's commit carries its range and its counts as transaction properties, atomically with its rows. The newest
//! such commit decides. What cleanup takes from the history it has put into a [checkpoint](super::checkpoint) before;
//! when somebody else cleaned up, the rows themselves decide.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::transaction::{Operation, Transaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checkpoint::Checkpoint;

const TABLE: &str = "alluvium.table";
const BUCKET: &str = "alluvium.bucket";
const FROM: &str = "alluvium.from";
const TO: &str = "alluvium.to";
const ROWS: &str = "alluvium.rows";
const FILTERED: &str = "alluvium.filtered";
const DEAD: &str = "alluvium.dead";
const DROPPED: &str = "alluvium.dropped";
const WRITER: &str = "alluvium.writer";
pub(super) const TRANSFORMS: &str = "alluvium.transforms";

/// The column that tells writers apart.
pub(crate) const BUCKET_COLUMN: &str = "__bucket";
/// The column of a row's number in its table's log.
pub(crate) const OFFSET_COLUMN: &str = "__offset";

/// The condition of the rows of a bucket with offsets in a range.
pub(crate) fn rows_with(bucket: i32, offsets: &Range<u64>) -> String {
    let bound = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let (from, to) = (bound(offsets.start), bound(offsets.end));
    format!("{BUCKET_COLUMN} = {bucket} AND {OFFSET_COLUMN} >= {from} AND {OFFSET_COLUMN} < {to}")
}

/// What of a table's log is in the lake, since its first round. All zero when nothing was committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The first offset that is not in the lake.
    pub(crate) to: u64,
    /// Rows written to the lake.
    pub(crate) rows: u64,
    /// Rows that a transform filtered. Zero again when somebody else cleaned up the history.
    pub(crate) filtered: u64,
    /// Rows that are dead letters. Zero again when somebody else cleaned up the history.
    pub(crate) dead: u64,
    /// Rows that were dead letters and were dropped. Zero again when somebody else cleaned up the history.
    #[serde(default)]
    pub(crate) dropped: u64,
}

impl Progress {
    /// Nothing done yet from an offset on.
    pub(crate) fn beginning_at(offset: u64) -> Self {
        Self {
            to: offset,
            ..Self::default()
        }
    }

    /// What this and what was done behind it come to.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            to: next.to,
            rows: self.rows + next.rows,
            filtered: self.filtered + next.filtered,
            dead: self.dead + next.dead,
            dropped: self.dropped + next.dropped,
        }
    }
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
    /// For a round that settles no new offsets but changes what became of old ones: the progress that it changes. It is
    /// committed only where that is the progress still.
    pub(crate) amends: Option<Progress>,
    /// The progress after it, counts since the first round.
    pub(crate) after: Progress,
    pub(crate) transforms: Vec<TransformRecord>,
    /// Who commits it.
    pub(crate) writer: Uuid,
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
            (DROPPED, self.after.dropped.to_string()),
            (TRANSFORMS, transforms.to_string()),
            (WRITER, self.writer.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// Progress, and the transaction that recorded it and who that was by, if one did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) progress: Progress,
    pub(crate) transaction: Option<String>,
    pub(crate) writer: Option<Uuid>,
    /// Another table that has committed under the bucket, if this one never has.
    pub(crate) taken_by: Option<Uuid>,
}

/// Reads a round's record from a transaction: table, bucket, and where they stood after it; `None` for any other transaction.
pub(super) fn recorded(
    transaction: &Transaction,
) -> Result<Option<(Uuid, i32, Found)>, lance::Error> {
    let Some(properties) = &transaction.transaction_properties else {
        return Ok(None);
    };
    let text = |key: &str| properties.get(key).map(String::as_str).unwrap_or_default();
    let (Ok(table), Ok(bucket)) = (text(TABLE).parse(), text(BUCKET).parse()) else {
        return Ok(None);
    };
    let number = |key: &str| {
        // No more than an offset can be: sums of these must not overflow.
        let number = text(key).parse::<i64>().ok();
        number.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| {
            let (id, value) = (&transaction.uuid, text(key));
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
        // Commits before there was dropping do not have it.
        dropped: match properties.contains_key(DROPPED) {
            true => number(DROPPED)?,
            false => 0,
        },
    };
    let transaction = Some(transaction.uuid.clone());
    Ok(Some((
        table,
        bucket,
        Found {
            progress,
            transaction,
            // Commits before writers were told apart do not have it.
            writer: text(WRITER).parse().ok(),
            taken_by: None,
        },
    )))
}

/// What was found before, and as of which version: the walk need not go further back.
pub(super) type Known = (u64, Found);

/// Walks the history from the dataset's version backwards to the newest round of this table and bucket, or to the last
/// checkpoint. It reads one manifest a version, so the common case, where the newest version is ours, costs one read.
pub(super) async fn find(
    dataset: &Dataset,
    table: Uuid,
    bucket: i32,
    known: Option<Known>,
) -> Result<Found, lance::Error> {
    let checkpoint = Checkpoint::read(dataset, table, bucket);
    // Below it versions may have been removed, and what has their name since is of no later version's history.
    let floor = Checkpoint::newest(dataset).unwrap_or_default();
    let mut version = dataset.version_id();
    let mut taken_by = None;
    // Whether the version above keeps all that the one below it had.
    let mut is_kept = false;
    while version > 0 {
        if let Some((as_of, found)) = &known
            && *as_of == version
        {
            return Ok(found.clone());
        }
        if let Some(checkpoint) = &checkpoint
            && checkpoint.version == version
        {
            return Ok(checkpoint.found());
        }
        if version <= floor {
            return before(dataset, table, bucket, checkpoint, taken_by).await;
        }
        let transaction = match dataset.read_transaction_by_version(version).await {
            Ok(transaction) => transaction,
            Err(error) if is_missing(&error) => {
                return before(dataset, table, bucket, checkpoint, taken_by).await;
            }
            Err(error) => return Err(error),
        };
        if let Some(transaction) = transaction {
            match recorded(&transaction)? {
                Some((of_table, of_bucket, found)) if of_bucket == bucket => {
                    if of_table == table {
                        return match !is_kept
                            || has_files_of(dataset, version + 1, &transaction).await?
                        {
                            true => Ok(found),
                            false => before(dataset, table, bucket, checkpoint, taken_by).await,
                        };
                    }
                    taken_by = Some(of_table);
                }
                _ => {}
            }
            is_kept = keeps_all(&transaction.operation);
            match step(&transaction.operation, version) {
                Step::To(before) => version = before,
                Step::Emptied => {
                    return Ok(Found {
                        taken_by,
                        ..Found::default()
                    });
                }
                Step::Replaced => break,
            }
            continue;
        }
        is_kept = false;
        version -= 1;
    }
    from_rows(dataset, bucket, None).await
}

/// Whether a version has all fragments of the one before it as they were.
pub(super) fn keeps_all(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Append { .. }
            | Operation::UpdateConfig { .. }
            | Operation::CreateIndex { .. }
            | Operation::ReserveFragments { .. }
    )
}

/// Whether a version has the files that a transaction brought. One that keeps all and has them not did not come from it: the
/// transaction got the name of a version that somebody had removed.
pub(super) async fn has_files_of(
    dataset: &Dataset,
    version: u64,
    transaction: &Transaction,
) -> Result<bool, lance::Error> {
    let brought = match &transaction.operation {
        Operation::Append { fragments } => fragments,
        Operation::Update { new_fragments, .. } => new_fragments,
        _ => return Ok(true),
    };
    let other;
    let dataset = match version == dataset.version_id() {
        true => dataset,
        false => {
            other = dataset.checkout_version(version).await?;
            &other
        }
    };
    let there = dataset.fragments().iter().flat_map(|f| &f.files);
    let there: HashSet<&str> = there.map(|file| file.path.as_str()).collect();
    let mut files = brought.iter().flat_map(|fragment| &fragment.files);
    Ok(files.all(|file| there.contains(file.path.as_str())))
}

/// What is known of a table's bucket where the history that is left does not have it.
async fn before(
    dataset: &Dataset,
    table: Uuid,
    bucket: i32,
    checkpoint: Option<Checkpoint>,
    taken_by: Option<Uuid>,
) -> Result<Found, lance::Error> {
    let taken_by = taken_by.or_else(|| Checkpoint::other(dataset, table, bucket));
    match &checkpoint {
        // The rows may be all another's.
        None if taken_by.is_some() => Ok(Found {
            taken_by,
            ..Found::default()
        }),
        _ => from_rows(dataset, bucket, checkpoint).await,
    }
}

/// Where the history goes on before a version.
pub(super) enum Step {
    To(u64),
    /// Nothing of before is left.
    Emptied,
    /// Other rows took the place of those that were there.
    Replaced,
}

pub(super) fn step(operation: &Operation, version: u64) -> Step {
    match operation {
        // What came after the restored version was taken back.
        Operation::Restore { version: restored } if *restored < version => Step::To(*restored),
        Operation::Overwrite { fragments, .. } if fragments.is_empty() => Step::Emptied,
        Operation::Overwrite { .. } | Operation::Clone { .. } => Step::Replaced,
        _ => Step::To(version - 1),
    }
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

/// The progress that a bucket's rows show, from a checkpoint on if there is one. Rows that were filtered after the last one
/// written are not seen: they are transformed, and filtered, once more.
async fn from_rows(
    dataset: &Dataset,
    bucket: i32,
    checkpoint: Option<Checkpoint>,
) -> Result<Found, lance::Error> {
    let mut found = checkpoint.map_or_else(Found::default, |checkpoint| checkpoint.found());
    let columns = [BUCKET_COLUMN, OFFSET_COLUMN];
    let has = |name: &str| dataset.schema().field(name).is_some();
    if dataset.count_fragments() == 0 || !columns.iter().all(|name| has(name)) {
        return Ok(found);
    }
    let from = found.progress.to;
    let mut scan = dataset.scan();
    scan.project(&[OFFSET_COLUMN])?.filter(&format!(
        "{BUCKET_COLUMN} = {bucket} AND {OFFSET_COLUMN} >= {from}"
    ))?;
    let mut batches = scan.try_into_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let offsets = batch.columns().first();
        let Some(offsets) = offsets.and_then(|column| column.as_primitive_opt::<Int64Type>())
        else {
            return Err(lance::Error::invalid_input(format!(
                "{OFFSET_COLUMN} is not an int64"
            )));
        };
        if batch.num_rows() > 0 {
            (found.transaction, found.writer) = (None, None);
        }
        found.progress.rows += batch.num_rows() as u64;
        if let Some(last) = offsets.iter().flatten().max() {
            let next = u64::try_from(last).unwrap_or_default() + 1;
            found.progress.to = found.progress.to.max(next);
        }
    }
    Ok(found)
}
