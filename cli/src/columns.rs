//! The types a table's columns can have, as they are written on the command line.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The longest vector a column can hold.
const MAX_DIM: usize = 65_536;

/// The type names, for messages.
const TYPES: &str = "bool, int32, int64, float32, float64, utf8, binary, timestamp or vector[N]";

/// A column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 32-bit signed integer.
    Int32,
    /// A 64-bit signed integer.
    Int64,
    /// A 32-bit IEEE 754 number.
    Float32,
    /// A 64-bit IEEE 754 number.
    Float64,
    /// Text.
    Utf8,
    /// Bytes.
    Binary,
    /// Microseconds since 1970-01-01 UTC.
    Timestamp,
    /// A fixed number of 32-bit floats.
    Vector(usize),
}

impl Kind {
    /// The kind of an Arrow type, or nothing where no table has such a column.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Utf8 => Self::Utf8,
            DataType::Binary => Self::Binary,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::Timestamp,
            DataType::FixedSizeList(item, dim) if item.data_type() == &DataType::Float32 => {
                Self::Vector(usize::try_from(*dim).ok()?)
            }
            _ => return None,
        })
    }

    /// The Arrow type of the kind.
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Utf8 => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Vector(dim) => DataType::FixedSizeList(
                Arc::new(Field::new_list_field(DataType::Float32, true)),
                i32::try_from(dim).unwrap_or(i32::MAX),
            ),
        }
    }

    /// Reads a type's name.
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            "utf8" => Self::Utf8,
            "binary" => Self::Binary,
            "timestamp" => Self::Timestamp,
            _ => {
                let Some(dim) = name
                    .strip_prefix("vector[")
                    .and_then(|rest| rest.strip_suffix(']'))
                else {
                    return Err(format!("there is no type {name:?}; write {TYPES}"));
                };
                match dim.parse::<usize>() {
                    Ok(dim) if (1..=MAX_DIM).contains(&dim) => Self::Vector(dim),
                    _ => {
                        return Err(format!(
                            "a vector has 1 to {MAX_DIM} numbers, not {dim:?}: write vector[256], say"
                        ));
                    }
                }
            }
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Utf8 => f.write_str("utf8"),
            Self::Binary => f.write_str("binary"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Vector(dim) => write!(f, "vector[{dim}]"),
        }
    }
}

/// Reads `NAME:TYPE` or `NAME:TYPE?`. The last colon counts, so that a name may hold one.
pub(crate) fn parse_column(text: &str) -> Result<Field, String> {
    let Some((name, kind)) = text.rsplit_once(':') else {
        return Err(format!("write NAME:TYPE, where TYPE is {TYPES}"));
    };
    if name.is_empty() {
        return Err("the name before the colon is missing".to_owned());
    }
    let (kind, nullable) = match kind.strip_suffix('?') {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    Ok(Field::new(name, Kind::parse(kind)?.data_type(), nullable))
}

/// The schema of the columns in the order in which they were given.
pub(crate) fn schema(columns: &[Field]) -> Result<SchemaRef, String> {
    for (index, column) in columns.iter().enumerate() {
        if columns
            .iter()
            .skip(index + 1)
            .any(|c| c.name() == column.name())
        {
            return Err(format!("column {:?} is given twice", column.name()));
        }
    }
    Ok(Arc::new(Schema::new(columns.to_vec())))
}

/// A column as it is written on the command line: `caption:utf8?`.
pub(crate) fn describe(field: &Field) -> String {
    let kind = Kind::of(field.data_type())
        .map_or_else(|| field.data_type().to_string(), |kind| kind.to_string());
    let mark = if field.is_nullable() { "?" } else { "" };
    format!("{}:{kind}{mark}", field.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_and_described_alike() {
        for text in [
            "a:bool",
            "a:int32",
            "a:int64?",
            "a:float32",
            "a:float64?",
            "a:utf8",
            "a:binary?",
            "a:timestamp",
            "a:vector[3]?",
            "a:b:utf8",
        ] {
            assert_eq!(describe(&parse_column(text).unwrap()), text);
        }
    }

    #[test]
    fn a_column_without_a_type_is_refused_with_the_types_there_are() {
        let error = parse_column("caption").unwrap_err();
        assert!(
            error.contains("NAME:TYPE") && error.contains("utf8"),
            "{error}"
        );
        let error = parse_column("caption:string").unwrap_err();
        assert!(error.contains("no type \"string\""), "{error}");
        assert!(parse_column(":utf8").is_err());
    }

    #[test]
    fn a_vectors_length_is_bounded() {
        for text in [
            "v:vector[0]",
            "v:vector[65537]",
            "v:vector[-1]",
            "v:vector[]",
            "v:vector[x]",
        ] {
            let error = parse_column(text).unwrap_err();
            assert!(error.contains("1 to 65536"), "{text}: {error}");
        }
        assert!(parse_column("v:vector[65536]").is_ok());
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let columns = [
            parse_column("a:utf8").unwrap(),
            parse_column("a:bool").unwrap(),
        ];
        assert!(
            schema(&columns)
                .unwrap_err()
                .contains("\"a\" is given twice")
        );
    }
}
