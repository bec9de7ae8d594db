//! Computing what a transform makes for rows that are in the lake already: those that it never saw, and those that it made
//! when it was another.
//!
//! A fragment at a time: its rows are read, transformed, and become a further data file of the fragment, in one commit. What
//! was done is kept in `backfill.json`, so that a process that is killed goes on with the next fragment. Rounds, merges and
//! appends go on meanwhile; a fragment that was merged under its feet is computed once more.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use serde::{Deserialize, Serialize};

use crate::catalog::{PinnedTransform, remove_file, replace_file};
use crate::error::{Error, Result};
use crate::executor::{Items, off_runtime};
use crate::table::TableInner;
use crate::tier::context::TierContext;
use crate::tier::history::{Maker, makers_of};
use crate::tier::lake::{BUCKET_COLUMN, Lake, OFFSET_COLUMN, Replaced};
use crate::tier::writing::{piped, records_of};
use crate::transform::{ChainPlan, MadeRows, Pending, TransformPool};

const FILE_NAME: &str = "backfill.json";
/// Batches that are being transformed at a time.
const BATCHES_AT_WORK: usize = 4;

/// What a backfill did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackfillReport {
    /// The columns that were made anew.
    pub columns: Vec<String>,
    /// Fragments of the lake that got them.
    pub fragments: u64,
    /// Rows that have what the transform makes of them now.
    pub rows: u64,
    /// Rows that the transform failed on, or filtered: they keep what they had.
    pub kept: u64,
    /// Why it failed on the first of those, if it did.
    pub first_failure: Option<String>,
}

/// Which fragments an interrupted backfill had done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Done {
    transform: String,
    maker: Maker,
    fragments: BTreeSet<u64>,
}

impl Done {
    /// What was done of the same, or nothing.
    fn read(directory: &Path, transform: &str, maker: &Maker) -> Self {
        let text = fs::read(directory.join(FILE_NAME)).unwrap_or_default();
        let known: Option<Self> = serde_json::from_slice(&text).ok();
        let is_same = |done: &Self| done.transform == transform && done.maker == *maker;
        known.filter(is_same).unwrap_or_else(|| Self {
            transform: transform.to_owned(),
            maker: maker.clone(),
            fragments: BTreeSet::new(),
        })
    }

    /// Keeps it. Lost, it only costs to compute some fragments again.
    fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        replace_file(&directory.join(FILE_NAME), &text)
    }
}

/// A transform of a table, about to be run over its lake.
struct Backfill<'a> {
    context: &'a TierContext,
    generation: u16,
    name: &'a str,
    transforms: Vec<PinnedTransform>,
    maker: Maker,
    plan: ChainPlan,
    pool: TransformPool,
    /// The columns that are made anew.
    columns: Vec<String>,
    stale: Vec<Range<u64>>,
    report: BackfillReport,
}

/// Computes what a transform of the table makes for the rows of the lake that it has not made as it is now.
pub(crate) fn run(table: &TableInner, transform: &str) -> Result<BackfillReport> {
    off_runtime(|| run_here(table, transform))
}

fn run_here(table: &TableInner, transform: &str) -> Result<BackfillReport> {
    let context = &table.tierer.context;
    let (progress, _) = table.tierer.progress()?;
    let Some(mut backfill) = Backfill::new(context, transform, progress.to)? else {
        return Ok(BackfillReport::default());
    };
    let mut done = Done::read(&context.directory, transform, &backfill.maker);
    let options = context.lake.clone();
    let mut lake = context
        .executor
        .run(async move { Lake::open_existing(&options).await })??;
    loop {
        let next;
        (lake, next) = next_of(lake, context, &done)?;
        let Some(fragment) = next else { break };
        if table.tierer.is_closed() {
            return Err(Error::Unavailable {
                action: "go on with the backfill",
                state: "closed",
            });
        }
        let replaced;
        (lake, replaced) = backfill.fragment(lake, fragment)?;
        if replaced != Some(Replaced::Conflict) {
            done.fragments.insert(fragment);
        }
        if replaced == Some(Replaced::Committed) {
            done.write(&context.directory)?;
        }
    }
    context.history.change(|history| {
        for range in &backfill.stale {
            history.replace(range, transform, &backfill.maker);
        }
    })?;
    remove_file(&context.directory.join(FILE_NAME))?;
    Ok(backfill.report)
}

/// A fragment of the newest version that is not done.
fn next_of(mut lake: Lake, context: &TierContext, done: &Done) -> Result<(Lake, Option<u64>)> {
    let (lake, fragments) = context.executor.run(async move {
        lake.refresh().await?;
        let fragments = lake.fragment_ids();
        Ok::<_, Error>((lake, fragments))
    })??;
    let mut fragments = fragments.into_iter();
    let next = fragments.find(|fragment| !done.fragments.contains(fragment));
    Ok((lake, next))
}

