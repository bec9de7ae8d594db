//! Gathers what the calls on one batch made.

use arrow_array::{Array, ArrayRef, UInt32Array, new_empty_array, new_null_array};
use arrow_schema::{ArrowError, DataType};

use super::field::Column;
use super::limits::show_bytes;
use super::spec::OnError;
use super::validate::Valid;

pub(super) struct Made {
    on_error: OnError,
    types: Vec<DataType>,
    /// For each output of the plan its parts.
    parts: Vec<Vec<ArrayRef>>,
    origin: Vec<u32>,
    failures: Vec<(u32, String)>,
    pub(super) nulled: u32,
    /// Bytes of the parts, and of what their repeated rows will copy.
    pub(super) bytes: u64,
}

impl Made {
    pub(super) fn new(outputs: &[Column], on_error: OnError) -> Self {
        Self {
            on_error,
            types: outputs.iter().map(Column::data_type).collect(),
            parts: vec![Vec::new(); outputs.len()],
            origin: Vec::new(),
            failures: Vec::new(),
            nulled: 0,
            bytes: 0,
        }
    }

    /// Whether a record failed that must not.
    pub(super) fn halted(&self) -> bool {
        self.on_error == OnError::Fail && !self.failures.is_empty()
    }

    /// Adds what was made of the `count` rows from `start` on.
    pub(super) fn add(
        &mut self,
        start: usize,
        count: usize,
        valid: Valid,
    ) -> Result<(), ArrowError> {
        self.bytes = self.bytes.saturating_add(valid.bytes);
        let start = u32::try_from(start).map_err(|e| ArrowError::ComputeError(e.to_string()))?;
        if valid.origin.is_none() && valid.failures.is_empty() {
            self.origin.extend((start..).take(count));
            self.push(valid.columns);
            return Ok(());
        }
        // The input row of each output row, and which row of the columns it is: none is null.
        let mut picks: Vec<(u32, Option<u32>)> = match valid.origin {
            Some(origin) => origin.into_iter().zip((0..).map(Some)).collect(),
            None => (0..).map(|row| (row, Some(row))).take(count).collect(),
        };
        let columns = match valid.failures.is_empty() {
            true => valid.columns,
            false => {
                let failed = |row: u32| {
                    valid
                        .failures
                        .binary_search_by_key(&row, |(row, _)| *row)
                        .is_ok()
                };
                picks.retain(|(row, _)| !failed(*row));
                if self.on_error == OnError::Null {
                    picks.extend(valid.failures.iter().map(|(row, _)| (*row, None)));
                    picks.sort_by_key(|(row, _)| *row);
                }
                pick(&valid.columns, &picks)?
            }
        };
        self.push(columns);
        self.origin.extend(picks.iter().map(|(row, _)| start + row));
        if self.on_error == OnError::Null {
            if let Some((row, reason)) = valid.failures.first() {
                let reason = reason.escape_debug().to_string();
                let records = valid.failures.len();
                tracing::warn!(
                    row = start + row,
                    records,
                    reason,
                    "records failed; their outputs are null"
                );
            }
            let nulled = u32::try_from(valid.failures.len()).unwrap_or(u32::MAX);
            self.nulled = self.nulled.saturating_add(nulled);
        } else {
            let failures = valid.failures.into_iter();
            self.failures
                .extend(failures.map(|(row, message)| (start + row, message)));
        }
        Ok(())
    }

    fn push(&mut self, columns: Vec<ArrayRef>) {
        let parts = self.parts.iter_mut().zip(columns);
        parts.for_each(|(parts, column)| parts.push(column));
    }

    /// Refuses, as the batch's fault and no record's, more bytes than all of its calls may hand back.
    pub(super) fn check_total(&self, valid: &Valid, total: u64) -> Result<(), ArrowError> {
        match self.bytes > 0 && self.bytes.saturating_add(valid.bytes) > total {
            true => Err(ArrowError::MemoryError(format!(
                "more than {}",
                show_bytes(total)
            ))),
            false => Ok(()),
        }
    }

    /// Fails the `count` rows from `start` on.
    pub(super) fn fail(
        &mut self,
        start: usize,
        count: usize,
        reason: &str,
    ) -> Result<(), ArrowError> {
        let rows = u32::try_from(count).map_err(|e| ArrowError::ComputeError(e.to_string()))?;
        let valid = Valid {
            origin: Some(Vec::new()),
            columns: self.types.iter().map(new_empty_array).collect(),
            failures: (0..rows).map(|row| (row, reason.to_owned())).collect(),
            bytes: 0,
        };
        self.add(start, count, valid)
    }

    /// The columns, the input row of each of their rows, and the failures.
    #[expect(
        clippy::type_complexity,
        reason = "three parts, taken apart at the one call"
    )]
    pub(super) fn finish(
        self,
    ) -> Result<(Vec<ArrayRef>, Vec<u32>, Vec<(u32, String)>), ArrowError> {
        let columns = self
            .types
            .iter()
            .zip(&self.parts)
            .map(|(data_type, parts)| match parts.as_slice() {
                [] => Ok(new_empty_array(data_type)),
                [part] => Ok(part.clone()),
                parts => arrow_select::concat::concat(
                    &parts.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
                ),
            });
        Ok((
            columns.collect::<Result<_, _>>()?,
            self.origin,
            self.failures,
        ))
    }
}

fn pick(columns: &[ArrayRef], picks: &[(u32, Option<u32>)]) -> Result<Vec<ArrayRef>, ArrowError> {
    let indices: UInt32Array = picks.iter().map(|(_, row)| *row).collect();
    let picked = columns.iter().map(|column| match column.is_empty() {
        true => Ok(new_null_array(column.data_type(), indices.len())),
        false => arrow_select::take::take(column, &indices, None),
    });
    picked.collect()
}
