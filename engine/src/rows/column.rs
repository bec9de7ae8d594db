//! One column of gathered rows: what it admits, and the Arrow builder of its values.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BinaryViewBuilder, BooleanBuilder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float16Builder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder,
    Int64Builder, LargeBinaryBuilder, LargeStringBuilder, StringBuilder, StringViewBuilder,
    UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, DecimalType, Float16Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, make_array, new_null_array};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, TimeUnit};

use super::Value;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// What is asked of a cell.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Boolean,
    /// An integer from `low` to `high`.
    Integer {
        low: i128,
        high: i128,
    },
    /// A number up to `greatest`, and integers up to `exact`, above which not all can be told apart.
    Float {
        greatest: f64,
        exact: i128,
    },
    Text,
    Binary,
    BinaryOf(usize),
    VectorOf(usize),
    /// Nothing but null: nested, and what has no value of its own in a row.
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        let range = |low: i128, high: i128| Self::Integer { low, high };
        let float = |greatest, bits| Self::Float {
            greatest,
            exact: 1_i128 << bits,
        };
        let day = |per_second: i128| range(0, 86_400 * per_second - 1);
        match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => range(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => range(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 | DataType::Date32 => range(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64
            | DataType::Date64
            | DataType::Timestamp(..)
            | DataType::Duration(_) => range(i64::MIN.into(), i64::MAX.into()),
            DataType::UInt8 => range(0, u8::MAX.into()),
            DataType::UInt16 => range(0, u16::MAX.into()),
            DataType::UInt32 => range(0, u32::MAX.into()),
            DataType::UInt64 => range(0, u64::MAX.into()),
            DataType::Time32(TimeUnit::Second) => day(1),
            DataType::Time32(TimeUnit::Millisecond) => day(1_000),
            DataType::Time64(TimeUnit::Microsecond) => day(1_000_000),
            DataType::Time64(TimeUnit::Nanosecond) => day(1_000_000_000),
            DataType::Decimal128(precision, _) => {
                let greatest = Decimal128Type::MAX_FOR_EACH_PRECISION.get(usize::from(*precision));
                greatest.map_or(Self::Other, |&high| range(-high, high))
            }
            DataType::Float16 => float(65_504.0, 11),
            DataType::Float32 => float(f32::MAX.into(), 24),
            DataType::Float64 => float(f64::MAX, 53),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Binary,
            DataType::FixedSizeBinary(size) => sized(*size, Self::BinaryOf),
            DataType::FixedSizeList(item, size) if *item.data_type() == DataType::Float32 => {
                sized(*size, Self::VectorOf)
            }
            _ => Self::Other,
        }
    }
}

fn sized(size: i32, kind: impl FnOnce(usize) -> Kind) -> Kind {
    usize::try_from(size).map_or(Kind::Other, kind)
}

/// The values so far. Dates, times, timestamps and durations are built as the integers that they are.
#[derive(Debug)]
enum Builder {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Decimal128(Decimal128Builder),
    Float16(Float16Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    LargeText(LargeStringBuilder),
    TextView(StringViewBuilder),
    Binary(BinaryBuilder),
    LargeBinary(LargeBinaryBuilder),
    BinaryView(BinaryViewBuilder),
    BinaryOf(FixedSizeBinaryBuilder),
    VectorOf(VectorBuilder),
    Nulls(usize),
}

impl Builder {
    /// A builder with room for so many rows, and so many bytes of texts.
    fn new(data_type: &DataType, rows: usize, bytes: usize) -> Self {
        match (Kind::of(data_type), data_type) {
            (Kind::Other, _) => Self::Nulls(0),
            (Kind::VectorOf(size), DataType::FixedSizeList(item, _)) => {
                Self::VectorOf(VectorBuilder::new(Arc::clone(item), size, rows))
            }
            (_, DataType::Boolean) => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            (_, DataType::Int8) => Self::Int8(Int8Builder::with_capacity(rows)),
            (_, DataType::Int16) => Self::Int16(Int16Builder::with_capacity(rows)),
            (_, DataType::Int32 | DataType::Date32 | DataType::Time32(_)) => {
                Self::Int32(Int32Builder::with_capacity(rows))
            }
            (_, DataType::UInt8) => Self::UInt8(UInt8Builder::with_capacity(rows)),
            (_, DataType::UInt16) => Self::UInt16(UInt16Builder::with_capacity(rows)),
            (_, DataType::UInt32) => Self::UInt32(UInt32Builder::with_capacity(rows)),
            (_, DataType::UInt64) => Self::UInt64(UInt64Builder::with_capacity(rows)),
            (_, DataType::Decimal128(..)) => {
                Self::Decimal128(Decimal128Builder::with_capacity(rows))
            }
            (Kind::Integer { .. }, _) => Self::Int64(Int64Builder::with_capacity(rows)),
            (_, DataType::Float16) => Self::Float16(Float16Builder::with_capacity(rows)),
            (_, DataType::Float32) => Self::Float32(Float32Builder::with_capacity(rows)),
            (_, DataType::Float64) => Self::Float64(Float64Builder::with_capacity(rows)),
            (_, DataType::Utf8) => Self::Text(StringBuilder::with_capacity(rows, bytes)),
            (_, DataType::LargeUtf8) => {
                Self::LargeText(LargeStringBuilder::with_capacity(rows, bytes))
            }
            (_, DataType::Utf8View) => Self::TextView(StringViewBuilder::with_capacity(rows)),
            (_, DataType::Binary) => Self::Binary(BinaryBuilder::with_capacity(rows, bytes)),
            (_, DataType::LargeBinary) => {
                Self::LargeBinary(LargeBinaryBuilder::with_capacity(rows, bytes))
            }
            (_, DataType::BinaryView) => Self::BinaryView(BinaryViewBuilder::with_capacity(rows)),
            (_, DataType::FixedSizeBinary(size)) => {
                Self::BinaryOf(FixedSizeBinaryBuilder::with_capacity(rows, *size))
            }
            _ => Self::Nulls(0),
        }
    }

