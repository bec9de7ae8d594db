//! What comes out of a chain.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::take::take;

use crate::{Error, Result};

/// What the transforms made of a batch, without the columns that passed through: those stay in the
/// batch that it was made of, and [`assemble`] puts both together.
#[derive(Debug, Clone)]
pub struct MadeRows {
    /// The columns that transforms made, in [`ChainPlan::made_schema`](super::ChainPlan::made_schema):
    /// one row for each that comes out. Where each belongs in the whole tells
    /// [`ChainPlan::made_columns`](super::ChainPlan::made_columns).
    pub made: RecordBatch,
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

/// What a [`Chain`](super::Chain) made of a batch.
#[derive(Debug, Clone)]
pub struct Transformed {
    /// The rows, in [`Chain::output_schema`](super::Chain::output_schema).
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

/// The whole rows, in `schema`: each of its columns is the one of that name in `made`, or else in
/// `original`, gathered by `origin`. Without an origin nothing is copied.
///
/// # Errors
/// [`Error::Arrow`] when a column is in neither, or the rows don't fit together.
pub fn assemble(
    schema: &SchemaRef,
    original: &RecordBatch,
    made: &RecordBatch,
    origin: Option<&[u32]>,
) -> Result<RecordBatch> {
    let origin = origin.map(|rows| UInt32Array::from(rows.to_vec()));
    let column = |name: &str| -> Result<ArrayRef, ArrowError> {
        if let Some(column) = made.column_by_name(name) {
            return Ok(column.clone());
        }
        match (original.column_by_name(name), &origin) {
            (Some(column), Some(origin)) => take(column, origin, None),
            (Some(column), None) => Ok(column.clone()),
            (None, _) => Err(ArrowError::SchemaError(format!("no column {name:?}"))),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name()));
    let columns = columns.collect::<Result<Vec<_>, _>>();
    let options = RecordBatchOptions::new().with_row_count(Some(made.num_rows()));
    columns
        .and_then(|columns| {
            RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        })
        .map_err(Error::arrow("put a batch's rows together"))
}

impl MadeRows {
    /// The rows as a whole, in the chain's output schema, with the batch that they were made of.
    pub(super) fn complete(
        self,
        schema: &SchemaRef,
        original: &RecordBatch,
    ) -> Result<Transformed> {
        Ok(Transformed {
            batch: assemble(schema, original, &self.made, self.origin.as_deref())?,
            origin: self.origin,
            failures: self.failures,
            filtered: self.filtered,
            nulled: self.nulled,
        })
    }
}
