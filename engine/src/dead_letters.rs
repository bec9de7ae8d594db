//! A table's dead letters, as its users see them: read, retried, dropped.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;

use crate::error::{Error, Result};
use crate::executor::off_runtime;
use crate::read::query::{self, QueryResult, Source};
use crate::table::TableInner;
use crate::tier::context::TierContext;
use crate::tier::dead_letters::dataset::{from_dataset, options_of, schema_of};
use crate::tier::dead_letters::log::{self, Letters, TRANSFORM_COLUMN, letter_schema};
use crate::tier::dead_letters::resolution::Resolution;
use crate::tier::dead_letters::resolve::Attempt;
use crate::tier::dead_letters::{STEP, start_of};
use crate::tier::lake::{BUCKET_COLUMN, Lake, OFFSET_COLUMN, Progress, rows_with};
use crate::tier::tierer::Open;

/// Which dead letters are meant; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    offsets: Option<Range<u64>>,
    transform: Option<String>,
    limit: Option<usize>,
}

impl DeadLetterFilter {
    /// All dead letters of a table.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those of rows with these offsets.
    #[must_use]
    pub fn offsets(mut self, offsets: Range<u64>) -> Self {
        self.offsets = Some(offsets);
        self
    }

    /// Only those that this transform failed on.
    #[must_use]
    pub fn transform(mut self, name: impl Into<String>) -> Self {
        self.transform = Some(name.into());
        self
    }

    /// So many at most, those of the lowest offsets.
    #[must_use]
    pub fn limit(mut self, letters: usize) -> Self {
        self.limit = Some(letters);
        self
    }

    /// The filter as a condition on the rows of the dataset.
    fn condition(&self, bucket: i32) -> String {
        let mut condition = match &self.offsets {
            Some(offsets) => rows_with(bucket, offsets),
            None => format!("{BUCKET_COLUMN} = {bucket}"),
        };
        if let Some(transform) = &self.transform {
            let name = transform.replace('\'', "''");
            condition += &format!(" AND {TRANSFORM_COLUMN} = '{name}'");
        }
        condition
    }
}

/// What became of dead letters that were retried.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RetryReport {
    /// How many were tried.
    pub retried: u64,
    /// How many of them are in the lake now.
    pub recovered: u64,
    /// How many of them a transform filtered.
    pub filtered: u64,
    /// How many of them failed again: they are dead letters still, with what they failed on now.
    pub failed: u64,
}

/// Puts dead letters through the table's transforms again.
pub(crate) fn retry(table: &TableInner, filter: &DeadLetterFilter) -> Result<RetryReport> {
    let context = &table.tierer.context;
    // Nobody replaces the transforms meanwhile.
    let _alone = context.altering.lock();
    let shape = context.shape();
    let limits = &context.settings.limits;
    let attempt = Attempt {
        plan: context
            .plugins
            .plan(shape.schemas.newest(), shape.transforms(), limits)?,
        pool: context.plugins.pool()?,
        shape,
    };
    let offsets = matching(table, filter)?;
    let offsets = change(table, |context, mut open| {
        let (dead, lake) = (&mut open.dead, &open.lake);
        let offsets = dead.without_those_in(context, lake, &open.progress, offsets)?;
        Ok((open, offsets))
    })?;
    let mut report = RetryReport::default();
    for step in offsets.chunks(STEP) {
        let fates = change(table, |context, mut open| {
            let (lake, progress, fates) =
                open.dead
                    .retry(context, open.lake, open.progress, &attempt, step)?;
            (open.lake, open.progress) = (lake, progress);
            Ok((open, fates))
        })?;
        let (resolved, failed) = (fates.resolved.len() as u64, fates.failed.len() as u64);
        report.retried += resolved + failed;
        report.recovered += resolved.saturating_sub(fates.filtered);
        report.filtered += fates.filtered;
        report.failed += failed;
    }
    Ok(report)
}

/// Drops dead letters; how many.
pub(crate) fn drop_those(table: &TableInner, filter: &DeadLetterFilter) -> Result<u64> {
    let is_all = *filter == DeadLetterFilter::all();
    let offsets = match matching(table, filter) {
        // Where the dataset is gone they can only be dropped together.
        Err(Error::LakeMismatch { .. }) if is_all && is_gone(table)? => Vec::new(),
        offsets => offsets?,
    };
    for step in offsets.chunks(STEP) {
        change(table, |context, mut open| {
            let dead = &mut open.dead;
            (open.lake, open.progress) =
                dead.drop_those(context, open.lake, open.progress, step.to_vec())?;
            Ok((open, ()))
        })?;
    }
    let lost = match is_all {
        false => 0,
        true => change(table, |context, mut open| {
            let lost = open.progress.dead;
            if lost > 0 {
                (open.lake, open.progress) =
                    open.dead.drop_lost(context, open.lake, open.progress)?;
            }
            Ok((open, lost))
        })?,
    };
    Ok(offsets.len() as u64 + lost)
}