    /// Appends a cell that the column admits.
    fn push(&mut self, cell: &Value<'_>) {
        match self {
            Self::Boolean(builder) => builder.append_option(cell.boolean()),
            Self::Int8(builder) => builder.append_option(cell.integer().map(|v| v as i8)),
            Self::Int16(builder) => builder.append_option(cell.integer().map(|v| v as i16)),
            Self::Int32(builder) => builder.append_option(cell.integer().map(|v| v as i32)),
            Self::Int64(builder) => builder.append_option(cell.integer().map(|v| v as i64)),
            Self::UInt8(builder) => builder.append_option(cell.integer().map(|v| v as u8)),
            Self::UInt16(builder) => builder.append_option(cell.integer().map(|v| v as u16)),
            Self::UInt32(builder) => builder.append_option(cell.integer().map(|v| v as u32)),
            Self::UInt64(builder) => builder.append_option(cell.integer().map(|v| v as u64)),
            Self::Decimal128(builder) => builder.append_option(cell.integer()),
            Self::Float16(builder) => builder.append_option(cell.float().map(Half::from_f64)),
            Self::Float32(builder) => builder.append_option(cell.float().map(|v| v as f32)),
            Self::Float64(builder) => builder.append_option(cell.float()),
            Self::Text(builder) => builder.append_option(cell.text()),
            Self::LargeText(builder) => builder.append_option(cell.text()),
            Self::TextView(builder) => builder.append_option(cell.text()),
            Self::Binary(builder) => builder.append_option(cell.binary()),
            Self::LargeBinary(builder) => builder.append_option(cell.binary()),
            Self::BinaryView(builder) => builder.append_option(cell.binary()),
            Self::BinaryOf(builder) => {
                // Its only error is a length that the column doesn't admit.
                let appended = cell.binary().map(|bytes| builder.append_value(bytes));
                if !matches!(appended, Some(Ok(()))) {
                    builder.append_null();
                }
            }
            Self::VectorOf(builder) => builder.push(cell.vector()),
            Self::Nulls(rows) => *rows += 1,
        }
    }

    fn finish(self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int8(mut builder) => Arc::new(builder.finish()),
            Self::Int16(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::UInt8(mut builder) => Arc::new(builder.finish()),
            Self::UInt16(mut builder) => Arc::new(builder.finish()),
            Self::UInt32(mut builder) => Arc::new(builder.finish()),
            Self::UInt64(mut builder) => Arc::new(builder.finish()),
            Self::Decimal128(mut builder) => Arc::new(builder.finish()),
            Self::Float16(mut builder) => Arc::new(builder.finish()),
            Self::Float32(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::LargeText(mut builder) => Arc::new(builder.finish()),
            Self::TextView(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder) => Arc::new(builder.finish()),
            Self::LargeBinary(mut builder) => Arc::new(builder.finish()),
            Self::BinaryView(mut builder) => Arc::new(builder.finish()),
            Self::BinaryOf(mut builder) => Arc::new(builder.finish()),
            Self::VectorOf(builder) => builder.finish()?,
            Self::Nulls(rows) => new_null_array(data_type, rows),
        };
        if array.data_type() == data_type {
            return Ok(array);
        }
        let data = array.to_data().into_builder().data_type(data_type.clone());
        Ok(make_array(data.build()?))
    }
}

/// Vectors of one size; a null one takes its place among the components, as Arrow wants it.
#[derive(Debug)]
struct VectorBuilder {
    item: FieldRef,
    size: usize,
    components: Vec<f32>,
    nulls: NullBufferBuilder,
}

impl VectorBuilder {
    fn new(item: FieldRef, size: usize, rows: usize) -> Self {
        Self {
            item,
            size,
            components: Vec::with_capacity(size.saturating_mul(rows)),
            nulls: NullBufferBuilder::new(rows),
        }
    }

