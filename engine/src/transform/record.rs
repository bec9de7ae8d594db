//! Runs a `record-transform` on a batch, one record after the other.

use wasmtime::Store;

use super::bindings::records::Guest;
use super::bindings::types::{ColumnResult, Failure, Output, ValueParam, ValueResult};
use super::codec::Flat;
use super::field::{Column, Kind};
use super::instance::HostState;
use super::validate::ROW_OVERHEAD;

type Returned = Result<Output, String>;

/// Calls the plugin for each row, and gathers what it returns as a batch's output.
/// An error of the plugin fails its record; more than `limit` bytes in all fail the batch.
pub(super) fn apply(
    guest: &Guest,
    store: &mut Store<HostState>,
    (rows, inputs): (u32, &[Flat]),
    (reads, makes): (&[Column], &[Column]),
    limit: u64,
) -> wasmtime::Result<Returned> {
    let mut columns: Vec<_> = makes.iter().map(ColumnBuilder::new).collect();
    let (mut origin, mut failures) = (Vec::new(), Vec::new());
    let scratch: Vec<_> = inputs
        .iter()
        .zip(reads)
        .map(|(flat, column)| (flat, column, floats(flat, column)))
        .collect();
    for row in 0..rows {
        let record: Vec<_> = scratch
            .iter()
            .map(|(flat, column, floats)| value(flat, column, floats, row as usize))
            .collect();
        let made = guest.call_apply(&mut *store, &record)?;
        let kept = made.and_then(|made| check_records(made, makes));
        match kept {
            Err(message) => failures.push(Failure { row, message }),
            Ok(records) => {
                for record in records {
                    origin.push(row);
                    columns
                        .iter_mut()
                        .zip(record)
                        .for_each(|(column, value)| column.push(value));
                }
            }
        }
        let data = columns.iter().map(|c| c.flat.data.len() as u64);
        if data.sum::<u64>() + origin.len() as u64 * ROW_OVERHEAD > limit {
            return Ok(Err(format!(
                "its records are larger than {limit} bytes in all"
            )));
        }
    }
    Ok(Ok(Output {
        rows: u32::try_from(origin.len()).unwrap_or(u32::MAX),
        origin: Some(origin),
        columns: columns.into_iter().map(|c| c.flat).collect(),
        failures,
    }))
}

