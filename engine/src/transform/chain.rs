//! A table's transforms, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Fields, Schema, SchemaRef};
use parking_lot::Mutex;

use super::host::PluginHost;
use super::instance::{Asset, Assets};
use super::limits::Limits;
use super::made_rows::{MadeRows, RowFailure, Transformed};
use super::plugin::Plugin;
use super::spec::{OnError, TransformSpec};
use super::stage::{Stage, StagePlan, Wanted};
use super::view::View;
use super::wiring::Source;
use crate::{Error, Result};

/// A transform and what it needs to run.
#[derive(Debug, Clone)]
pub struct BoundTransform {
    /// What the user wrote down.
    pub spec: TransformSpec,
    /// Its plugin, compiled.
    pub plugin: Plugin,
    /// What the plugin may read, by name.
    pub assets: Assets,
}

impl BoundTransform {
    /// Binds a transform to its plugin, and grants it the files that it lists as its assets.
    pub fn new(spec: TransformSpec, plugin: Plugin) -> Self {
        let files = spec.assets.iter();
        let assets = files
            .map(|(name, path)| (name.clone(), Asset::File(path.clone())))
            .collect();
        Self {
            spec,
            plugin,
            assets,
        }
    }
}

/// Which plugin a transform runs, for status and for a commit's properties.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TransformDescription {
    /// The transform's name.
    pub name: String,
    /// The plugin's name.
    pub plugin: String,
    /// The version that the plugin says it has.
    pub plugin_version: Option<String>,
    /// SHA-256 of the plugin, in lower-case hex.
    pub plugin_sha256: String,
}

/// The transforms of a table, wired to its schema: immutable, and shared by all who run them, as the
/// workers of a [`TransformPool`](super::TransformPool). Clones are cheap, and are the same plan.
#[derive(Clone)]
pub struct ChainPlan {
    pub(super) inner: Arc<PlanInner>,
}

/// Where a column of the rows comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// The input schema's column.
    Table(usize),
    /// The stage that makes it.
    Stage(usize),
}

pub(super) struct PlanInner {
    input: SchemaRef,
    output: SchemaRef,
    made: SchemaRef,
    made_columns: Vec<usize>,
    read_columns: BTreeSet<usize>,
    /// Of each made column the stage that makes it.
    makers: Vec<usize>,
    stages: Vec<Arc<StagePlan>>,
    /// Open instances that nobody uses, the last used last; they go when the plan goes.
    idle: Mutex<Vec<Vec<Stage>>>,
}

/// A chain's own instances: what runs a [`ChainPlan`] on one batch after the other. `Send`.
pub struct Chain {
    plan: ChainPlan,
    stages: Vec<Stage>,
}

impl fmt::Debug for ChainPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainPlan")
            .field("transforms", &self.descriptions())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("transforms", &self.descriptions())
            .finish_non_exhaustive()
    }
}

impl ChainPlan {
    /// Opens every transform once and wires it to the columns that the table, or an earlier transform,
    /// has. An output that has the name of a column replaces it; the others are added at the end. With
    /// [`OnError::Null`] a transform's outputs are nullable.
    ///
    /// # Errors
    /// [`Error::Transform`] when two transforms share a name, a plugin refuses its configuration, or its
    /// columns do not fit. [`Error::Plugin`] when a plugin was compiled by another host.
    pub fn new(
        host: &PluginHost,
        schema: SchemaRef,
        transforms: Vec<BoundTransform>,
        limits: Limits,
    ) -> Result<Self> {
        let mut output = schema.clone();
        let mut stages: Vec<Stage> = Vec::with_capacity(transforms.len());
        let mut origins: Vec<_> = (0..schema.fields().len()).map(Origin::Table).collect();
        let mut read_columns = BTreeSet::new();
        for bound in transforms {
            let name = bound.spec.name.clone();
            let refuse = |reason| Error::Transform {
                transform: name.clone(),
                reason,
            };
            if !wasmtime::Engine::same(host.engine(), bound.plugin.host().engine()) {
                return Err(Error::Plugin {
                    plugin: bound.plugin.name().to_owned(),
                    reason: "it was compiled by another plugin host".to_owned(),
                });
            }
            if stages.iter().any(|stage| stage.plan.name == name) {
                return Err(refuse(
                    "there is another transform of that name; rename one".to_owned(),
                ));
            }
            let stage = Stage::new(bound, &output, &limits).map_err(refuse)?;
            output = stage.plan.schema.clone();
            let read = stage.plan.inputs().iter();
            read_columns.extend(read.filter_map(|index| match origins.get(*index) {
                Some(Origin::Table(column)) => Some(*column),
                _ => None,
            }));
            let number = stages.len();
            let made = stage.plan.layout.iter().map(|source| match source {
                Source::Passed(index) => origins.get(*index).copied(),
                Source::Made(_) => None,
            });
            origins = made
                .map(|origin| origin.unwrap_or(Origin::Stage(number)))
                .collect();
            stages.push(stage);
        }
        let stage_of = |origin: &Origin| match origin {
            Origin::Stage(number) => Some(*number),
            Origin::Table(_) => None,
        };
        let made = origins.iter().enumerate();
        let made = made.filter_map(|(column, origin)| Some((column, stage_of(origin)?)));
        let (made_columns, makers): (Vec<usize>, Vec<usize>) = made.unzip();
        let made = made_columns.iter().filter_map(|i| output.fields().get(*i));
        let made: Fields = made.cloned().collect();
        Ok(Self {
            inner: Arc::new(PlanInner {
                input: schema,
                output,
                made: Arc::new(Schema::new(made)),
                made_columns,
                makers,
                read_columns,
                stages: stages.iter().map(|stage| stage.plan.clone()).collect(),
                // The first who runs it need not open them again.
                idle: Mutex::new(vec![stages]),
            }),
        })
    }