/// Whether there is no dataset of dead letters.
fn is_gone(table: &TableInner) -> Result<bool> {
    let context = &table.tierer.context;
    let options = options_of(&context.lake);
    let opened = context
        .executor
        .run(async move { Lake::open(&options).await })??;
    Ok(opened.is_none())
}

/// The offsets of the dead letters that a filter means, ascending.
fn matching(table: &TableInner, filter: &DeadLetterFilter) -> Result<Vec<u64>> {
    let mut offsets = change(table, |context, mut open| {
        let condition = filter.condition(context.settings.bucket);
        let offsets = open.dead.matching(context, &open.progress, condition)?;
        Ok((open, offsets))
    })?;
    offsets.truncate(filter.limit.unwrap_or(usize::MAX));
    Ok(offsets)
}

/// Does something to the lake and the dead letters, on a thread that is no runtime's, as the writing blocks.
fn change<T: Send>(
    table: &TableInner,
    work: impl FnOnce(&TierContext, Open) -> Result<(Open, T)> + Send,
) -> Result<T> {
    off_runtime(|| table.tierer.with_dead_letters(&table.raw, work))
}

/// A table's dead letters, read as they are needed. An iterator of batches.
pub struct DeadLetterRows {
    schema: SchemaRef,
    settled: Option<QueryResult>,
    rest: Option<Letters>,
    /// Offsets of letters that are none any more.
    resolved: HashSet<u64>,
}

impl fmt::Debug for DeadLetterRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterRows")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl DeadLetterRows {
    /// The table's columns, `__offset`, `__timestamp`, `__transform`, `__plugin` and `__error`.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn without_resolved(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let offsets = batch.column_by_name(OFFSET_COLUMN);
        let offsets = offsets.and_then(|c| c.as_primitive_opt::<Int64Type>());
        let (Some(offsets), false) = (offsets, self.resolved.is_empty()) else {
            return Ok(batch);
        };
        let is_dead = |offset: &i64| Some(!self.resolved.contains(&(*offset as u64)));
        let dead: BooleanArray = offsets.values().iter().map(is_dead).collect();
        filter_record_batch(&batch, &dead).map_err(Error::arrow("read dead letters"))
    }
}

impl Iterator for DeadLetterRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let settled = self.settled.as_mut().and_then(Iterator::next);
            let batch = match settled {
                Some(batch) => batch.and_then(|batch| match batch.num_columns() {
                    1 => Ok(batch),
                    _ => from_dataset(&batch, &self.schema),
                }),
                None => self.rest.as_mut().and_then(Iterator::next)?,
            };
            match batch.and_then(|batch| self.without_resolved(batch)) {
                Ok(batch) if batch.num_rows() == 0 => {}
                batch => return Some(batch),
            }
        }
    }
}

/// The dead letters of rounds that are in the lake: those of the dataset, then those that are only in the log. Of those of
/// the dataset only some columns, if need be.
pub(crate) fn read(table: &TableInner, columns: &str) -> Result<DeadLetterRows> {
    let context = &table.tierer.context;
    let (shape, directory) = (context.shape(), &context.directory);
    let resolution = Resolution::read(directory)?;
    let (lake, _) = context.lake_progress()?;
    let resolved = resolution.filter(|resolution| resolution.is_in(&lake));
    // The log first: what leaves it meanwhile is in the dataset by then.
    let letters = || log::read(directory, context.table_id, &shape.schemas, 0..lake.to);
    let rest = letters()?;
    let (settled, from) = match settled_to(context)? {
        Some(to) => (Some(settled(context, columns, to)?), to),
        None => {
            let count = |rows: Range<u64>| {
                let letters = letters()?.map(|letters| letters.starting_at(rows.start));
                let letters = letters.into_iter().flatten();
                letters.map(|batch| Ok(batch?.num_rows() as u64)).sum()
            };
            (None, start_of(context, &lake, count)?)
        }
    };
    Ok(DeadLetterRows {
        schema: letter_schema(shape.schemas.newest()),
        settled,
        rest: rest.map(|letters| letters.starting_at(from)),
        resolved: resolved.map_or_else(HashSet::new, |r| r.offsets.into_iter().collect()),
    })
}

/// Up to which offset the table's dead letters are in the dataset; `None` when there is none.
fn settled_to(context: &TierContext) -> Result<Option<u64>> {
    let options = options_of(&context.lake);
    let (table_id, bucket) = (context.table_id, context.settings.bucket);
    context.executor.run(async move {
        let Some(lake) = Lake::open(&options).await? else {
            return Ok(None);
        };
        let Progress { to, .. } = lake.progress(table_id, bucket).await?;
        Ok(Some(to))
    })?
}

fn settled(context: &TierContext, columns: &str, to: u64) -> Result<QueryResult> {
    let bucket = context.settings.bucket;
    let sql = format!(
        "SELECT {columns} FROM letters WHERE {BUCKET_COLUMN} = {bucket} AND {OFFSET_COLUMN} < {to} ORDER BY {OFFSET_COLUMN}"
    );
    let source = Source {
        name: "letters".to_owned(),
        lake: options_of(&context.lake),
        schema: Some(schema_of(context.shape().schemas.newest())),
    };
    query::run(&context.executor, sql, vec![source])
}
