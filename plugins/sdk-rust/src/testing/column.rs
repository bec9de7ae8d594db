//! Columns of values, to and from flat buffers.

use crate::{
    Batch, BooleanBuilder, BytesBuilder, Column, Field, Kind, Number, NumberBuilder, NumberColumn,
    Value, VectorBuilder,
};

/// The column that `values` make.
pub(super) fn build(field: &Field, values: &[Value]) -> Result<Column, String> {
    if let Some(value) = values.iter().find(|value| !fits(value, field)) {
        let name = &field.name;
        return Err(format!("column `{name}` cannot hold the value {value:?}"));
    }
    let nullable = field.nullable;
    match field.kind {
        Kind::Boolean => {
            let mut builder = BooleanBuilder::new(nullable);
            values
                .iter()
                .for_each(|value| builder.push(value.as_bool()));
            Ok(builder.finish())
        }
        Kind::Int32 => Ok(numbers(values, nullable, Value::as_i32)),
        Kind::Int64 | Kind::Timestamp => Ok(numbers(values, nullable, Value::as_i64)),
        Kind::Float32 => Ok(numbers(values, nullable, Value::as_f32)),
        Kind::Float64 => Ok(numbers(values, nullable, Value::as_f64)),
        Kind::Utf8 | Kind::Binary => {
            let mut builder = BytesBuilder::new(nullable);
            for value in values {
                builder.push(value.as_bytes().or(value.as_str().map(str::as_bytes)))?;
            }
            Ok(builder.finish())
        }
        Kind::Vector => {
            let mut builder = VectorBuilder::new(field.dim as usize, nullable);
            values
                .iter()
                .for_each(|value| builder.push(value.as_vector()));
            Ok(builder.finish())
        }
    }
}

fn numbers<T: Number>(
    values: &[Value],
    nullable: bool,
    number: impl Fn(&Value) -> Option<T>,
) -> Column {
    let mut builder = NumberBuilder::new(nullable);
    values.iter().for_each(|value| builder.push(number(value)));
    builder.finish()
}

/// Whether a value is of a column's kind.
pub(super) fn fits(value: &Value, field: &Field) -> bool {
    match value {
        Value::Null => field.nullable,
        Value::Boolean(_) => field.kind == Kind::Boolean,
        Value::Int32(_) => field.kind == Kind::Int32,
        Value::Int64(_) => field.kind == Kind::Int64,
        Value::Float32(_) => field.kind == Kind::Float32,
        Value::Float64(_) => field.kind == Kind::Float64,
        Value::Utf8(_) => field.kind == Kind::Utf8,
        Value::Binary(_) => field.kind == Kind::Binary,
        Value::Vector(vector) => field.kind == Kind::Vector && vector.len() == field.dim as usize,
        Value::Timestamp(_) => field.kind == Kind::Timestamp,
    }
}

/// The values of the column at `index`, whose buffers must be sound.
pub(super) fn read(batch: &Batch, index: usize, field: &Field) -> Result<Vec<Value>, String> {
    let rows = 0..batch.rows();
    Ok(match field.kind {
        Kind::Boolean => batch.boolean(index)?.iter().map(Value::from).collect(),
        Kind::Int32 => all(batch.int32(index)?),
        Kind::Int64 => all(batch.int64(index)?),
        Kind::Float32 => all(batch.float32(index)?),
        Kind::Float64 => all(batch.float64(index)?),
        Kind::Timestamp => {
            let micros = batch.timestamp(index)?;
            let value = |row| micros.get(row).map_or(Value::Null, Value::Timestamp);
            rows.map(value).collect()
        }
        Kind::Utf8 => {
            let bytes = batch.bytes(index)?;
            let text = |bytes: &[u8]| {
                std::str::from_utf8(bytes)
                    .map(Value::from)
                    .map_err(|error| format!("holds what is not UTF-8: {error}"))
            };
            let value = |row| bytes.get(row).map_or(Ok(Value::Null), text);
            rows.map(value).collect::<Result<_, _>>()?
        }
        Kind::Binary => batch.bytes(index)?.iter().map(Value::from).collect(),
        Kind::Vector => {
            let vectors = batch.vector(index)?;
            let value = |row| vectors.get(row).map(Iterator::collect::<Vec<_>>).into();
            rows.map(value).collect()
        }
    })
}

fn all<T: Number>(column: NumberColumn<'_, T>) -> Vec<Value>
where
    Value: From<Option<T>>,
{
    column.iter().map(Value::from).collect()
}
