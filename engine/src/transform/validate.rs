//! What a guest returned, checked to the last bit before it becomes an Arrow array.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, PrimitiveArray,
    StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::bindings::types::{ColumnResult, Output};
use super::field::{Column, Kind};

/// The longest message of a failed record, in bytes; the rest is cut.
const MAX_MESSAGE: usize = 1024;

/// What the host keeps for each row that a guest returns, besides its columns: its origin, and a pick.
pub(super) const ROW_OVERHEAD: u64 = 16;

/// A guest's output in which everything holds.
#[derive(Debug)]
pub(super) struct Valid {
    /// For each output row its input row; `None` is one to one.
    pub(super) origin: Option<Vec<u32>>,
    /// The columns of the plan's outputs.
    pub(super) columns: Vec<ArrayRef>,
    /// The failed rows, ascending, each once. Where there is no origin, they have a place in the columns.
    pub(super) failures: Vec<(u32, String)>,
    /// Bytes of the columns.
    pub(super) bytes: u64,
}

/// Checks what a guest made of `input_rows` rows. The error says what is wrong with it.
pub(super) fn validate(
    output: Output,
    input_rows: u32,
    outputs: &[Column],
    max_bytes: u64,
) -> Result<Valid, String> {
    // Rows cost the host something even where they hold nothing.
    let overhead = u64::from(output.rows) * ROW_OVERHEAD;
    if overhead > max_bytes {
        return Err(format!("{} rows, which is too many", output.rows));
    }
    let mut failures: Vec<_> = output
        .failures
        .into_iter()
        .map(|f| (f.row, shorten(f.message, MAX_MESSAGE)))
        .collect();
    failures.sort_by_key(|(row, _)| *row);
    failures.dedup_by_key(|(row, _)| *row);
    if let Some((row, _)) = failures.last().filter(|(row, _)| *row >= input_rows) {
        return Err(format!("row {row} failed, of a batch of {input_rows} rows"));
    }
    let origin = check_origin(output.origin, output.rows, input_rows, &failures)?;
    if output.columns.len() != outputs.len() {
        return Err(format!(
            "{} columns, where its plan has {}",
            output.columns.len(),
            outputs.len()
        ));
    }
    let rows = output.rows as usize;
    let columns = output.columns.into_iter().zip(outputs);
    let columns = columns.map(|(flat, column)| {
        decode(flat, column, rows).map_err(|reason| format!("column {:?}: {reason}", column.name))
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(Valid {
        origin,
        bytes: columns
            .iter()
            .map(|c| c.get_buffer_memory_size() as u64)
            .fold(overhead, u64::saturating_add),
        columns,
        failures,
    })
}

fn check_origin(
    origin: Option<Vec<u32>>,
    rows: u32,
    input_rows: u32,
    failures: &[(u32, String)],
) -> Result<Option<Vec<u32>>, String> {
    let Some(origin) = origin else {
        return match rows == input_rows {
            true => Ok(None),
            false => Err(format!("{rows} rows for {input_rows} without an origin")),
        };
    };
    if origin.len() != rows as usize {
        return Err(format!("{rows} rows, but an origin of {}", origin.len()));
    }
    if !origin.is_sorted() {
        return Err("an origin that decreases".to_owned());
    }
    if let Some(row) = origin.last().filter(|row| **row >= input_rows) {
        return Err(format!(
            "an origin of row {row}, of a batch of {input_rows} rows"
        ));
    }
    if let Some((row, _)) = failures
        .iter()
        .find(|(row, _)| origin.binary_search(row).is_ok())
    {
        return Err(format!("row {row} both as failed and in its origin"));
    }
    let one_to_one = rows == input_rows && origin.iter().copied().eq(0..rows);
    Ok((!one_to_one).then_some(origin))
}

/// Makes an array of a guest's column.
pub(super) fn decode(flat: ColumnResult, column: &Column, rows: usize) -> Result<ArrayRef, String> {
    let nulls = match flat.validity {
        Some(bits) => nulls(bits, rows)?,
        None => None,
    };
    if let Some(nulls) = nulls.as_ref().filter(|_| !column.nullable) {
        return Err(format!(
            "{} nulls in a column that its plan declares free of them",
            nulls.null_count()
        ));
    }
    if !matches!(column.kind, Kind::Utf8 | Kind::Binary) && !flat.offsets.is_empty() {
        return Err(format!(
            "offsets, which a column of kind {} does not have",
            column.type_name()
        ));
    }
    match column.kind {
        Kind::Boolean => {
            let data = exactly(flat.data, rows.div_ceil(8))?;
            Ok(Arc::new(BooleanArray::new(
                BooleanBuffer::new(data, 0, rows),
                nulls,
            )))
        }
        Kind::Int32 => primitive::<Int32Type>(flat.data, rows, nulls).map(|a| Arc::new(a) as _),
        Kind::Int64 => primitive::<Int64Type>(flat.data, rows, nulls).map(|a| Arc::new(a) as _),
        Kind::Float32 => primitive::<Float32Type>(flat.data, rows, nulls).map(|a| Arc::new(a) as _),
        Kind::Float64 => primitive::<Float64Type>(flat.data, rows, nulls).map(|a| Arc::new(a) as _),
        Kind::Timestamp => primitive::<TimestampMicrosecondType>(flat.data, rows, nulls)
            .map(|a| Arc::new(a.with_timezone("UTC")) as _),
        Kind::Utf8 => utf8(flat.offsets, flat.data, rows, nulls),
        Kind::Binary => {
            let (offsets, data) = byte_buffers(flat.offsets, flat.data, rows)?;
            BinaryArray::try_new(offsets, data, nulls)
                .map(|a| Arc::new(a) as _)
                .map_err(|e| e.to_string())
        }
        Kind::Vector => vectors(flat.data, column, rows, nulls),
    }
}

fn nulls(bits: Vec<u8>, rows: usize) -> Result<Option<NullBuffer>, String> {
    if bits.len() < rows.div_ceil(8) {
        return Err(format!(
            "a validity bitmap of {} bytes for {rows} rows",
            bits.len()
        ));
    }
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows));
    Ok(Some(nulls).filter(|n| n.null_count() > 0))
}

