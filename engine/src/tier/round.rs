//! One round: frames of the log become rows of the lake and dead letters.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;

use crate::error::{Error, Result};
use crate::log::{Frame, Log};
use crate::tier::dead_letters::DeadLetters;
use crate::tier::lake::Progress;
use crate::transform::{Chain, Transformed};

/// Small frames are gathered up to this many bytes before they are transformed and written.
const GATHER_BYTES: u64 = 4 << 20;
/// As [`GATHER_BYTES`], in rows.
const GATHER_ROWS: u64 = 8192;
/// Transforms are given at most so many rows at a time, which bounds what they make of them.
const TRANSFORM_ROWS: usize = 1024;
/// As [`TRANSFORM_ROWS`], in bytes; a single larger row goes alone.
const TRANSFORM_BYTES: usize = 8 << 20;

/// What turns a table's log rows into lake rows.
pub(crate) struct RoundInput<'a> {
    pub(crate) raw: &'a Log,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) lake_schema: &'a SchemaRef,
    pub(crate) bucket: i32,
    pub(crate) chain: Option<&'a mut Chain>,
    pub(crate) dead: &'a DeadLetters,
}

impl RoundInput<'_> {
    /// Reads the log from `before.to` to `until`, or to where it is when `stop` says so, and hands the lake's
    /// rows to `sink`, which says whether it wants more. Dead letters are durable when this returns. Gives the
    /// progress once the rows are in.
    pub(crate) fn run(
        &mut self,
        before: Progress,
        until: u64,
        stop: &dyn Fn() -> bool,
        mut sink: impl FnMut(RecordBatch) -> bool,
    ) -> Result<Progress> {
        let mut after = before;
        let mut reader = self.raw.read_from(before.to);
        let mut next = reader.next_frame()?;
        while let Some(first) = next.take() {
            let mut end = first.header.end_offset;
            let mut bytes = first.header.frame_bytes();
            let mut gathered = vec![first];
            while end < until {
                let Some(frame) = reader.next_frame()? else {
                    break;
                };
                // A large frame goes alone: together they might be more than an array can hold.
                bytes += frame.header.frame_bytes();
                if bytes > GATHER_BYTES || end - after.to >= GATHER_ROWS {
                    next = Some(frame);
                    break;
                }
                end = frame.header.end_offset;
                gathered.push(frame);
            }
            if !self.settle(&gathered, &mut after, stop, &mut sink)? {
                break;
            }
        }
        self.dead.sync()?;
        Ok(after)
    }

    /// Transforms the rows of some frames from `after.to` on, counts them and hands them to the sink, as
    /// long as it wants more.
    fn settle(
        &mut self,
        frames: &[Frame],
        after: &mut Progress,
        stop: &dyn Fn() -> bool,
        sink: &mut impl FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        let (batch, timestamps) = self.rows_of(frames, after.to)?;
        let rows = batch.num_rows();
        let piece = match self.chain {
            Some(_) => {
                let row_bytes = bytes_of(&batch)? / rows.max(1);
                (TRANSFORM_BYTES / row_bytes.max(1)).clamp(1, TRANSFORM_ROWS)
            }
            None => rows,
        };
        let (mut start, mut piece) = (0, piece.max(1));
        while start < rows {
            let length = piece.min(rows - start);
            let times = timestamps.get(start..start + length).unwrap_or_default();
            let made = match self.settle_rows(batch.slice(start, length), times, after) {
                Err(Error::TransformOutput { .. }) if length > 1 => {
                    piece = length / 2;
                    continue;
                }
                made => made?,
            };
            if (made.num_rows() > 0 && !sink(made)) || stop() {
                return Ok(false);
            }
            start += length;
        }
        Ok(true)
    }

    fn settle_rows(
        &mut self,
        batch: RecordBatch,
        timestamps: &[i64],
        after: &mut Progress,
    ) -> Result<RecordBatch> {
        let made = match &mut self.chain {
            Some(chain) => chain
                .apply(&batch)
                .map_err(|error| at_offset(error, after.to))?,
            None => Transformed {
                batch: batch.clone(),
                origin: None,
                failures: Vec::new(),
                filtered: 0,
                nulled: 0,
            },
        };
        let first = after.to as i64;
        let offsets: Vec<i64> = (first..first + batch.num_rows() as i64).collect();
        after.to += batch.num_rows() as u64;
        self.dead
            .append(&batch, &offsets, timestamps, &made.failures)?;
        after.dead += made.failures.len() as u64;
        after.filtered += u64::from(made.filtered);
        after.rows += made.batch.num_rows() as u64;
        self.lake_rows(made, offsets, timestamps)
    }

    /// The rows of some frames from an offset on, and each row's append time.
    fn rows_of(&self, frames: &[Frame], from: u64) -> Result<(RecordBatch, Vec<i64>)> {
        let mut batches = Vec::with_capacity(frames.len());
        let mut timestamps = Vec::new();
        for frame in frames {
            let batch = frame.batch(Arc::clone(self.schema))?;
            let skip = from.saturating_sub(frame.header.base_offset) as usize;
            let skip = skip.min(batch.num_rows());
            let batch = batch.slice(skip, batch.num_rows() - skip);
            timestamps.extend(std::iter::repeat_n(
                frame.header.timestamp_us,
                batch.num_rows(),
            ));
            batches.push(batch);
        }
        let batch = match batches.as_slice() {
            [one] => one.clone(),
            many => {
                concat_batches(self.schema, many).map_err(Error::arrow("gather small frames"))?
            }
        };
        Ok((batch, timestamps))
    }

    /// Adds the lake's own columns.
    fn lake_rows(
        &self,
        made: Transformed,
        offsets: Vec<i64>,
        timestamps: &[i64],
    ) -> Result<RecordBatch> {
        let offsets: ArrayRef = Arc::new(Int64Array::from(offsets));
        let times = TimestampMicrosecondArray::from(timestamps.to_vec()).with_timezone("UTC");
        let (offsets, times) = match made.origin {
            None => (offsets, Arc::new(times) as ArrayRef),
            Some(origin) => {
                let origin = UInt32Array::from(origin);
                let pick = |column: &dyn arrow_array::Array| {
                    arrow_select::take::take(column, &origin, None)
                        .map_err(Error::arrow("trace rows to their origin"))
                };
                (pick(&offsets)?, pick(&times)?)
            }
        };
        let buckets = Int32Array::from_value(self.bucket, made.batch.num_rows());
        let mut columns = made.batch.columns().to_vec();
        columns.extend([Arc::new(buckets) as ArrayRef, offsets, times]);
        RecordBatch::try_new(Arc::clone(self.lake_schema), columns)
            .map_err(Error::arrow("build the lake's rows"))
    }
}

/// Names the record's offset in place of its row in a batch that nobody knows.
fn at_offset(error: Error, first: u64) -> Error {
    match error {
        Error::TransformFailed {
            transform,
            row,
            reason,
        } => Error::Tiering {
            reason: format!(
                "transform {transform:?} failed on the record at offset {}: {reason}; its on_error is \"fail\", so nothing more is tiered (with the store closed, it can be changed in the table's table.json)",
                first + row
            ),
        },
        error => error,
    }
}

/// The bytes of a batch's rows, not of the buffers that they share with others.
fn bytes_of(batch: &RecordBatch) -> Result<usize> {
    let columns = batch.columns().iter();
    let bytes = columns.map(|column| column.to_data().get_slice_memory_size());
    bytes
        .sum::<std::result::Result<usize, _>>()
        .map_err(Error::arrow("measure a batch"))
}