impl<'a> Backfill<'a> {
    /// `None` when the transform made all rows as it is now.
    fn new(context: &'a TierContext, name: &'a str, until: u64) -> Result<Option<Self>> {
        let shape = context.shape();
        let all = shape.transforms();
        let Some(number) = all.iter().position(|pinned| pinned.spec.name == name) else {
            let names: Vec<&str> = all.iter().map(|p| p.spec.name.as_str()).collect();
            let reason = format!("the table has no such transform; it has {names:?}");
            return Err(Error::invalid(format!("transform {name:?}"), reason));
        };
        let transforms = all.get(..=number).unwrap_or_default().to_vec();
        let makers = makers_of(&transforms);
        let Some(maker) = makers.get(name).cloned() else {
            return Ok(None);
        };
        let stale = context.history.read()?.stale(until, name, &maker);
        if stale.is_empty() {
            return Ok(None);
        }
        let limits = &context.settings.limits;
        let table = shape.schemas.newest();
        let Some(whole) = context.plugins.plan(table, &transforms, limits)? else {
            return Ok(None);
        };
        let columns: Vec<String> = whole.columns_of(number).map(str::to_owned).collect();
        let read: Vec<usize> = whole.read_columns().collect();
        let read = table
            .project(&read)
            .map_err(Error::arrow("choose columns"))?;
        check_inputs(&read, &whole, name)?;
        let Some(plan) = context.plugins.plan(&Arc::new(read), &transforms, limits)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            context,
            generation: shape.generation(),
            name,
            maker,
            plan,
            pool: context.plugins.pool()?,
            report: BackfillReport {
                columns: columns.clone(),
                ..BackfillReport::default()
            },
            columns,
            stale,
            transforms,
        }))
    }

    /// Makes the columns of a fragment, if it has rows that need it, and commits them.
    fn fragment(&mut self, lake: Lake, fragment: u64) -> Result<(Lake, Option<Replaced>)> {
        if self.context.shape().generation() != self.generation {
            return Err(Error::invalid(
                format!("transform {:?}", self.name),
                "the table's transforms were replaced meanwhile; begin the backfill anew",
            ));
        }
        let own = [BUCKET_COLUMN.to_owned(), OFFSET_COLUMN.to_owned()];
        let mut is_stale = false;
        for batch in self.rows_of(&lake, fragment, &own)? {
            is_stale |= !self.stale_rows(&batch?)?.is_empty();
        }
        if !is_stale {
            return Ok((lake, None));
        }
        let inputs = self.plan.input_schema().fields().iter();
        let inputs = inputs.map(|field| field.name().clone());
        let mut read: Vec<String> = inputs.chain(own).collect();
        read.extend(
            self.columns
                .iter()
                .filter(|c| !read.contains(c))
                .cloned()
                .collect::<Vec<_>>(),
        );
        let rows = self.rows_of(&lake, fragment, &read)?;

        let schema = lake.schema();
        let fields = self
            .columns
            .iter()
            .map(|name| schema.field_with_name(name).cloned());
        let fields = fields.collect::<std::result::Result<Vec<Field>, _>>();
        let made_schema: SchemaRef =
            Arc::new(Schema::new(fields.map_err(Error::arrow("find columns"))?));
        let columns = self.columns.clone();
        let write = |batches| lake.write_columns(fragment, &columns, batches);
        let (made, written) = piped(&self.context.executor, write, |sink| {
            self.make(rows, &made_schema, sink)
        })?;
        made?;
        let written = written?;

        crate::crash::crash_point("backfill: written");
        let (name, makers) = (self.name.to_owned(), records_of(&self.transforms));
        let mut lake = lake;
        let (lake, replaced) = self.context.executor.run(async move {
            let replaced = lake.commit_columns(written, &name, &makers).await;
            (lake, replaced)
        })?;
        let replaced = replaced?;
        self.report.fragments += u64::from(replaced == Replaced::Committed);
        Ok((lake, Some(replaced)))
    }

    fn rows_of(
        &self,
        lake: &Lake,
        fragment: u64,
        columns: &[String],
    ) -> Result<Items<RecordBatch>> {
        let executor = &self.context.executor;
        let rows = executor.run(lake.fragment_rows(fragment, columns))??;
        Ok(Items::new(executor, rows))
    }

    /// Hands each batch's columns to the sink, with the values of stale rows made anew.
    fn make(
        &mut self,
        rows: Items<RecordBatch>,
        schema: &SchemaRef,
        sink: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<()> {
        let mut at_work = VecDeque::new();
        for batch in rows {
            let batch = batch?;
            let stale = self.stale_rows(&batch)?;
            let inputs = self.inputs(&batch, &stale)?;
            let pending = (!stale.is_empty()).then(|| self.pool.submit(&self.plan, inputs.clone()));
            at_work.push_back((batch, stale, inputs, pending));
            if at_work.len() >= BATCHES_AT_WORK
                && let Some(first) = at_work.pop_front()
                && !self.finish(first, schema, sink)?
            {
                return Ok(());
            }
        }
        while let Some(next) = at_work.pop_front() {
            if !self.finish(next, schema, sink)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn finish(
        &mut self,
        (batch, stale, inputs, pending): (RecordBatch, Vec<u32>, RecordBatch, Option<Pending>),
        schema: &SchemaRef,
        sink: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        let mut parts = Vec::new();
        if let Some(pending) = pending {
            let mut keep = |part: Range<usize>, made| {
                parts.push((part.start, made));
                Ok(true)
            };
            self.pool
                .wait_in_parts(&self.plan, &inputs, pending, &mut keep)?;
        }
        let columns = self.merged(&batch, &stale, &parts, schema)?;
        let rows = RecordBatch::try_new(Arc::clone(schema), columns);
        Ok(sink(rows.map_err(Error::arrow("join what was made"))?))
    }

    /// The rows of a batch that the transform is to make anew.
    fn stale_rows(&self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let missing = || Error::Internal {
            reason: "the lake gave rows without their bucket, offset or row id".to_owned(),
        };
        let of = |name| batch.column_by_name(name);
        let buckets = of(BUCKET_COLUMN).and_then(|c| c.as_primitive_opt::<Int32Type>());
        let offsets = of(OFFSET_COLUMN).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let ids = of("_rowid").ok_or_else(missing)?;
        let (buckets, offsets) = (buckets.ok_or_else(missing)?, offsets.ok_or_else(missing)?);
        let bucket = self.context.settings.bucket;
        let rows = (0_u32..).zip(buckets.values()).zip(offsets.values());
        let stale = rows.filter(|((row, of), offset)| {
            let is_there = ids.is_valid(*row as usize);
            is_there && **of == bucket && self.stale.iter().any(|r| r.contains(&(**offset as u64)))
        });
        Ok(stale.map(|((row, _), _)| row).collect())
    }

    /// What the transforms read, of some rows.
    fn inputs(&self, batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
        let failed = || Error::arrow("read what the transforms read");
        let rows = UInt32Array::from(rows.to_vec());
        let schema = self.plan.input_schema();
        let columns = schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                let what = format!("column {:?}", field.name());
                Error::invalid(what, "is not in the lake")
            })?;
            let column = take(column, &rows, None).map_err(failed())?;
            // A blob is a binary here, of either size.
            arrow_cast::cast(&column, field.data_type()).map_err(failed())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(failed())
    }

    /// The columns of a batch, the stale rows' values from what was made of them, all others as they are.
    fn merged(
        &mut self,
        batch: &RecordBatch,
        stale: &[u32],
        parts: &[(usize, MadeRows)],
        schema: &SchemaRef,
    ) -> Result<Vec<ArrayRef>> {
        let failed = || Error::arrow("join what was made");
        let mut places: Vec<(usize, usize)> = (0..batch.num_rows()).map(|row| (0, row)).collect();
        for (number, (from, made)) in (1..).zip(parts) {
            let origin: Vec<u32> = match &made.origin {
                Some(origin) => origin.clone(),
                None => (0..made.made.num_rows() as u32).collect(),
            };
            if origin.windows(2).any(|pair| pair.first() == pair.last()) {
                return Err(Error::Transform {
                    transform: self.name.to_owned(),
                    reason: "it makes several rows of one, which cannot be a column of rows that are there".to_owned(),
                });
            }
            for (made_row, row) in origin.iter().enumerate() {
                let row = stale.get(from + *row as usize);
                if let Some(place) = row.and_then(|row| places.get_mut(*row as usize)) {
                    *place = (number, made_row);
                }
            }
            self.report.rows += origin.len() as u64;
            self.report.kept += made.failures.len() as u64 + u64::from(made.filtered);
            if self.report.first_failure.is_none() {
                self.report.first_failure = made.failures.first().map(|f| f.message.clone());
            }
        }
        let columns = schema.fields().iter().map(|field| {
            let absent = || Error::invalid(format!("column {:?}", field.name()), "was not made");
            let old = batch.column_by_name(field.name()).ok_or_else(absent)?;
            let made = parts
                .iter()
                .map(|(_, made)| made.made.column_by_name(field.name()));
            let mut sources = vec![arrow_cast::cast(old, field.data_type()).map_err(failed())?];
            for made in made {
                let made = made.ok_or_else(absent)?;
                sources.push(arrow_cast::cast(made, field.data_type()).map_err(failed())?);
            }
            let sources: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
            interleave(&sources, &places).map_err(failed())
        });
        columns.collect()
    }
}

/// Refuses transforms that read what one of them overwrites: the lake does not have what was appended.
fn check_inputs(read: &Schema, plan: &ChainPlan, name: &str) -> Result<()> {
    let overwritten = read.fields().iter();
    let mut overwritten =
        overwritten.filter(|field| plan.made_schema().field_with_name(field.name()).is_ok());
    match overwritten.next() {
        None => Ok(()),
        Some(field) => Err(Error::Transform {
            transform: name.to_owned(),
            reason: format!(
                "it reads column {:?}, which the transforms overwrite: the lake does not have what was appended, so it cannot be made anew",
                field.name()
            ),
        }),
    }
}

#[cfg(test)]
mod tests;
