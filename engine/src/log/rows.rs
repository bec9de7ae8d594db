//! The rows of a log, a batch for each append.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::append::Log;
use super::reader::LogReader;
use crate::error::Result;

/// A batch as it was appended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoggedBatch {
    /// The rows' offsets.
    pub offsets: Range<u64>,
    /// When they were appended: microseconds since 1970-01-01 UTC.
    pub timestamp_us: i64,
    /// The rows. Their buffers are the log's mapped memory.
    pub batch: RecordBatch,
}

/// The rows of a log in the order of their offsets. After `None` it goes on once more was appended.
#[derive(Debug)]
pub struct LogRows {
    /// `None` after an error, which would only come again.
    reader: Option<LogReader>,
    schema: SchemaRef,
}

impl LogRows {
    pub(crate) fn new(log: &Log, schema: SchemaRef, from: u64) -> Self {
        let reader = Some(log.read_from(from));
        Self { reader, schema }
    }
}

impl Iterator for LogRows {
    type Item = Result<LoggedBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.reader.as_mut()?.next_frame().transpose()?;
        let rows = frame.and_then(|frame| {
            Ok(LoggedBatch {
                offsets: frame.header.base_offset..frame.header.end_offset,
                timestamp_us: frame.header.timestamp_us,
                batch: frame.batch_verified_once(Arc::clone(&self.schema))?,
            })
        });
        if rows.is_err() {
            self.reader = None;
        }
        Some(rows)
    }
}