/// The elements of a vector column; nothing for other kinds.
fn floats(flat: &Flat, column: &Column) -> Vec<f32> {
    match column.kind {
        Kind::Vector => flat
            .data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(array(b)))
            .collect(),
        _ => Vec::new(),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// One value of a flat column, borrowed.
fn value<'a>(flat: &'a Flat, column: &Column, floats: &'a [f32], row: usize) -> ValueParam<'a> {
    let bit = |bits: &[u8]| {
        bits.get(row / 8)
            .is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    };
    if flat.validity.as_deref().is_some_and(|bits| !bit(bits)) {
        return ValueParam::Null;
    }
    let four = || array(flat.data.get(row * 4..row * 4 + 4).unwrap_or_default());
    let eight = || array(flat.data.get(row * 8..row * 8 + 8).unwrap_or_default());
    let bytes = || {
        let bounds = flat.offsets.get(row).zip(flat.offsets.get(row + 1));
        bounds
            .and_then(|(from, to)| flat.data.get(*from as usize..*to as usize))
            .unwrap_or_default()
    };
    match column.kind {
        Kind::Boolean => ValueParam::Boolean(bit(&flat.data)),
        Kind::Int32 => ValueParam::Int32(i32::from_le_bytes(four())),
        Kind::Int64 => ValueParam::Int64(i64::from_le_bytes(eight())),
        Kind::Float32 => ValueParam::Float32(f32::from_le_bytes(four())),
        Kind::Float64 => ValueParam::Float64(f64::from_le_bytes(eight())),
        Kind::Timestamp => ValueParam::Timestamp(i64::from_le_bytes(eight())),
        Kind::Utf8 => ValueParam::Utf8(std::str::from_utf8(bytes()).unwrap_or_default()),
        Kind::Binary => ValueParam::Binary(bytes()),
        Kind::Vector => {
            let dim = column.dim as usize;
            ValueParam::Vector(floats.get(row * dim..(row + 1) * dim).unwrap_or_default())
        }
    }
}

/// Checks that every record has a value of the right kind for each column.
fn check_records(
    records: Vec<Vec<ValueResult>>,
    makes: &[Column],
) -> Result<Vec<Vec<ValueResult>>, String> {
    for record in &records {
        if record.len() != makes.len() {
            return Err(format!(
                "returned a record of {} values, where its plan has {}",
                record.len(),
                makes.len()
            ));
        }
        for (value, column) in record.iter().zip(makes) {
            let fits = match (value, column.kind) {
                (ValueResult::Null, _) => column.nullable,
                (ValueResult::Vector(v), Kind::Vector) => v.len() == column.dim as usize,
                (ValueResult::Boolean(_), Kind::Boolean)
                | (ValueResult::Int32(_), Kind::Int32)
                | (ValueResult::Int64(_), Kind::Int64)
                | (ValueResult::Float32(_), Kind::Float32)
                | (ValueResult::Float64(_), Kind::Float64)
                | (ValueResult::Utf8(_), Kind::Utf8)
                | (ValueResult::Binary(_), Kind::Binary)
                | (ValueResult::Timestamp(_), Kind::Timestamp) => true,
                _ => false,
            };
            if !fits {
                return Err(format!(
                    "returned another value for column {:?} than {}",
                    column.name,
                    column.type_name()
                ));
            }
        }
    }
    Ok(records)
}

/// Builds a flat column value by value.
struct ColumnBuilder {
    kind: Kind,
    /// Bytes that a null takes in the data.
    width: usize,
    rows: usize,
    flat: ColumnResult,
}

impl ColumnBuilder {
    fn new(column: &Column) -> Self {
        let (width, offsets) = match column.kind {
            Kind::Boolean => (0, vec![]),
            Kind::Int32 | Kind::Float32 => (4, vec![]),
            Kind::Int64 | Kind::Float64 | Kind::Timestamp => (8, vec![]),
            Kind::Utf8 | Kind::Binary => (0, vec![0]),
            Kind::Vector => (column.dim as usize * 4, vec![]),
        };
        let flat = ColumnResult {
            validity: Some(Vec::new()),
            offsets,
            data: Vec::new(),
        };
        Self {
            kind: column.kind,
            width,
            rows: 0,
            flat,
        }
    }

    fn push(&mut self, value: ValueResult) {
        if let Some(bits) = &mut self.flat.validity {
            push_bit(bits, self.rows, !matches!(value, ValueResult::Null));
        }
        let data = &mut self.flat.data;
        match value {
            ValueResult::Null if self.kind == Kind::Boolean => push_bit(data, self.rows, false),
            ValueResult::Null => data.resize(data.len() + self.width, 0),
            ValueResult::Boolean(v) => push_bit(data, self.rows, v),
            ValueResult::Int32(v) => data.extend(v.to_le_bytes()),
            ValueResult::Int64(v) | ValueResult::Timestamp(v) => data.extend(v.to_le_bytes()),
            ValueResult::Float32(v) => data.extend(v.to_le_bytes()),
            ValueResult::Float64(v) => data.extend(v.to_le_bytes()),
            ValueResult::Utf8(v) => data.extend(v.into_bytes()),
            ValueResult::Binary(v) => data.extend(v),
            ValueResult::Vector(v) => data.extend(v.iter().flat_map(|f| f.to_le_bytes())),
        }
        if matches!(self.kind, Kind::Utf8 | Kind::Binary) {
            self.flat
                .offsets
                .push(u32::try_from(data.len()).unwrap_or(u32::MAX));
        }
        self.rows += 1;
    }
}

fn push_bit(bits: &mut Vec<u8>, row: usize, set: bool) {
    if row.is_multiple_of(8) {
        bits.push(0);
    }
    if let Some(last) = bits.last_mut().filter(|_| set) {
        *last |= 1 << (row % 8);
    }
}
