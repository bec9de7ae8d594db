//! Payloads as record batches whose buffers are the payloads' memory: all columns, or some.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, Field, FieldRef, SchemaRef};

use super::decode::{Messages, Walk, broken, length, numbered, read_whole};

/// Decodes payloads that [`super::encode`] made, without copying them: all columns or only some.
///
/// What is decoded is validated (ranges, offsets, UTF-8), as a checksum only says that the bytes are the
/// ones that were written.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Of the payloads.
    whole: SchemaRef,
    /// Of the batches.
    schema: SchemaRef,
    /// For each column of a payload, where in the batch it is wanted.
    places: Vec<Option<usize>>,
    /// How many messages there are before the record batch.
    dictionaries: usize,
}

impl Decoder {
    /// Decodes all columns.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let places = (0..schema.fields().len()).map(Some).collect();
        Self::with_places(Arc::clone(&schema), schema, places)
    }

    /// Decodes only the columns of those names, in that order.
    pub(crate) fn of_columns(whole: SchemaRef, names: &[&str]) -> Result<Self, ArrowError> {
        let mut places = vec![None; whole.fields().len()];
        let mut wanted = Vec::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            let column = whole.index_of(name)?;
            let taken = places.get_mut(column).and_then(|at| at.replace(place));
            if taken.is_some() {
                let reason = format!("the column {name:?} is named twice");
                return Err(ArrowError::SchemaError(reason));
            }
            wanted.push(column);
        }
        let schema = Arc::new(whole.project(&wanted)?);
        Ok(Self::with_places(whole, schema, places))
    }

    fn with_places(whole: SchemaRef, schema: SchemaRef, places: Vec<Option<usize>>) -> Self {
        let mut value_types = Vec::new();
        numbered(whole.fields(), &mut value_types);
        Self {
            whole,
            schema,
            places,
            dictionaries: value_types.len(),
        }
    }

    /// The schema of the payloads.
    pub(crate) fn whole(&self) -> &SchemaRef {
        &self.whole
    }

    /// The schema of the batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The wanted columns of a payload.
    pub(crate) fn decode(&self, payload: &Buffer) -> Result<RecordBatch, ArrowError> {
        let is_fixed = |field: &FieldRef| field.data_type().primitive_width().is_some();
        if self.schema.fields().iter().all(is_fixed) {
            return self.fixed_width(payload);
        }
        let batch = read_whole(payload, Arc::clone(&self.whole))?;
        let mut wanted: Vec<_> = self.places.iter().zip(batch.columns()).collect();
        wanted.retain(|(place, _)| place.is_some());
        wanted.sort_by_key(|(place, _)| **place);
        let columns = wanted.into_iter().map(|(_, column)| Arc::clone(column));
        self.batch(columns.collect(), batch.num_rows())
    }

    /// Columns of fixed width need nothing of Arrow's reader, which would make arrays of all columns.
    fn fixed_width(&self, payload: &Buffer) -> Result<RecordBatch, ArrowError> {
        let mut messages = Messages::of(payload);
        for _ in 0..self.dictionaries {
            messages.next()?;
        }
        let (batch, body) = messages.last()?;
        let mut walk = Walk::new(&batch, body.len())?;
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (field, place) in self.whole.fields().iter().zip(&self.places) {
            match place {
                Some(place) => columns.push((*place, fixed_width_array(&mut walk, field, &body)?)),
                None => {
                    walk.array(field.data_type())?;
                }
            }
        }
        walk.end(&batch)?;
        columns.sort_by_key(|(place, _)| *place);
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let rows = length(batch.length()).ok_or_else(|| broken("the number of rows"))?;
        self.batch(columns, rows)
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let rows = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &rows)
    }
}

/// Passes an array of a fixed-width type, and makes it of the body.
fn fixed_width_array(
    walk: &mut Walk<'_>,
    field: &Field,
    body: &Buffer,
) -> Result<ArrayRef, ArrowError> {
    let (rows, null_count) = walk.node()?;
    let bits = if null_count > 0 { rows } else { 0 };
    let validity = walk.range(bits.div_ceil(8), 1)?;
    let values = walk.fixed_width_range(rows, field.data_type())?;
    let slice = |range: Range<usize>| body.slice_with_length(range.start, range.len());
    let data = ArrayData::builder(field.data_type().clone())
        .len(rows)
        .null_count(null_count)
        .null_bit_buffer((null_count > 0).then(|| slice(validity)))
        .add_buffer(slice(values))
        .align_buffers(true)
        .build()?;
    Ok(make_array(data))
}
