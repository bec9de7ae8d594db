//! What a transform makes of a batch.

use crate::{Batch, Column, Failure, Output};

impl Output {
    /// One row for each of the batch.
    pub fn one_to_one(batch: &Batch, columns: Vec<Column>) -> Self {
        Self {
            // A batch is made with a u32.
            rows: u32::try_from(batch.rows()).unwrap_or(u32::MAX),
            origin: None,
            columns,
            failures: Vec::new(),
        }
    }

    /// A row for each number in `origin`, that of the input row which it comes from, never
    /// decreasing: an input row that is missing was filtered, one that is repeated became many.
    pub fn from_rows(origin: Vec<u32>, columns: Vec<Column>) -> Self {
        Self {
            // The columns' offsets would not reach further.
            rows: u32::try_from(origin.len()).unwrap_or(u32::MAX),
            origin: Some(origin),
            columns,
            failures: Vec::new(),
        }
    }

    /// The same, with the rows that failed.
    pub fn with_failures(self, failures: Vec<Failure>) -> Self {
        Self { failures, ..self }
    }
}

impl Failure {
    /// A row of the input batch, and what is wrong with it.
    pub fn new(row: u32, message: impl ToString) -> Self {
        Self {
            row,
            message: message.to_string(),
        }
    }
}
