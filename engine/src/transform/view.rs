//! A batch on its way through a chain: what passes through is not copied before somebody reads it.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::take::take;

use super::rows::add_row_bytes;
use super::wiring::Source;

/// The rows between two stages.
pub(super) struct View<'a> {
    original: &'a RecordBatch,
    /// For each row the original one; `None` is one to one.
    origin: Option<UInt32Array>,
    columns: Vec<Column>,
}

#[derive(Clone)]
enum Column {
    /// The original column of that index, not yet gathered by the origin.
    Passed(usize),
    Made(ArrayRef),
}

impl<'a> View<'a> {
    pub(super) fn new(original: &'a RecordBatch) -> Self {
        Self {
            original,
            origin: None,
            columns: (0..original.num_columns()).map(Column::Passed).collect(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        match &self.origin {
            Some(origin) => origin.len(),
            None => self.original.num_rows(),
        }
    }

    /// The original row that a row comes from.
    pub(super) fn original_row(&self, row: u32) -> u32 {
        let origin = self.origin.as_ref().map(|origin| origin.values());
        origin
            .and_then(|origin| origin.get(row as usize))
            .copied()
            .unwrap_or(row)
    }

    /// A column with a value for each row.
    pub(super) fn column(&self, index: usize) -> Result<ArrayRef, ArrowError> {
        let missing = || ArrowError::SchemaError(format!("there is no column {index}"));
        match self.columns.get(index).ok_or_else(missing)? {
            Column::Made(column) => Ok(column.clone()),
            Column::Passed(index) => {
                let column = self.original.columns().get(*index).ok_or_else(missing)?;
                match &self.origin {
                    Some(origin) => take(column, origin, None),
                    None => Ok(column.clone()),
                }
            }
        }
    }

    /// Adds a column's bytes in each of some rows to `sizes`.
    pub(super) fn add_row_bytes(&self, index: usize, rows: Range<usize>, sizes: &mut [u64]) {
        let Some(column) = self.columns.get(index) else {
            return;
        };
        let (column, origin) = match column {
            Column::Made(column) => (Some(column), None),
            Column::Passed(index) => (self.original.columns().get(*index), self.origin.as_ref()),
        };
        let Some(column) = column else { return };
        let Some(origin) = origin.and_then(|origin| origin.values().get(rows.clone())) else {
            add_row_bytes(&column.slice(rows.start, rows.len()), sizes);
            return;
        };
        let (Some(first), Some(last)) = (origin.first(), origin.last()) else {
            return;
        };
        let mut originals = vec![0; (last - first) as usize + 1];
        add_row_bytes(
            &column.slice(*first as usize, originals.len()),
            &mut originals,
        );
        for (size, row) in sizes.iter_mut().zip(origin) {
            let bytes = originals.get((row - first) as usize).copied();
            *size = size.saturating_add(bytes.unwrap_or(0));
        }
    }

    /// Puts a stage's columns in their places. `from` tells the row that each of theirs comes from.
    pub(super) fn advance(
        &mut self,
        layout: &[Source],
        made: &[ArrayRef],
        from: Option<UInt32Array>,
    ) -> Result<(), ArrowError> {
        let columns = layout.iter().map(|source| {
            let column = match source {
                Source::Made(index) => made.get(*index).cloned().map(Column::Made),
                Source::Passed(index) => match (self.columns.get(*index), &from) {
                    (Some(Column::Made(column)), Some(from)) => {
                        Some(Column::Made(take(column, from, None)?))
                    }
                    (column, _) => column.cloned(),
                },
            };
            column.ok_or_else(|| ArrowError::SchemaError("a column is missing".to_owned()))
        });
        self.columns = columns.collect::<Result<_, _>>()?;
        if let Some(from) = from {
            let rows = from.values().iter().map(|row| self.original_row(*row));
            self.origin = Some(UInt32Array::from_iter_values(rows));
        }
        Ok(())
    }

    /// Drops the rows that come from originals which `is_out` names.
    pub(super) fn drop_rows(&mut self, is_out: impl Fn(u32) -> bool) -> Result<(), ArrowError> {
        let rows = match &self.origin {
            Some(origin) if origin.values().iter().any(|row| is_out(*row)) => origin,
            _ => return Ok(()),
        };
        let kept = rows.values().iter().zip(0_u32..);
        let kept = kept.filter(|(row, _)| !is_out(**row));
        let (origin, indices): (Vec<u32>, Vec<u32>) = kept.map(|(row, i)| (*row, i)).unzip();
        let indices = UInt32Array::from(indices);
        for column in &mut self.columns {
            if let Column::Made(column) = column {
                *column = take(column, &indices, None)?;
            }
        }
        self.origin = Some(origin.into());
        Ok(())
    }

    /// The columns that were made, in order, and the origin.
    pub(super) fn finish(self) -> (Vec<ArrayRef>, Option<Vec<u32>>) {
        let made = self.columns.into_iter().filter_map(|column| match column {
            Column::Made(column) => Some(column),
            Column::Passed(_) => None,
        });
        let origin = self.origin.map(|origin| origin.values().to_vec());
        (made.collect(), origin)
    }
}