    /// The schema of the batches that it transforms.
    pub fn input_schema(&self) -> &SchemaRef {
        &self.inner.input
    }

    /// The schema of the whole rows that come out: the columns that passed and those that were made.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.inner.output
    }

    /// The columns of the output schema that transforms make; all others pass through untouched.
    pub fn made_columns(&self) -> &[usize] {
        &self.inner.made_columns
    }

    /// The schema of [`MadeRows::made`]: the made columns of the output schema, without its metadata.
    pub fn made_schema(&self) -> &SchemaRef {
        &self.inner.made
    }

    /// The columns of the input schema that transforms read, ascending.
    pub fn read_columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.inner.read_columns.iter().copied()
    }

    /// The columns of [`made_schema`](Self::made_schema) that the transform of that number makes, by name.
    pub fn columns_of(&self, transform: usize) -> impl Iterator<Item = &str> {
        let made = self.inner.made.fields().iter().zip(&self.inner.makers);
        made.filter(move |(_, maker)| **maker == transform)
            .map(|(field, _)| field.name().as_str())
    }

    /// The transforms, in order.
    pub fn descriptions(&self) -> Vec<TransformDescription> {
        let stages = self.inner.stages.iter();
        let described = stages.map(|stage| TransformDescription {
            name: stage.name.clone(),
            plugin: stage.plugin.name().to_owned(),
            plugin_version: stage.plugin.version().map(str::to_owned),
            plugin_sha256: stage.plugin.sha256().to_owned(),
        });
        described.collect()
    }

    /// Gives the plan to a single thread, with instances of its own.
    pub fn open(&self) -> Chain {
        Chain {
            stages: self.take_stages(),
            plan: self.clone(),
        }
    }

    /// Transforms a batch on instances that nobody else uses, as long as it is wanted, and keeps them
    /// for the next.
    pub(super) fn run(&self, batch: &RecordBatch, wanted: Wanted<'_>) -> Result<MadeRows> {
        let mut stages = self.take_stages();
        let made = self.apply(&mut stages, batch, wanted);
        self.inner.idle.lock().push(stages);
        made
    }

    /// Closes the instances that nobody uses.
    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.inner.idle.lock());
        drop(idle);
    }

    /// How many sets of instances nobody uses.
    #[cfg(test)]
    pub(super) fn idle_sets(&self) -> usize {
        self.inner.idle.lock().len()
    }

    fn take_stages(&self) -> Vec<Stage> {
        let idle = self.inner.idle.lock().pop();
        idle.unwrap_or_else(|| self.inner.stages.iter().cloned().map(Stage::idle).collect())
    }

    fn apply(
        &self,
        stages: &mut [Stage],
        batch: &RecordBatch,
        wanted: Wanted<'_>,
    ) -> Result<MadeRows> {
        self.check_batch(batch)?;
        let rows = batch.num_rows();
        let mut view = View::new(batch);
        let mut failed: BTreeMap<u32, RowFailure> = BTreeMap::new();
        let mut nulled = 0_u32;
        for stage in stages {
            let staged = stage.run(&view, wanted).map_err(|error| match error {
                ArrowError::MemoryError(reason) => Error::TransformOutput {
                    transform: stage.plan.name.clone(),
                    rows: rows as u64,
                    reason,
                },
                error => cannot(error),
            })?;
            stage.recycle();
            nulled = nulled.saturating_add(staged.nulled);
            for (row, message) in staged.failures {
                let row = view.original_row(row);
                if stage.plan.on_error == OnError::Fail {
                    return Err(Error::TransformFailed {
                        transform: stage.plan.name.clone(),
                        row: row.into(),
                        reason: message,
                    });
                }
                failed.entry(row).or_insert_with(|| RowFailure {
                    row,
                    transform: stage.plan.name.clone(),
                    plugin_sha256: stage.plan.plugin.sha256().to_owned(),
                    message,
                });
            }
            view.advance(&stage.plan.layout, &staged.columns, staged.from)
                .map_err(cannot)?;
        }
        view.drop_rows(|row| failed.contains_key(&row))
            .map_err(cannot)?;
        let out = view.rows();
        let (columns, origin) = view.finish();
        let present = origin
            .as_ref()
            .map_or(rows, |o| o.iter().collect::<BTreeSet<_>>().len());
        let options = RecordBatchOptions::new().with_row_count(Some(out));
        let made = self.inner.made.clone();
        Ok(MadeRows {
            made: RecordBatch::try_new_with_options(made, columns, &options).map_err(cannot)?,
            origin,
            filtered: u32::try_from(rows.saturating_sub(present + failed.len()))
                .unwrap_or(u32::MAX),
            failures: failed.into_values().collect(),
            nulled,
        })
    }

    fn check_batch(&self, batch: &RecordBatch) -> Result<()> {
        let input = &self.inner.input;
        let same = batch.num_columns() == input.fields().len()
            && batch
                .schema()
                .fields()
                .iter()
                .zip(input.fields())
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        match same && u32::try_from(batch.num_rows()).is_ok() {
            true => Ok(()),
            false => Err(Error::invalid(
                "batch",
                format!(
                    "its schema is not the chain's: {} instead of {input}",
                    batch.schema(),
                ),
            )),
        }
    }
}