    fn push(&mut self, vector: Option<&[f32]>) {
        match vector {
            Some(vector) => {
                self.components.extend_from_slice(vector);
                self.nulls.append_non_null();
            }
            None => {
                let length = self.components.len() + self.size;
                self.components.resize(length, 0.0);
                self.nulls.append_null();
            }
        }
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        let components = Arc::new(Float32Array::from(self.components));
        let size = i32::try_from(self.size).unwrap_or(i32::MAX);
        let array =
            FixedSizeListArray::try_new_with_length(self.item, size, components, nulls, rows)?;
        Ok(Arc::new(array))
    }
}

/// A column: its field, what it admits, and its values so far.
#[derive(Debug)]
pub(super) struct Column {
    name: String,
    data_type: DataType,
    is_nullable: bool,
    kind: Kind,
    builder: Builder,
    /// Bytes of texts so far, and in the last batch.
    bytes: usize,
    expected_bytes: usize,
}

impl Column {
    pub(super) fn new(field: &Field) -> Self {
        let data_type = field.data_type().clone();
        Self {
            name: field.name().clone(),
            is_nullable: field.is_nullable(),
            kind: Kind::of(&data_type),
            builder: Builder::new(&data_type, 0, 0),
            data_type,
            bytes: 0,
            expected_bytes: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// What each row takes of this column, whatever it holds.
    pub(super) fn fixed_bytes(&self) -> usize {
        match self.kind {
            Kind::BinaryOf(size) => size,
            Kind::VectorOf(size) => size.saturating_mul(4),
            _ => match self.data_type {
                DataType::Utf8 | DataType::Binary => 4,
                DataType::LargeUtf8 | DataType::LargeBinary => 8,
                DataType::Utf8View | DataType::BinaryView => 16,
                ref data_type => data_type.primitive_width().unwrap_or(1),
            },
        }
    }

    /// Whether rows can give values of this type at all.
    pub(super) fn takes_cells(&self) -> bool {
        !matches!(self.kind, Kind::Other)
    }

    /// Whether the column can hold the cell.
    pub(super) fn admits(&self, cell: &Value<'_>) -> bool {
        match (self.kind, cell) {
            (_, Value::Null) => self.is_nullable,
            (Kind::Boolean, Value::Boolean(_))
            | (Kind::Text, Value::Text(_))
            | (Kind::Binary, Value::Binary(_)) => true,
            (Kind::Integer { low, high }, _) => {
                cell.integer().is_some_and(|v| low <= v && v <= high)
            }
            (Kind::Float { greatest, .. }, Value::Float(value)) => {
                !value.is_finite() || value.abs() <= greatest
            }
            (Kind::Float { exact, .. }, _) => cell.integer().is_some_and(|v| v.abs() <= exact),
            (Kind::BinaryOf(size), Value::Binary(value)) => value.len() == size,
            (Kind::VectorOf(size), Value::Vector(value)) => value.len() == size,
            _ => false,
        }
    }

    /// Why the column cannot hold the cell.
    pub(super) fn refusal(&self, cell: &Value<'_>) -> String {
        let Self {
            name, data_type, ..
        } = self;
        match (self.kind, cell) {
            (_, Value::Null) => format!("column {name:?} must not be null, and the row's is"),
            (Kind::Integer { low, high }, Value::Int(_) | Value::UInt(_)) => format!(
                "column {name:?} is {data_type}, from {low} to {high}, and cannot hold {}",
                cell.describe()
            ),
            (Kind::Float { .. }, Value::Int(_) | Value::UInt(_) | Value::Float(_)) => format!(
                "column {name:?} is {data_type} and cannot represent {}",
                cell.describe()
            ),
            _ => format!(
                "column {name:?} is {data_type}, and the row has {}",
                cell.describe()
            ),
        }
    }

    pub(super) fn push(&mut self, cell: &Value<'_>) {
        self.bytes += cell.variable_bytes();
        self.builder.push(cell);
    }

    /// Makes room for so many rows, and for as many bytes as the last batch had; there are no rows yet.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.builder = Builder::new(&self.data_type, rows, self.expected_bytes);
    }

    /// The values as an array; the column begins anew.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        self.expected_bytes = std::mem::take(&mut self.bytes);
        let empty = Builder::new(&self.data_type, 0, 0);
        std::mem::replace(&mut self.builder, empty).finish(&self.data_type)
    }
}
