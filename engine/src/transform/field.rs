//! A column's name and type, in the contract's terms and in Arrow's.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

use super::bindings::types::FieldResult;
pub(super) use super::bindings::types::Kind;

/// The longest vector a plugin may declare.
const MAX_DIM: u32 = 65_536;
/// The longest column name a plugin may declare, in bytes.
const MAX_NAME: usize = 256;

/// A column of a kind that can cross to a plugin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
    pub(super) dim: u32,
}

impl Column {
    /// The table's column under the plugin's name, if the contract has its type.
    pub(super) fn from_arrow(name: &str, field: &Field) -> Option<Self> {
        let (kind, dim) = kind_of(field.data_type())?;
        Some(Self {
            name: name.to_owned(),
            kind,
            nullable: field.is_nullable(),
            dim,
        })
    }

    /// A column that a plugin declared, checked.
    pub(super) fn from_guest(field: FieldResult) -> Result<Self, String> {
        let FieldResult {
            name,
            kind,
            nullable,
            dim,
        } = field;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(format!(
                "it declares a column whose name has {} bytes; 1 to {MAX_NAME} are allowed",
                name.len()
            ));
        }
        match kind {
            Kind::Vector if dim == 0 || dim > MAX_DIM => Err(format!(
                "it declares vector column {name:?} of dimension {dim}; 1 to {MAX_DIM} are allowed"
            )),
            Kind::Vector => Ok(Self {
                name,
                kind,
                nullable,
                dim,
            }),
            _ => Ok(Self {
                name,
                kind,
                nullable,
                dim: 0,
            }),
        }
    }

    /// The Arrow type that the column has on the host.
    pub(super) fn data_type(&self) -> DataType {
        match self.kind {
            Kind::Boolean => DataType::Boolean,
            Kind::Int32 => DataType::Int32,
            Kind::Int64 => DataType::Int64,
            Kind::Float32 => DataType::Float32,
            Kind::Float64 => DataType::Float64,
            Kind::Utf8 => DataType::Utf8,
            Kind::Binary => DataType::Binary,
            Kind::Vector => {
                let item = Field::new("item", DataType::Float32, true);
                DataType::FixedSizeList(Arc::new(item), i32::try_from(self.dim).unwrap_or(i32::MAX))
            }
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    pub(super) fn to_arrow(&self) -> Field {
        Field::new(&self.name, self.data_type(), self.nullable)
    }

    /// "utf8", "vector of 384".
    pub(super) fn type_name(&self) -> String {
        match self.kind {
            Kind::Vector => format!("vector of {}", self.dim),
            kind => format!("{kind:?}")
                .trim_start_matches("Kind::")
                .to_lowercase(),
        }
    }
}

/// The kind, and the dimension of a vector, that an Arrow type crosses as.
fn kind_of(data_type: &DataType) -> Option<(Kind, u32)> {
    let kind = match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Int32 => Kind::Int32,
        DataType::Int64 => Kind::Int64,
        DataType::Float32 => Kind::Float32,
        DataType::Float64 => Kind::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Binary,
        DataType::Timestamp(..) => Kind::Timestamp,
        DataType::FixedSizeList(item, dim) if item.data_type() == &DataType::Float32 => {
            let dim = u32::try_from(*dim).ok().filter(|d| *d > 0)?;
            return Some((Kind::Vector, dim));
        }
        DataType::Dictionary(_, values) => match kind_of(values)? {
            (kind @ (Kind::Utf8 | Kind::Binary), _) => kind,
            _ => return None,
        },
        _ => return None,
    };
    Some((kind, 0))
}
