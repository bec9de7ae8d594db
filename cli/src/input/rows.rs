//! Batches made row by row, for the sources that are not columnar.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeListArray, Float32Array, Float32Builder,
    Float64Builder, Int32Builder, Int64Builder, NullBufferBuilder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::error::ArrowError;

use super::cells::Value;
use super::{InputError, Limits, Reader};
use crate::columns::Kind;

/// Something that gives one row after the other.
pub(super) trait RowSource {
    /// Puts the next row into the builder; false at the end. After an error nothing was put.
    fn next_row(&mut self, rows: &mut RowBuilder) -> Result<bool, InputError>;

    /// How many bytes were read so far.
    fn consumed(&self) -> u64;

    /// An error that is about no row in particular.
    fn error(&self, reason: String) -> InputError;
}

/// The batches of a row source.
pub(super) struct Rows<S> {
    source: S,
    builder: RowBuilder,
    limits: Limits,
    /// The error that ended the source, to be told once the rows before it are handed out.
    failed: Option<InputError>,
    done: bool,
}

impl<S: RowSource> Rows<S> {
    /// Batches of the source's rows within the limits.
    pub(super) fn new(source: S, schema: &SchemaRef, limits: Limits) -> Result<Self, InputError> {
        let builder = RowBuilder::new(schema).map_err(|reason| source.error(reason))?;
        Ok(Self {
            source,
            builder,
            limits,
            failed: None,
            done: false,
        })
    }
}

impl<S: RowSource> Iterator for Rows<S> {
    type Item = Result<RecordBatch, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done
            && self.builder.rows < self.limits.rows
            && self.builder.bytes < self.limits.bytes
        {
            match self.source.next_row(&mut self.builder) {
                Ok(true) => {}
                Ok(false) => self.done = true,
                Err(error) => {
                    self.done = true;
                    self.failed = Some(error);
                }
            }
        }
        if self.builder.rows > 0 {
            let batch = self.builder.finish();
            return Some(batch.map_err(|error| self.source.error(error.to_string())));
        }
        self.failed.take().map(Err)
    }
}

impl<S: RowSource> Reader for Rows<S> {
    fn consumed(&self) -> u64 {
        self.source.consumed()
    }
}

/// The rows of a batch that is being made.
pub(super) struct RowBuilder {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

impl RowBuilder {
    /// A builder without rows.
    fn new(schema: &SchemaRef) -> Result<Self, String> {
        let columns = schema
            .fields()
            .iter()
            .map(Column::new)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema: Arc::clone(schema),
            columns,
            rows: 0,
            bytes: 0,
        })
    }

    /// Adds a row: one value a column, each of the column's kind or null.
    pub(super) fn push(&mut self, row: &[Value<'_>]) {
        for (column, value) in self.columns.iter_mut().zip(row) {
            self.bytes += value.bytes();
            column.push(value);
        }
        self.rows += 1;
    }

    /// The rows so far as a batch; the builder is empty afterwards.
    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        self.bytes = 0;
        let columns = self
            .columns
            .iter_mut()
            .map(Column::finish)
            .collect::<Result<_, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// One column of the batch that is being made.
enum Column {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder, DataType),
    Vector {
        item: FieldRef,
        dim: usize,
        values: Vec<f32>,
        nulls: NullBufferBuilder,
    },
}

impl Column {
    fn new(field: &Arc<Field>) -> Result<Self, String> {
        let kind = Kind::of(field.data_type()).ok_or_else(|| {
            format!(
                "column {:?} is of type {}, which cannot be read here",
                field.name(),
                field.data_type()
            )
        })?;
        Ok(match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int32 => Self::Int32(Int32Builder::new()),
            Kind::Int64 => Self::Int64(Int64Builder::new()),
            Kind::Float32 => Self::Float32(Float32Builder::new()),
            Kind::Float64 => Self::Float64(Float64Builder::new()),
            Kind::Utf8 => Self::Utf8(StringBuilder::new()),
            Kind::Binary => Self::Binary(BinaryBuilder::new()),
            Kind::Timestamp => Self::Timestamp(
                TimestampMicrosecondBuilder::new(),
                field.data_type().clone(),
            ),
            Kind::Vector(dim) => {
                let item = match field.data_type() {
                    DataType::FixedSizeList(item, _) => Arc::clone(item),
                    _ => Arc::new(Field::new_list_field(DataType::Float32, true)),
                };
                Self::Vector {
                    item,
                    dim,
                    values: Vec::new(),
                    nulls: NullBufferBuilder::new(1024),
                }
            }
        })
    }

    /// Adds a value; one of another kind counts as null, which no reader makes.
    fn push(&mut self, value: &Value<'_>) {
        match (self, value) {
            (Self::Bool(b), Value::Bool(v)) => b.append_value(*v),
            (Self::Bool(b), _) => b.append_null(),
            (Self::Int32(b), Value::Int32(v)) => b.append_value(*v),
            (Self::Int32(b), _) => b.append_null(),
            (Self::Int64(b), Value::Int64(v)) => b.append_value(*v),
            (Self::Int64(b), _) => b.append_null(),
            (Self::Float32(b), Value::Float32(v)) => b.append_value(*v),
            (Self::Float32(b), _) => b.append_null(),
            (Self::Float64(b), Value::Float64(v)) => b.append_value(*v),
            (Self::Float64(b), _) => b.append_null(),
            (Self::Utf8(b), Value::Text(v)) => b.append_value(v),
            (Self::Utf8(b), _) => b.append_null(),
            (Self::Binary(b), Value::Bytes(v)) => b.append_value(v),
            (Self::Binary(b), _) => b.append_null(),
            (Self::Timestamp(b, _), Value::Timestamp(v)) => b.append_value(*v),
            (Self::Timestamp(b, _), _) => b.append_null(),
            (Self::Vector { values, nulls, .. }, Value::Vector(v)) => {
                values.extend_from_slice(v);
                nulls.append_non_null();
            }
            (
                Self::Vector {
                    values, nulls, dim, ..
                },
                _,
            ) => {
                values.extend(std::iter::repeat_n(0.0, *dim));
                nulls.append_null();
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Utf8(b) => Arc::new(b.finish()),
            Self::Binary(b) => Arc::new(b.finish()),
            Self::Timestamp(b, data_type) => {
                let zone = match data_type {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                Arc::new(b.finish().with_timezone_opt(zone))
            }
            Self::Vector {
                item,
                dim,
                values,
                nulls,
            } => {
                let dim = i32::try_from(*dim).unwrap_or(i32::MAX);
                let values = Float32Array::from(std::mem::take(values));
                Arc::new(FixedSizeListArray::try_new(
                    Arc::clone(item),
                    dim,
                    Arc::new(values),
                    nulls.finish(),
                )?)
            }
        })
    }
}
