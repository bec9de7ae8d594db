//! The rows of a log, a batch for each append.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;

use super::append::Log;
use super::decoder::Decoder;
use super::reader::{Frame, LogReader};
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
    frames: Box<dyn ReadFrames>,
}

/// What makes rows of frames, whatever schema they have.
pub(crate) trait ReadFrames: fmt::Debug + Send + Sync {
    /// The rows of a frame, without checking again what this process has checked, or has written itself.
    fn read(&mut self, frame: &Frame) -> Result<RecordBatch>;

    /// From now on only the columns of these names, in this order.
    fn project(&mut self, names: &[&str]) -> Result<()>;
}

/// Frames that all have one schema.
impl ReadFrames for Decoder {
    fn read(&mut self, frame: &Frame) -> Result<RecordBatch> {
        frame.batch_verified_once(self)
    }

    fn project(&mut self, names: &[&str]) -> Result<()> {
        let projected = Self::of_columns(Arc::clone(self.whole()), names);
        *self = projected.map_err(|reason| Error::invalid("columns", reason.to_string()))?;
        Ok(())
    }
}

impl LogRows {
    pub(crate) fn new(log: &Log, frames: Box<dyn ReadFrames>, from: u64) -> Self {
        Self {
            reader: Some(log.read_from(from)),
            frames,
        }
    }

    /// Only the columns of these names, in this order. The others are neither decoded nor validated, so a scan of a
    /// few columns of many is several times faster.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that is not a column's, or is there twice.
    pub fn columns(mut self, names: &[&str]) -> Result<Self> {
        self.frames.project(names)?;
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
                batch: self.frames.read(&frame)?,
            })
        });
        if rows.is_err() {
            self.reader = None;
        }
        Some(rows)
    }
}
