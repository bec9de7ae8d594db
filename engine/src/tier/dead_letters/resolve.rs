//! Retrying and dropping dead letters: the lake commits what becomes of them, then they leave the dataset.
//!
//! Between the two commits [`Resolution`] keeps which letters they are, so that neither a crash nor a lost reply doubles a row.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_schema::Schema;

use super::dataset::{from_dataset, those_of, to_dataset};
use super::log::letters_of;
use super::resolution::Resolution;
use super::{Dataset, DeadLetters, Moment, STEP, amending, dataset, nothing_written, reached};
use crate::catalog::TIMESTAMP_COLUMN;
use crate::error::{Error, Result};
use crate::executor::Items;
use crate::pipeline::runner::nothing_made;
use crate::shape::Shape;
use crate::tier::context::TierContext;
use crate::tier::lake::{Lake, OFFSET_COLUMN, Progress, Round, Written, rows_with};
use crate::tier::round::{SourceRows, lake_rows};
use crate::tier::writing::{check_written, commit, records_of, streamed};
use crate::transform::{ChainPlan, MadeRows, TransformPool};

type Sink<'a> = &'a mut dyn FnMut(RecordBatch) -> bool;

/// The transforms that dead letters are retried with.
pub(crate) struct Attempt {
    pub(crate) shape: Arc<Shape>,
    pub(crate) pool: TransformPool,
    /// `None` when the table has no transforms any more: then its rows are as they were appended.
    pub(crate) plan: Option<ChainPlan>,
}

/// What became of dead letters that were retried.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    /// Those that are none any more: in the lake, or filtered.
    pub(crate) resolved: Vec<u64>,
    pub(crate) filtered: u64,
    pub(crate) failed: Vec<u64>,
    /// Rows that were made of them.
    rows: u64,
}

impl DeadLetters {
    /// The offsets of the dead letters that meet a condition, ascending. All are in the dataset then.
    pub(crate) fn matching(
        &mut self,
        context: &TierContext,
        lake: &Progress,
        condition: String,
    ) -> Result<Vec<u64>> {
        self.settle(context, lake)?;
        if self.dataset.is_none() && lake.dead == 0 && Dataset::open(context)?.is_none() {
            return Ok(Vec::new());
        }
        let dataset = self.take_dataset(context, lake)?;
        let found = offsets_in(context, &dataset.lake, condition, |_| true)?;
        self.dataset = Some(dataset);
        Ok(found.into_iter().collect())
    }

