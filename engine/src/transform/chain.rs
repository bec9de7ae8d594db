//! A table's transforms, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, SchemaRef};

use super::host::PluginHost;
use super::instance::{Asset, Assets};
use super::limits::Limits;
use super::plugin::Plugin;
use super::spec::{OnError, TransformSpec};
use super::stage::{Stage, Staged};
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

/// The transforms of a table, wired to its schema and open. `Send`: a worker thread has one of its own.
pub struct Chain {
    input: SchemaRef,
    output: SchemaRef,
    stages: Vec<Stage>,
}

/// What a [`Chain`] made of a batch.
#[derive(Debug, Clone)]
pub struct Transformed {
    /// The rows, in [`Chain::output_schema`].
    pub batch: RecordBatch,
    /// For each of those rows the row of the original batch that it comes from, never decreasing.
    /// `None`: the rows are one to one.
    pub origin: Option<Vec<u32>>,
    /// The records that failed, ascending, each once; no row comes from them.
    pub failures: Vec<RowFailure>,
    /// How many records of the original batch were filtered out.
    pub filtered: u32,
    /// How many failures were turned into nulls, as their transform's `on_error` says.
    pub nulled: u32,
}

/// A record that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFailure {
    /// The record's row in the original batch.
    pub row: u32,
    /// The transform that failed on it.
    pub transform: String,
    /// SHA-256 of the transform's plugin, in lower-case hex.
    pub plugin_sha256: String,
    /// Why, for a person to read.
    pub message: String,
}

/// Which plugin a transform runs, for status and for a commit's properties.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TransformDescription {
    /// The transform's name.
    pub name: String,
    /// The plugin's name.
    pub plugin: String,
    /// SHA-256 of the plugin, in lower-case hex.
    pub plugin_sha256: String,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("transforms", &self.descriptions())
            .finish_non_exhaustive()
    }
}

impl Chain {
    /// Opens every transform and wires it to the columns that the table, or an earlier transform, has.
    /// An output that has the name of a column replaces it; the others are added at the end. With
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
            if stages.iter().any(|stage| stage.name == name) {
                return Err(refuse(
                    "there is another transform of that name; rename one".to_owned(),
                ));
            }
            let stage = Stage::new(bound, &output, &limits).map_err(refuse)?;
            output = stage.schema.clone();
            stages.push(stage);
        }
        Ok(Self {
            input: schema,
            output,
            stages,
        })
    }

    /// The schema of what [`apply`](Self::apply) returns.
    pub fn output_schema(&self) -> SchemaRef {
        self.output.clone()
    }

    /// The transforms, in order.
    pub fn descriptions(&self) -> Vec<TransformDescription> {
        let stages = self.stages.iter();
        let described = stages.map(|stage| TransformDescription {
            name: stage.name.clone(),
            plugin: stage.plugin.name().to_owned(),
            plugin_sha256: stage.plugin.sha256().to_owned(),
        });
        described.collect()
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
        self.check_batch(batch)?;
        let rows = batch.num_rows();
        let mut batch = batch.clone();
        let mut origin: Option<Vec<u32>> = None;
        let mut failed: BTreeMap<u32, RowFailure> = BTreeMap::new();
        let mut nulled = 0_u32;
        for stage in &mut self.stages {
            let Staged {
                batch: made,
                origin: from,
                failures,
                nulled: nulls,
            } = stage.run(&batch).map_err(|error| match error {
                ArrowError::MemoryError(reason) => Error::TransformOutput {
                    transform: stage.name.clone(),
                    rows: rows as u64,
                    reason,
                },
                error => Error::arrow("transform a batch")(error),
            })?;
            nulled = nulled.saturating_add(nulls);
            for (row, message) in failures {
                let row = original(origin.as_deref(), row);
                if stage.on_error == OnError::Fail {
                    return Err(Error::TransformFailed {
                        transform: stage.name.clone(),
                        row: row.into(),
                        reason: message,
                    });
                }
                failed.entry(row).or_insert_with(|| RowFailure {
                    row,
                    transform: stage.name.clone(),
                    plugin_sha256: stage.plugin.sha256().to_owned(),
                    message,
                });
            }
            if let Some(from) = from {
                origin = Some(
                    from.into_iter()
                        .map(|row| original(origin.as_deref(), row))
                        .collect(),
                );
            }
            batch = made;
        }
        let (batch, origin) = without(batch, origin, &failed)?;
        let present = origin
            .as_ref()
            .map_or(rows, |o| o.iter().collect::<BTreeSet<_>>().len());
        Ok(Transformed {
            batch,
            origin,
            filtered: u32::try_from(rows.saturating_sub(present + failed.len()))
                .unwrap_or(u32::MAX),
            failures: failed.into_values().collect(),
            nulled,
        })
    }

    fn check_batch(&self, batch: &RecordBatch) -> Result<()> {
        let same = batch.num_columns() == self.input.fields().len()
            && batch
                .schema()
                .fields()
                .iter()
                .zip(self.input.fields())
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        match same && u32::try_from(batch.num_rows()).is_ok() {
            true => Ok(()),
            false => Err(Error::invalid(
                "batch",
                format!(
                    "its schema is not the chain's: {} instead of {}",
                    batch.schema(),
                    self.input
                ),
            )),
        }
    }
}

fn original(origin: Option<&[u32]>, row: u32) -> u32 {
    origin
        .and_then(|o| o.get(row as usize))
        .copied()
        .unwrap_or(row)
}

/// Drops what an earlier transform made of records that a later one failed on.
fn without(
    batch: RecordBatch,
    origin: Option<Vec<u32>>,
    failed: &BTreeMap<u32, RowFailure>,
) -> Result<(RecordBatch, Option<Vec<u32>>)> {
    let Some(rows) = origin
        .as_ref()
        .filter(|o| o.iter().any(|row| failed.contains_key(row)))
    else {
        return Ok((batch, origin));
    };
    let kept = rows
        .iter()
        .zip(0_u32..)
        .filter(|(row, _)| !failed.contains_key(row));
    let (origin, indices): (Vec<u32>, Vec<u32>) = kept.map(|(row, index)| (*row, index)).unzip();
    let batch = arrow_select::take::take_record_batch(&batch, &UInt32Array::from(indices))
        .map_err(Error::arrow("transform a batch"))?;
    Ok((batch, Some(origin)))
}