fn exactly(data: Vec<u8>, bytes: usize) -> Result<Buffer, String> {
    match data.len() == bytes {
        true => Ok(Buffer::from_vec(data)),
        false => Err(format!(
            "{} bytes of data, where its rows have {bytes}",
            data.len()
        )),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    data: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, String> {
    let width = size_of::<T::Native>();
    let bytes = rows.checked_mul(width).ok_or("too many rows")?;
    let data = exactly(data, bytes)?;
    // A `Vec<u8>` need not be aligned for wider numbers, though allocators do it.
    let data = match data.as_ptr().align_offset(align_of::<T::Native>()) {
        0 => data,
        _ => Buffer::from_slice_ref(data.as_slice()),
    };
    PrimitiveArray::try_new(ScalarBuffer::new(data, 0, rows), nulls).map_err(|e| e.to_string())
}

fn vectors(
    data: Vec<u8>,
    column: &Column,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    let DataType::FixedSizeList(item, dim) = column.data_type() else {
        return Err("not a vector".to_owned());
    };
    let elements = rows
        .checked_mul(column.dim as usize)
        .ok_or("too many rows")?;
    let values: Float32Array = primitive(data, elements, None)?;
    let lists = FixedSizeListArray::try_new_with_length(item, dim, Arc::new(values), nulls, rows);
    lists.map(|a| Arc::new(a) as _).map_err(|e| e.to_string())
}

/// Offsets that rise from 0 within the data, and the data up to the last of them.
fn byte_buffers(
    mut offsets: Vec<u32>,
    data: Vec<u8>,
    rows: usize,
) -> Result<(OffsetBuffer<i32>, Buffer), String> {
    if rows == 0 && offsets.is_empty() {
        offsets.push(0);
    }
    if offsets.len() != rows.saturating_add(1) {
        return Err(format!("{} offsets for {rows} rows", offsets.len()));
    }
    if offsets.first() != Some(&0) {
        return Err("offsets that do not start at 0".to_owned());
    }
    if !offsets.is_sorted() {
        return Err("offsets that decrease".to_owned());
    }
    let last = offsets.last().copied().unwrap_or(0);
    if last as usize > data.len() || i32::try_from(last).is_err() {
        return Err(format!(
            "offsets up to {last}, in {} bytes of data",
            data.len()
        ));
    }
    let offsets = ScalarBuffer::new(Buffer::from_vec(offsets), 0, rows + 1);
    let data = Buffer::from_vec(data).slice_with_length(0, last as usize);
    Ok((OffsetBuffer::new(offsets), data))
}

fn utf8(
    offsets: Vec<u32>,
    data: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    let (offsets, data) = byte_buffers(offsets, data, rows)?;
    if let Ok(array) = StringArray::try_new(offsets.clone(), data.clone(), nulls.clone()) {
        return Ok(Arc::new(array));
    }
    // Either a row is not UTF-8, or only what stands in a null row's place, which is ignored.
    let array = BinaryArray::try_new(offsets, data, nulls).map_err(|e| e.to_string())?;
    let texts = array.iter().enumerate().map(|(row, bytes)| {
        let text = bytes.map(std::str::from_utf8).transpose();
        text.map_err(|_| format!("row {row} is not UTF-8"))
    });
    let texts: StringArray = texts.collect::<Result<_, _>>()?;
    Ok(Arc::new(texts))
}

/// Cuts a text at a character boundary.
pub(super) fn shorten(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
        text.push('…');
    }
    text
}