    /// Takes letters out whose rows the lake has, as when an old version of the dataset was restored; gives the others.
    pub(crate) fn without_those_in(
        &mut self,
        context: &TierContext,
        lake: &Lake,
        progress: &Progress,
        offsets: Vec<u64>,
    ) -> Result<Vec<u64>> {
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
            return Ok(offsets);
        };
        let bucket = context.settings.bucket;
        let condition = rows_with(bucket, &(*first..last.saturating_add(1)));
        let wanted: HashSet<u64> = offsets.iter().copied().collect();
        let there = offsets_in(context, lake, condition, |o| wanted.contains(&o))?;
        let (known, others): (Vec<u64>, Vec<u64>) =
            offsets.into_iter().partition(|o| there.contains(o));
        if !known.is_empty() {
            tracing::warn!(
                letters = known.len(),
                "dead letters whose rows are in the lake are removed"
            );
            let mut dataset = self.take_dataset(context, progress)?;
            for step in known.chunks(STEP) {
                dataset = dataset.without(context, step)?;
            }
            self.dataset = Some(dataset);
        }
        Ok(others)
    }

    /// Retries the letters of rows with these offsets. Those that fail again stay, with what they failed on now.
    pub(crate) fn retry(
        &mut self,
        context: &TierContext,
        lake: Lake,
        progress: Progress,
        attempt: &Attempt,
        offsets: &[u64],
    ) -> Result<(Lake, Progress, Fates)> {
        let mut dataset = self.take_dataset(context, &progress)?;
        let filter = those_of(context.settings.bucket, offsets);
        let letters = rows_in(context, &dataset.lake, filter, None)?;
        let executor = &context.executor;
        let (letters, (lake, fates, made), again) = streamed(executor, dataset.lake, |again| {
            streamed(executor, lake, |out| {
                attempt.run(context, letters, out, again)
            })
        })?;
        dataset.lake = letters;
        let mut lake = lake;
        check_written(fates.rows, &made)?;
        check_written(fates.failed.len() as u64, &again)?;
        let resolved = fates.resolved.len() as u64;
        let after = Progress {
            rows: progress.rows + fates.rows,
            filtered: progress.filtered + fates.filtered,
            dead: progress.dead.saturating_sub(resolved),
            ..progress
        };
        if resolved > 0 {
            let round = Round {
                transforms: records_of(attempt.shape.transforms()),
                ..amending(context, progress, after)?
            };
            lake = self.resolve(context, lake, made, round, fates.resolved.clone())?;
        }
        let gone = [fates.resolved.as_slice(), fates.failed.as_slice()].concat();
        self.leave(context, dataset, &gone, again)?;
        Ok((lake, after, fates))
    }

    /// Drops the letters of rows with these offsets.
    pub(crate) fn drop_those(
        &mut self,
        context: &TierContext,
        lake: Lake,
        progress: Progress,
        offsets: Vec<u64>,
    ) -> Result<(Lake, Progress)> {
        let mut dataset = self.take_dataset(context, &progress)?;
        let after = dropping(progress, offsets.len() as u64);
        let (lake, made) = nothing_written(context, lake)?;
        let round = amending(context, progress, after)?;
        let lake = self.resolve(context, lake, made, round, offsets.clone())?;
        let (letters, again) = nothing_written(context, dataset.lake)?;
        dataset.lake = letters;
        self.leave(context, dataset, &offsets, again)?;
        Ok((lake, after))
    }

    /// Counts as dropped what the dataset does not have any more, after all that it had was dropped or when it is gone.
    /// A dataset is made where there is none.
    pub(crate) fn drop_lost(
        &mut self,
        context: &TierContext,
        lake: Lake,
        progress: Progress,
    ) -> Result<(Lake, Progress)> {
        if self.dataset.is_none() && Dataset::open(context)?.is_none() {
            self.dataset = Some(Dataset::make(context, progress.to)?);
            self.settled = Some(self.log.end());
            self.log.release(self.log.end())?;
            Resolution::remove(&context.directory)?;
            self.resolved = None;
        }
        let after = dropping(progress, progress.dead);
        let (lake, nothing) = nothing_written(context, lake)?;
        let (lake, _) = commit(context, lake, nothing, amending(context, progress, after)?)?;
        Ok((lake, after))
    }

    /// Commits to the lake what becomes of letters. From then on they are none, whatever happens.
    fn resolve(
        &mut self,
        context: &TierContext,
        lake: Lake,
        written: Written,
        round: Round,
        offsets: Vec<u64>,
    ) -> Result<Lake> {
        let mut resolution = Resolution {
            before: round.amends.unwrap_or(round.after),
            after: round.after,
            offsets,
            is_committed: false,
        };
        resolution.write(&context.directory)?;
        reached(context, Moment::Begun)?;
        let (lake, _) = commit(context, lake, written, round)?;
        reached(context, Moment::Committed)?;
        resolution.is_committed = true;
        self.resolved = Some(resolution);
        Ok(lake)
    }

    /// Takes letters out of the dataset, and lets those in that failed again.
    fn leave(
        &mut self,
        context: &TierContext,
        dataset: Dataset,
        gone: &[u64],
        again: Written,
    ) -> Result<()> {
        self.dataset = Some(dataset.replace(context, gone, again)?);
        reached(context, Moment::Gone)?;
        if self.resolved.take().is_some() {
            Resolution::remove(&context.directory)?;
        }
        Ok(())
    }
}

impl Attempt {
    /// Has letters transformed: `out` gets the lake's rows, `again` the letters that fail again.
    fn run(
        &self,
        context: &TierContext,
        letters: impl Iterator<Item = Result<RecordBatch>>,
        out: Sink<'_>,
        again: Sink<'_>,
    ) -> Result<Fates> {
        let letter_schema = super::log::letter_schema(self.shape.schemas.newest());
        let dataset_schema = dataset::schema_of(self.shape.schemas.newest());
        let bucket = context.settings.bucket;
        let mut fates = Fates::default();
        for batch in letters {
            let batch = from_dataset(&batch?, &letter_schema)?;
            let tried = Tried::new(self.shape.schemas.newest(), &batch)?;
            let goes_on = self.transform(&tried, &mut |part, made| {
                fates.add(part, &made);
                let failed = letters_of(
                    &letter_schema,
                    &part.rows,
                    &part.offsets,
                    &part.timestamps_us,
                    &made.failures,
                )?;
                let rows = (&made.made, made.origin.as_deref());
                let rows = lake_rows(&self.shape, bucket, part.source(), Some(rows))?;
                Ok((rows.num_rows() == 0 || out(rows))
                    && (failed.num_rows() == 0
                        || again(to_dataset(
                            &failed,
                            &dataset_schema,
                            bucket,
                            &self.shape.plugin_versions(),
                        )?)))
            })?;
            if !goes_on {
                break;
            }
        }
        Ok(fates)
    }

