//! What a plugin hands back: whatever it is, it is refused or becomes arrays in which everything holds.
//!
//! The checks are compiled from their own files, on stand-ins for the types that wasmtime generates: a
//! fuzzer of them needs no wasmtime, which takes minutes to build.

use arbitrary::Arbitrary;
use arrow_array::Array;

use self::bindings::types::{ColumnResult, Failure, FieldResult, Kind, Output};
use self::field::Column;

mod bindings {
    pub mod types {
        use arbitrary::Arbitrary;

        #[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
        pub enum Kind {
            Boolean,
            Int32,
            Int64,
            Float32,
            Float64,
            Utf8,
            Binary,
            Vector,
            Timestamp,
        }

        #[derive(Debug)]
        pub struct FieldResult {
            pub name: String,
            pub kind: Kind,
            pub nullable: bool,
            pub dim: u32,
        }

        #[derive(Debug, Clone)]
        pub struct ColumnResult {
            pub validity: Option<Vec<u8>>,
            pub offsets: Vec<u32>,
            pub data: Vec<u8>,
        }

        #[derive(Debug, Clone, Arbitrary)]
        pub struct Failure {
            pub row: u32,
            pub message: String,
        }

        #[derive(Debug, Clone)]
        pub struct Output {
            pub rows: u32,
            pub origin: Option<Vec<u32>>,
            pub columns: Vec<ColumnResult>,
            pub failures: Vec<Failure>,
        }
    }
}

#[allow(dead_code)]
#[path = "../../engine/src/transform/field.rs"]
mod field;
#[allow(dead_code)]
#[path = "../../engine/src/transform/validate.rs"]
mod validate;

const MAX_BYTES: u64 = 1 << 20;

/// A plugin's answer that holds together, and what is changed in it.
#[derive(Debug, Arbitrary)]
pub struct Input {
    input_rows: u8,
    /// For each output row how many input rows further it comes from.
    origin: Option<Vec<u8>>,
    columns: Vec<Made>,
    failures: Vec<Failure>,
    edits: Vec<Edit>,
}

#[derive(Debug, Arbitrary)]
struct Made {
    kind: Kind,
    nullable: bool,
    dim: u8,
    validity: Option<Vec<u8>>,
    /// The rows' bytes, and how long each is where lengths differ.
    bytes: Vec<u8>,
    lengths: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Edit {
    Rows(u32),
    Origin { at: u8, value: u32 },
    Columns(u8),
    Column { column: u8, change: Change },
}

#[derive(Debug, Arbitrary)]
enum Change {
    Offset { at: u8, value: u32 },
    Byte { at: u8, value: u8 },
    Data(u8),
    Offsets(u8),
    Validity(u8),
}

impl Made {
    fn field(&self, index: usize) -> Result<Column, String> {
        Column::from_guest(FieldResult {
            name: format!("c{index}"),
            kind: self.kind,
            nullable: self.nullable,
            dim: self.dim.into(),
        })
    }

    /// A column of so many rows.
    fn column(&self, rows: usize) -> ColumnResult {
        let bytes = |count: usize| {
            self.bytes
                .iter()
                .copied()
                .chain(std::iter::repeat(b'a'))
                .take(count)
        };
        let mut offsets = Vec::new();
        let length = match self.kind {
            Kind::Boolean => rows.div_ceil(8),
            Kind::Int32 | Kind::Float32 => rows * 4,
            Kind::Int64 | Kind::Float64 | Kind::Timestamp => rows * 8,
            Kind::Vector => rows * usize::from(self.dim) * 4,
            Kind::Utf8 | Kind::Binary => {
                let lengths = self.lengths.iter().copied().chain(std::iter::repeat(1));
                offsets.push(0);
                offsets.extend(lengths.take(rows).scan(0, |end, length| {
                    *end += u32::from(length);
                    Some(*end)
                }));
                offsets.last().copied().unwrap_or(0) as usize
            }
        };
        let validity = self.validity.as_ref().filter(|_| self.nullable);
        ColumnResult {
            validity: validity.map(|bits| {
                bits.iter()
                    .copied()
                    .chain(std::iter::repeat(0xff))
                    .take(rows.div_ceil(8))
                    .collect()
            }),
            offsets,
            data: bytes(length).collect(),
        }
    }
}

impl Input {
    fn output(&self) -> Output {
        let origin = self.origin.as_ref().map(|steps| {
            let rows = steps.iter().scan(0, |row, step| {
                *row += u32::from(step % 4);
                Some(*row)
            });
            rows.filter(|row| *row < u32::from(self.input_rows))
                .collect::<Vec<_>>()
        });
        let rows = origin.as_ref().map_or(self.input_rows.into(), Vec::len);
        let mut output = Output {
            rows: rows as u32,
            origin,
            columns: self.columns.iter().map(|made| made.column(rows)).collect(),
            failures: self.failures.clone(),
        };
        self.edits.iter().for_each(|edit| edit.apply(&mut output));
        output
    }
}

impl Edit {
    fn apply(&self, output: &mut Output) {
        let count = output.columns.len().max(1);
        match self {
            Self::Rows(rows) => output.rows = *rows,
            Self::Columns(length) => output.columns.truncate((*length).into()),
            Self::Origin { at, value } => {
                set(
                    output.origin.as_deref_mut().unwrap_or_default(),
                    *at,
                    *value,
                );
            }
            Self::Column { column, change } => {
                if let Some(column) = output.columns.get_mut(usize::from(*column) % count) {
                    change.apply(column);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, column: &mut ColumnResult) {
        match *self {
            Self::Offset { at, value } => set(&mut column.offsets, at, value),
            Self::Byte { at, value } => set(&mut column.data, at, value),
            Self::Data(length) => column.data.resize(length.into(), 0x80),
            Self::Offsets(length) => column.offsets.resize(length.into(), 0),
            Self::Validity(length) => column.validity = Some(vec![0x55; length.into()]),
        }
    }
}

fn set<T>(all: &mut [T], at: u8, value: T) {
    let count = all.len().max(1);
    if let Some(one) = all.get_mut(usize::from(at) % count) {
        *one = value;
    }
}

/// Checks a plugin's output; what passes must hold.
pub fn run(input: Input) {
    let fields = input.columns.iter().enumerate();
    let Ok(fields) = fields
        .map(|(i, made)| made.field(i))
        .collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    let input_rows = u32::from(input.input_rows);
    let output = input.output();
    let rows = output.rows as usize;
    let Ok(valid) = validate::validate(output, input_rows, &fields, MAX_BYTES) else {
        return;
    };
    let failed: Vec<u32> = valid.failures.iter().map(|(row, _)| *row).collect();
    assert!(failed.is_sorted_by(|a, b| a < b) && failed.iter().all(|row| *row < input_rows));
    match &valid.origin {
        Some(origin) => {
            assert_eq!(origin.len(), rows);
            assert!(origin.is_sorted() && origin.iter().all(|row| *row < input_rows));
            assert!(origin.iter().all(|row| failed.binary_search(row).is_err()));
        }
        None => assert_eq!(rows, input_rows as usize),
    }
    assert_eq!(valid.columns.len(), fields.len());
    for (array, field) in valid.columns.iter().zip(&fields) {
        assert_eq!((array.len(), array.data_type()), (rows, &field.data_type()));
        assert!(field.nullable || array.null_count() == 0);
        array
            .to_data()
            .validate_full()
            .expect("an array in which everything holds");
    }
}