fn cannot(error: ArrowError) -> Error {
    Error::arrow("transform a batch")(error)
}

impl Chain {
    /// A chain for a single thread: [`ChainPlan::new`], opened.
    ///
    /// # Errors
    /// As [`ChainPlan::new`].
    pub fn new(
        host: &PluginHost,
        schema: SchemaRef,
        transforms: Vec<BoundTransform>,
        limits: Limits,
    ) -> Result<Self> {
        Ok(ChainPlan::new(host, schema, transforms, limits)?.open())
    }

    /// The schema of what [`apply`](Self::apply) returns.
    pub fn output_schema(&self) -> SchemaRef {
        self.plan.output_schema().clone()
    }

    /// The transforms, in order.
    pub fn descriptions(&self) -> Vec<TransformDescription> {
        self.plan.descriptions()
    }

    /// Transforms a batch. Columns that no transform makes pass through, shared where the rows are one to one.
    ///
    /// Rows go to a plugin in batches within [`Limits`]. A batch that traps, runs past its deadline,
    /// runs out of memory or returns what can't be is tried again in ever smaller parts, on a fresh
    /// instance, until the guilty record is alone; that record fails and the others go on. A record
    /// that a transform fails on is out as a whole, even if an earlier transform made many of it.
    ///
    /// The failed calls on one plugin batch may take 10 times the deadline; from then on the deadline is a
    /// tenth: a plugin that hangs on every row costs at most 10 minutes per 1024 rows with the default
    /// limits, not 85.
    ///
    /// # Errors
    /// [`Error::TransformOutput`] when what is made of the batch is too much at once: halve the batch.
    /// [`Error::TransformFailed`] when a record fails in a transform whose `on_error` is `fail`;
    /// [`Error::Invalid`] when the batch isn't of the chain's schema; [`Error::Arrow`] when its
    /// rows can't be put together, as when they are larger than an Arrow array can be, or when a plugin
    /// that opened before can't be opened again.
    pub fn apply(&mut self, batch: &RecordBatch) -> Result<Transformed> {
        let made = self.plan.apply(&mut self.stages, batch, &|| true)?;
        made.complete(self.plan.output_schema(), batch)
    }
}
