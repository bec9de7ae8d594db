//! Dead letters: rows that a transform failed on, on their way from a log of the table's own to a Lance dataset beside the
//! lake, and out of it again when they are retried or dropped.
//!
//! [`log`], [`dataset`], [`resolution`] ◀ this ◀ [`resolve`]. A round writes its dead letters to the log before it commits. Once
//! it is in the lake they are settled in the dataset as rounds are in the lake: each commit says up to which offset of the
//! table its dead letters are there (I1), and a segment of the log is released only when the dataset is durable (I2).

pub(crate) mod dataset;
pub(crate) mod log;
pub(crate) mod resolution;
pub(crate) mod resolve;
#[cfg(test)]
mod tests;

use std::ops::Range;

use arrow_schema::SchemaRef;

use crate::error::{Error, Result};
use crate::tier::context::TierContext;
use crate::tier::lake::{Lake, LakeOptions, Progress, Round, Written};
use crate::tier::writing::{check_written, commit, streamed};
use log::DeadLetterLog;
use resolution::Resolution;

/// Letters that are retried or dropped by one commit to the lake.
pub(crate) const STEP: usize = 10_000;

/// A moment at which tests let it end as a crash would.
#[cfg(not(test))]
fn reached(_: &TierContext, _: Moment) -> Result<()> {
    Ok(())
}
#[cfg(test)]
use tests::reached;

/// What has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Letters of rounds are in the dataset, and in the log.
    Settled,
    /// It is written down what is about to become of letters.
    Begun,
    /// The lake has committed it.
    Committed,
    /// The letters are out of the dataset.
    Gone,
}

/// A table's dead letters: the log that rounds write to, and the dataset once there is need of it.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    pub(crate) log: DeadLetterLog,
    dataset: Option<Dataset>,
    /// The log's own offset behind the last letter that is in the dataset; `None` as long as the dataset was not asked.
    settled: Option<u64>,
    /// Letters that are none any more and may still be in the dataset.
    resolved: Option<Resolution>,
}

/// The dataset, and up to which offset of the table it has the dead letters.
#[derive(Debug)]
struct Dataset {
    lake: Lake,
    progress: Progress,
    /// Whether a commit said so.
    is_recorded: bool,
}

impl DeadLetters {
    /// Opens the log, and finds out whether letters that were being resolved when the process ended are resolved.
    /// The dataset is not touched: a lake must not wait for it.
    pub(crate) fn open(
        context: &TierContext,
        mut lake: Lake,
        progress: Progress,
    ) -> Result<(Lake, Self)> {
        let directory = &context.directory;
        let mut resolved = Resolution::read(directory)?;
        if let Some(resolution) = &mut resolved {
            if resolution.is_in(&progress) {
                // The lake goes on to other counts: what they say now is kept.
                resolution.is_committed = true;
                resolution.write(directory)?;
            } else {
                // The request may still be under way. It fits on one version only, and this commit takes that.
                let round = amending(context, progress, progress)?;
                let (fenced, written) = nothing_written(context, lake)?;
                lake = commit(context, fenced, written, round)?.0;
                Resolution::remove(directory)?;
                resolved = None;
            }
        }
        let schemas = &context.shape().schemas;
        let log = DeadLetterLog::open(directory, context.table_id, schemas, progress.to)?;
        let letters = Self {
            log,
            dataset: None,
            settled: None,
            resolved,
        };
        Ok((lake, letters))
    }

    /// Settles the letters of rounds that are in the lake, brings to its end what was left of resolving others, and lets
    /// go of the log's segments.
    pub(crate) fn settle(&mut self, context: &TierContext, lake: &Progress) -> Result<()> {
        let is_settled = match self.settled {
            Some(settled) => settled == self.log.end(),
            None => self.log.is_empty(),
        };
        if is_settled && self.resolved.is_none() {
            // A segment that was not sealed the last time may be by now.
            return self.settled.map_or(Ok(()), |at| self.log.release(at));
        }
        let mut dataset = self.take_dataset(context, lake)?;
        if let Some(resolution) = &self.resolved {
            dataset = dataset.without(context, &resolution.offsets)?;
            Resolution::remove(&context.directory)?;
            self.resolved = None;
        }
        let mut letters = self.log.letters(self.settled, dataset.progress.to..lake.to);
        dataset = dataset.with(context, &mut letters, lake.to)?;
        reached(context, Moment::Settled)?;
        self.settled = Some(letters.end);
        self.dataset = Some(dataset);
        self.log.release(letters.end)
    }

    /// The dataset, opened or made; it is to be put back unless something fails.
    fn take_dataset(&mut self, context: &TierContext, lake: &Progress) -> Result<Dataset> {
        match self.dataset.take() {
            Some(dataset) => Ok(dataset),
            None => match Dataset::open(context)? {
                Some(dataset) => {
                    self.check(context, &dataset, lake)?;
                    Ok(dataset)
                }
                None => {
                    let from = start_of(context, lake, |rows| self.log.count(rows))?;
                    Dataset::make(context, from)
                }
            },
        }
    }

    /// Refuses a dataset that has rows of this bucket and no record of them, unless they are this table's by their number.
    fn check(&self, context: &TierContext, dataset: &Dataset, lake: &Progress) -> Result<()> {
        let found = dataset.progress;
        let refuse = |reason: String| {
            Err(Error::LakeMismatch {
                uri: dataset.lake.uri().to_owned(),
                reason,
            })
        };
        if found.to > lake.to {
            return refuse(format!(
                "it has dead letters up to offset {}, and the lake has the table up to offset {}; one of them was replaced",
                found.to, lake.to
            ));
        }
        let bucket = context.settings.bucket;
        if dataset.is_recorded || found.rows == 0 {
            return Ok(());
        }
        match found.rows + self.log.count(found.to..lake.to)? == lake.dead {
            true => Ok(()),
            false => refuse(format!(
                "it has {} rows of bucket {bucket} that no commit of this table accounts for; give this table another bucket, or move the dataset away",
                found.rows
            )),
        }
    }
}

