//! Nearest neighbours in a lake, exactly: every row is compared.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use lance::datatypes::BlobHandling;
use lance_linalg::distance::DistanceType;

use crate::catalog::PinnedTransform;
use crate::error::{Error, Result};
use crate::table::TableInner;
use crate::tier::context::TierContext;
use crate::tier::lake::{Lake, Told};

/// What to look for the neighbours of.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Nearest {
    /// A vector of the column's length.
    Vector(Vec<f32>),
    /// A text, which the transform that makes the column embeds as it embedded the rows.
    Text(String),
}

pub(crate) fn find(
    table: &TableInner,
    column: &str,
    to: &Nearest,
    k: usize,
) -> Result<RecordBatch> {
    let context = &table.tierer.context;
    check_column(context, column)?;
    let vector = match to {
        Nearest::Vector(vector) => vector.clone(),
        Nearest::Text(text) => embed(context, column, text)?,
    };
    let (options, column) = (context.lake.clone(), column.to_owned());
    let empty = RecordBatch::new_empty(Arc::clone(&context.shape().lake_schema));
    context.executor.run(async move {
        match Lake::open(&options).await? {
            None => Ok(empty),
            Some(lake) => nearest(&lake, &column, &vector, k).await,
        }
    })?
}

async fn nearest(lake: &Lake, column: &str, vector: &[f32], k: usize) -> Result<RecordBatch> {
    let find = async || {
        let mut scan = lake.dataset().scan();
        scan.nearest(column, &Float32Array::from(vector.to_vec()), k)?;
        scan.blob_handling(BlobHandling::AllBinary);
        scan.use_index(false).distance_metric(DistanceType::Cosine);
        scan.try_into_batch().await
    };
    find().await.map_err(|error: lance::Error| Error::Query {
        source: Box::new(Told(error)),
    })
}

fn check_column(context: &TierContext, column: &str) -> Result<()> {
    let is_vector = |field: &Field| matches!(field.data_type(), DataType::FixedSizeList(item, _) if item.data_type() == &DataType::Float32);
    let shape = context.shape();
    let fields = shape.lake_schema.fields();
    if fields.iter().any(|f| f.name() == column && is_vector(f)) {
        return Ok(());
    }
    let vectors: Vec<_> = fields
        .iter()
        .filter(|f| is_vector(f))
        .map(|f| f.name())
        .collect();
    Err(Error::invalid(
        format!("column {column:?}"),
        format!("is not a vector column of the lake; it has {vectors:?}"),
    ))
}

/// Runs the transform that makes `column` on one text.
fn embed(context: &TierContext, column: &str, text: &str) -> Result<Vec<f32>> {
    let makes = |pinned: &&PinnedTransform| pinned.spec.outputs.values().any(|made| made == column);
    let shape = context.shape();
    let pinned = shape.transforms().iter().find(makes).ok_or_else(|| {
        Error::invalid(
            format!("column {column:?}"),
            "no transform makes it; search it by a vector",
        )
    })?;
    let Some(input) = pinned.spec.inputs.values().next() else {
        let reason = "its transform names no input column; search it by a vector";
        return Err(Error::invalid(format!("column {column:?}"), reason));
    };
    let schema = Arc::new(Schema::new(vec![Field::new(input, DataType::Utf8, true)]));
    let limits = &context.settings.limits;
    let plan = context
        .plugins
        .plan(&schema, std::slice::from_ref(pinned), limits)?;
    let texts = Arc::new(StringArray::from(vec![text]));
    let row = RecordBatch::try_new(schema, vec![texts]).map_err(Error::arrow("embed the text"))?;
    let Some(plan) = plan else {
        return Err(Error::invalid(
            format!("column {column:?}"),
            "its transform is gone",
        ));
    };
    let made = plan.open().apply(&row)?;
    let vectors = made
        .batch
        .column_by_name(column)
        .and_then(|c| c.as_fixed_size_list_opt());
    let vector = vectors
        .filter(|v| v.len() == 1 && v.is_valid(0))
        .map(|v| v.value(0));
    let vector = vector
        .as_ref()
        .and_then(|v| v.as_primitive_opt::<Float32Type>());
    vector.map(|v| v.values().to_vec()).ok_or_else(|| {
        let reason = made
            .failures
            .first()
            .map_or("it gave no vector", |f| &f.message);
        Error::Transform {
            transform: pinned.spec.name.clone(),
            reason: reason.to_owned(),
        }
    })
}
