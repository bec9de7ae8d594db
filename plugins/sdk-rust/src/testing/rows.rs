//! Input rows, from plain Rust values.

use super::column;
use crate::{Cell, Column, Field, Value, field};

/// Rows to transform, column by column.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    schema: Vec<Field>,
    columns: Vec<Vec<Value>>,
}

impl Rows {
    /// No rows, and no columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with one more column. Its kind is that of the values' type (`&str` and `String`
    /// are utf8, `&[u8]` and `Vec<u8>` binary, `Vec<f32>` a vector,
    /// [`Timestamp`](crate::Timestamp) a timestamp); it may be null if they are `Option`s.
    pub fn column<C: Cell>(mut self, name: &str, values: impl IntoIterator<Item = C>) -> Self {
        let values: Vec<C> = values.into_iter().collect();
        let dim = values.iter().map(C::dim).max().unwrap_or_default();
        self.schema
            .push(field(name, C::KIND, C::NULLABLE, dim as u32));
        self.columns
            .push(values.into_iter().map(Into::into).collect());
        self
    }

    /// The columns that there are.
    pub fn schema(&self) -> &[Field] {
        &self.schema
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> Result<u32, String> {
        let rows = self.columns.first().map_or(0, Vec::len);
        if self.columns.iter().any(|column| column.len() != rows) {
            return Err("the columns of the rows are not of one length".to_owned());
        }
        u32::try_from(rows).map_err(|_| "too many rows".to_owned())
    }

    /// The columns that a plan reads.
    pub(super) fn inputs(&self, inputs: &[Field]) -> Result<Vec<Column>, String> {
        let input = |input: &Field| {
            let mut columns = self.schema.iter().zip(&self.columns);
            let (field, values) = columns
                .find(|(field, _)| field.name == input.name)
                .ok_or_else(|| format!("the rows have no column `{}`", input.name))?;
            column::build(field, values)
        };
        inputs.iter().map(input).collect()
    }
}

/// Values of one kind, as [`Made::column`](super::Made::column) gives them.
pub fn values<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Vec<Value> {
    values.into_iter().map(Into::into).collect()
}
