//! Rows made into record batches: cells are checked, then appended to one Arrow builder a column.

mod column;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
mod value;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use crate::error::{Error, Result};
use column::Column;
pub use value::Value;

/// What the cells of one row may hold in bytes: with it a column's 32-bit offsets cannot overflow before
/// an appender's greatest number of gathered bytes is reached.
const ROW_BYTES_MAX: usize = 1 << 30;

/// Gathers rows of one schema.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    table: String,
    schema: SchemaRef,
    columns: Vec<Column>,
    /// What every row takes, whatever its texts are.
    fixed_bytes: usize,
    rows: usize,
    bytes: usize,
    /// The rows of the last batch: the next is expected to have as many.
    expected_rows: usize,
}

impl RowBuilder {
    pub(crate) fn new(table: &str, schema: SchemaRef) -> Self {
        let columns: Vec<Column> = schema.fields().iter().map(|f| Column::new(f)).collect();
        Self {
            table: table.to_owned(),
            schema,
            fixed_bytes: columns.iter().map(Column::fixed_bytes).sum(),
            columns,
            rows: 0,
            bytes: 0,
            expected_rows: 0,
        }
    }

    /// Adds one row, its cells in the schema's order. A row that is refused leaves nothing behind.
    pub(crate) fn push(&mut self, cells: &[Value<'_>]) -> Result<()> {
        let bytes = self.check(cells)?;
        if self.rows == 0 && self.expected_rows > 0 {
            for column in &mut self.columns {
                column.reserve(self.expected_rows);
            }
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.rows += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// How many bytes the row takes, if every cell fits its column.
    fn check(&self, cells: &[Value<'_>]) -> Result<usize> {
        if cells.len() != self.columns.len() {
            let (found, expected) = (cells.len(), self.columns.len());
            let reason = format!("the row has {found} cells instead of {expected}");
            return Err(self.mismatch(reason));
        }
        let mut bytes = self.fixed_bytes;
        for (column, cell) in self.columns.iter().zip(cells) {
            if !column.admits(cell) {
                return Err(self.refusal(column, cell));
            }
            bytes = bytes.saturating_add(cell.variable_bytes());
        }
        match bytes <= ROW_BYTES_MAX {
            true => Ok(bytes),
            false => Err(Error::RecordTooLarge {
                bytes: bytes as u64,
                limit: ROW_BYTES_MAX as u64,
            }),
        }
    }

    #[cold]
    fn refusal(&self, column: &Column, cell: &Value<'_>) -> Error {
        match column.takes_cells() {
            true => self.mismatch(column.refusal(cell)),
            false => Error::invalid(
                format!("column {:?} of table {:?}", column.name(), self.table),
                format!(
                    "a row cannot give a value of type {}; append a RecordBatch",
                    column.data_type()
                ),
            ),
        }
    }

    #[cold]
    fn mismatch(&self, reason: String) -> Error {
        Error::SchemaMismatch {
            table: self.table.clone(),
            reason,
        }
    }

    /// How many rows were added since the last batch.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows as a batch, which may be empty; the builder begins anew.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        self.expected_rows = rows;
        let columns: Result<Vec<_>, _> = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        columns
            .and_then(|columns| {
                RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            })
            .map_err(Error::arrow("make a batch of rows"))
    }
}