impl Dataset {
    /// Opens the dataset at its newest version; `None` when there is none.
    fn open(context: &TierContext) -> Result<Option<Self>> {
        let (options, schema) = place_of(context);
        let (table_id, bucket) = (context.table_id, context.settings.bucket);
        context.executor.run(async move {
            let Some(mut lake) = Lake::open(&options).await? else {
                return Ok(None);
            };
            if lake.accepts(&schema).is_err() {
                // It keeps what dead letters had that were appended before the table was altered.
                lake.conform(&schema, &[]).await?;
            }
            let progress = lake.progress(table_id, bucket).await?;
            let is_recorded = lake.is_recorded(table_id, bucket).await?;
            Ok(Some(Self {
                lake,
                progress,
                is_recorded,
            }))
        })?
    }

    /// Makes the dataset, without the letters of rows below an offset.
    fn make(context: &TierContext, from: u64) -> Result<Self> {
        let (options, schema) = place_of(context);
        let lake = context
            .executor
            .run(async move { Lake::open_or_create(&options, &schema).await })??;
        let mut dataset = Self {
            lake,
            progress: Progress::default(),
            is_recorded: false,
        };
        if from > 0 {
            let (lake, written) = nothing_written(context, dataset.lake)?;
            let after = Progress {
                to: from,
                ..Progress::default()
            };
            let round = round(context, 0, after, None)?;
            (dataset.lake, dataset.progress) = commit(context, lake, written, round)?;
        }
        Ok(dataset)
    }

    /// Adds letters, those of the table's rows up to an offset.
    fn with(mut self, context: &TierContext, letters: &mut log::Letters, to: u64) -> Result<Self> {
        let (_, schema) = place_of(context);
        let bucket = context.settings.bucket;
        let shape = context.shape();
        let versions = shape.plugin_versions();
        let (lake, made, written) = streamed(&context.executor, self.lake, |sink| {
            let mut made = 0;
            for batch in letters {
                let batch = dataset::to_dataset(&batch?, &schema, bucket, &versions)?;
                made += batch.num_rows() as u64;
                if !sink(batch) {
                    break;
                }
            }
            Ok(made)
        })?;
        self.lake = lake;
        check_written(made, &written)?;
        if made > 0 {
            let after = Progress {
                to,
                rows: self.progress.rows + made,
                ..self.progress
            };
            let round = round(context, self.progress.to, after, None)?;
            (self.lake, self.progress) = commit(context, self.lake, written, round)?;
        }
        Ok(self)
    }

    /// Takes out the letters of rows with these offsets, if they are there.
    fn without(mut self, context: &TierContext, offsets: &[u64]) -> Result<Self> {
        let (lake, written) = nothing_written(context, self.lake)?;
        self.lake = lake;
        self.replace(context, offsets, written)
    }

    /// Takes out the letters of rows with these offsets, and lets written ones in.
    fn replace(mut self, context: &TierContext, offsets: &[u64], written: Written) -> Result<Self> {
        if offsets.is_empty() {
            return Ok(self);
        }
        let filter = dataset::those_of(context.settings.bucket, offsets);
        let round = amending(context, self.progress, self.progress)?;
        let mut lake = self.lake;
        let (lake, replaced) = context.executor.run(async move {
            let replaced = lake.replace(&filter, &written, &round).await;
            (lake, replaced)
        })?;
        replaced?;
        self.lake = lake;
        Ok(self)
    }
}

/// The offset from which on a dataset that isn't there lacks dead letters, by how many of a range of rows the log has: the lake
/// says how many there are.
pub(crate) fn start_of(
    context: &TierContext,
    lake: &Progress,
    count: impl Fn(Range<u64>) -> Result<u64>,
) -> Result<u64> {
    let report = context.read_report();
    // Where the lake's history was cleaned up it says that there are none. Letters that are being resolved it has
    // just counted, and the report has not.
    let dead = match Resolution::is_there(&context.directory) {
        true => lake.dead,
        false => lake.dead.max(report.dead),
    };
    for from in [0, report.dead_letters_to, lake.to] {
        if count(from..lake.to)? == dead {
            return Ok(from);
        }
    }
    Err(Error::LakeMismatch {
        uri: dataset::options_of(&context.lake).shown_uri(),
        reason: format!(
            "there is no dataset, and dead letters of this table were settled in one ({dead} in all); bring it back, or drop all dead letters of the table"
        ),
    })
}

/// Where a table's dead letters are settled, and in which columns.
fn place_of(context: &TierContext) -> (LakeOptions, SchemaRef) {
    (
        dataset::options_of(&context.lake),
        dataset::schema_of(context.shape().schemas.newest()),
    )
}

fn round(
    context: &TierContext,
    from: u64,
    after: Progress,
    amends: Option<Progress>,
) -> Result<Round> {
    Ok(Round {
        table_id: context.table_id,
        bucket: context.settings.bucket,
        from,
        amends,
        after,
        transforms: Vec::new(),
        writer: context.writers.commit_as()?,
    })
}

/// A round that settles no new offsets.
pub(super) fn amending(context: &TierContext, before: Progress, after: Progress) -> Result<Round> {
    round(context, before.to, after, Some(before))
}

/// No rows, ready to be committed.
pub(super) fn nothing_written(context: &TierContext, lake: Lake) -> Result<(Lake, Written)> {
    let (lake, (), written) = streamed(&context.executor, lake, |_| Ok(()))?;
    Ok((lake, written))
}
