//! The rows of a log, a batch for each append.

use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::append::Log;
use super::decoder::Decoder;
use super::reader::LogReader;
use crate::error::{Error, Result};

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
    decoder: Decoder,
}

impl LogRows {
    pub(crate) fn new(log: &Log, schema: SchemaRef, from: u64) -> Self {
        Self {
            reader: Some(log.read_from(from)),
            decoder: Decoder::new(schema),
        }
    }

    /// Only the columns of these names, in this order. The others are neither decoded nor validated, so a scan of a
    /// few columns of many is several times faster.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that is not a column's, or is there twice.
    pub fn columns(mut self, names: &[&str]) -> Result<Self> {
        let whole = SchemaRef::clone(self.decoder.whole());
        self.decoder = Decoder::of_columns(whole, names)
            .map_err(|reason| Error::invalid("columns", reason.to_string()))?;
        Ok(self)
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
                batch: frame.batch_verified_once(&self.decoder)?,
            })
        });
        if rows.is_err() {
            self.reader = None;
        }
        Some(rows)
    }
}
