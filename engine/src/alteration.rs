//! What can be changed of a table's columns, and what becomes of them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema};

use crate::catalog::check_columns;
use crate::error::{Error, Result};
use crate::schemas::is_widening;
use crate::shape::Shape;

/// A change of a table's columns, for [`Table::alter`](crate::Table::alter).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alteration {
    /// A new column, behind the others; it must be one that may be null, as it is in the rows that are there. A name that a
    /// column had that was dropped can be used again with the same type.
    Add(Field),
    /// A column of a larger type: int8, 16, 32 to a wider int, uint8, 16, 32 to a wider uint, float16, 32 to a wider float,
    /// utf8 to large_utf8, binary to large_binary.
    Widen {
        /// The column.
        column: String,
        /// Its type from now on.
        to: DataType,
    },
    /// A column that goes: its values are read no more, neither from the log nor from the lake.
    Drop(String),
}

/// A table's columns after alterations.
#[derive(Debug)]
pub(crate) struct Altered {
    pub(crate) schema: Schema,
    /// The names of those that are gone.
    pub(crate) dropped: Vec<String>,
}

impl Altered {
    /// What alterations make of a table's columns.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what can't be.
    pub(crate) fn new(shape: &Shape, alterations: &[Alteration]) -> Result<Self> {
        let before = shape.schemas.newest();
        let mut fields: Vec<FieldRef> = before.fields().iter().cloned().collect();
        for alteration in alterations {
            match alteration {
                Alteration::Add(field) => {
                    check_added(shape, &fields, field)?;
                    fields.push(Arc::new(field.clone()));
                }
                Alteration::Widen { column, to } => widen(&mut fields, column, to)?,
                Alteration::Drop(column) => {
                    let at = position(&fields, column)?;
                    fields.remove(at);
                }
            }
        }
        let schema = Schema::new_with_metadata(fields, before.metadata().clone());
        check_columns(&schema)?;
        let is_gone = |name: &String| schema.field_with_name(name).is_err();
        let names = before.fields().iter().map(|field| field.name().clone());
        Ok(Self {
            dropped: names.filter(is_gone).collect(),
            schema,
        })
    }
}

fn position(fields: &[FieldRef], column: &str) -> Result<usize> {
    let at = fields.iter().position(|field| field.name() == column);
    at.ok_or_else(|| {
        let names: Vec<_> = fields.iter().map(|field| field.name()).collect();
        refused(column, format!("is not there; the table has {names:?}"))
    })
}

fn widen(fields: &mut [FieldRef], column: &str, to: &DataType) -> Result<()> {
    let at = position(fields, column)?;
    let Some(field) = fields.get_mut(at) else {
        return Ok(());
    };
    let from = field.data_type();
    if !is_widening(from, to) {
        let reason = format!(
            "is {from}, and can't become {to}: ints, uints and floats can be made wider, Utf8 and Binary large"
        );
        return Err(refused(column, reason));
    }
    *field = Arc::new(field.as_ref().clone().with_data_type(to.clone()));
    Ok(())
}

/// Refuses a column that cannot come, or whose name means something else in rows that are there.
fn check_added(shape: &Shape, fields: &[FieldRef], field: &Field) -> Result<()> {
    let name = field.name();
    let is_of_name = |other: &&FieldRef| other.name().eq_ignore_ascii_case(name);
    if !field.is_nullable() {
        let reason = "must be one that may be null, as it is in the rows that are there";
        return Err(refused(name, reason.to_owned()));
    }
    if fields.iter().any(|other| is_of_name(&other)) {
        return Err(refused(name, "is in the table already".to_owned()));
    }
    let was_in_table = shape
        .schemas
        .newest()
        .fields()
        .iter()
        .any(|f| is_of_name(&f));
    let mut lake = shape.lake_schema.fields().iter();
    if let Some(other) = lake.find(|other| is_of_name(other) && !was_in_table) {
        let reason = format!(
            "is in the lake already, as {} of transforms; choose another name",
            other.data_type()
        );
        return Err(refused(name, reason));
    }
    let earlier = shape.schemas.all().rev().chain(shape.all_made());
    let mut earlier = earlier.flat_map(|schema| schema.fields().iter());
    let other = earlier.find(|other| {
        is_of_name(other) && (other.name() != name || other.data_type() != field.data_type())
    });
    match other {
        None if was_in_table => {
            let reason = "is dropped by the same call; add it by another";
            Err(refused(name, reason.to_owned()))
        }
        None => Ok(()),
        Some(other) => Err(refused(
            name,
            format!(
                "was there as {:?} of type {} before; choose another name",
                other.name(),
                other.data_type()
            ),
        )),
    }
}

fn refused(column: &str, reason: String) -> Error {
    Error::invalid(format!("column {column:?}"), reason)
}