    /// Hands what is made of rows to `take`, in parts where it is too much at once.
    fn transform(
        &self,
        tried: &Tried,
        take: &mut dyn FnMut(&Tried, MadeRows) -> Result<bool>,
    ) -> Result<bool> {
        let rows = &tried.rows;
        let mut take = |part: Range<usize>, made| take(&tried.slice(part.start, part.len()), made);
        let taken = match &self.plan {
            Some(plan) => {
                let pending = self.pool.submit(plan, rows.clone());
                self.pool.wait_in_parts(plan, rows, pending, &mut take)
            }
            None => nothing_made(rows.num_rows()).and_then(|made| take(0..rows.num_rows(), made)),
        };
        taken.map_err(|error| tried.at_offset(error))
    }
}

impl Fates {
    fn add(&mut self, tried: &Tried, made: &MadeRows) {
        let failed: BTreeSet<u32> = made.failures.iter().map(|failure| failure.row).collect();
        for (row, offset) in (0..).zip(&tried.offsets) {
            match failed.contains(&row) {
                true => self.failed.push(*offset as u64),
                false => self.resolved.push(*offset as u64),
            }
        }
        self.filtered += u64::from(made.filtered);
        self.rows += made.made.num_rows() as u64;
    }
}

/// Letters as rows of the table again.
struct Tried {
    rows: RecordBatch,
    offsets: Vec<i64>,
    timestamps_us: Vec<i64>,
}

impl Tried {
    fn new(schema: &Schema, letters: &RecordBatch) -> Result<Self> {
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let rows = letters
            .project(&columns)
            .map_err(Error::arrow("read dead letters"))?;
        let of = |name| letters.column_by_name(name);
        let offsets = of(OFFSET_COLUMN).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let times =
            of(TIMESTAMP_COLUMN).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        Ok(Self {
            rows,
            offsets: offsets.map(|c| c.values().to_vec()).unwrap_or_default(),
            timestamps_us: times.map(|c| c.values().to_vec()).unwrap_or_default(),
        })
    }

    fn slice(&self, from: usize, rows: usize) -> Self {
        let part = |all: &[i64]| all.iter().skip(from).take(rows).copied().collect();
        Self {
            rows: self.rows.slice(from, rows),
            offsets: part(&self.offsets),
            timestamps_us: part(&self.timestamps_us),
        }
    }

    fn source(&self) -> SourceRows<'_> {
        SourceRows {
            rows: &self.rows,
            offsets: self.offsets.clone(),
            timestamps_us: self.timestamps_us.clone(),
        }
    }

    /// Names the record's offset in place of its row in a batch that nobody knows.
    fn at_offset(&self, error: Error) -> Error {
        match error {
            Error::TransformFailed {
                transform,
                row,
                reason,
            } => Error::RecordFailed {
                transform,
                offset: self.offsets.get(row as usize).copied().unwrap_or_default() as u64,
                reason,
            },
            error => error,
        }
    }
}

fn dropping(before: Progress, letters: u64) -> Progress {
    Progress {
        dead: before.dead.saturating_sub(letters),
        dropped: before.dropped + letters,
        ..before
    }
}

/// The offsets of the rows that meet a condition, those of them that are wanted.
fn offsets_in(
    context: &TierContext,
    lake: &Lake,
    condition: String,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for batch in rows_in(context, lake, condition, Some(&[OFFSET_COLUMN]))? {
        let batch = batch?;
        let offsets = batch.columns().first();
        let offsets = offsets.and_then(|c| c.as_primitive_opt::<Int64Type>());
        let offsets = offsets.map(|c| c.values().as_ref()).unwrap_or_default();
        let offsets = offsets.iter().map(|offset| *offset as u64);
        found.extend(offsets.filter(|offset| is_wanted(*offset)));
    }
    Ok(found)
}

fn rows_in(
    context: &TierContext,
    lake: &Lake,
    filter: String,
    columns: Option<&'static [&'static str]>,
) -> Result<Items<RecordBatch>> {
    let rows = context.executor.run(lake.rows(filter, columns))??;
    Ok(Items::new(&context.executor, rows))
}
