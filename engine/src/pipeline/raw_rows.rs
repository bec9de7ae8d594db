//! The rows of a raw log, cut into ranges of offsets.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

use crate::error::{Error, Result};
use crate::log::{Frame, Log, LogReader};
use crate::schemas::{FrameRows, Schemas};

/// How many rows are taken at a time; one at least.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) rows_max: u64,
    pub(crate) bytes_max: u64,
    /// Small frames are joined up to this many bytes; joining copies them.
    pub(crate) joined_bytes: u64,
}

/// Some rows that follow one another.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) offsets: Range<u64>,
    pub(crate) rows: RecordBatch,
    /// When each was appended.
    pub(crate) timestamps_us: Vec<i64>,
}

/// A position in a raw log that takes rows by any number, not by frames.
#[derive(Debug)]
pub(crate) struct RawRows {
    reader: LogReader,
    frames: FrameRows,
    /// A frame of a schema that is not known yet.
    ahead: Option<Frame>,
    /// The next row's offset.
    at: u64,
    /// What was read and not taken, its first rows perhaps being taken already.
    parts: VecDeque<Part>,
}

#[derive(Debug)]
struct Part {
    rows: RecordBatch,
    timestamp_us: i64,
    row_bytes: u64,
}

impl RawRows {
    /// The rows of a log as those of the newest schema.
    pub(crate) fn new(raw: &Log, schemas: Arc<Schemas>, from: u64) -> Self {
        Self {
            reader: raw.read_from(from).passing(),
            frames: FrameRows::new(schemas),
            ahead: None,
            at: from,
            parts: VecDeque::new(),
        }
    }

    /// The next row's offset.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Whether the next row is the first of its frame, as far as frames were looked at.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.parts.is_empty()
    }

    /// Goes on with other schemas, between frames.
    ///
    /// # Errors
    ///
    /// When the next frame's schema is not among them.
    pub(crate) fn follow(&mut self, schemas: &Arc<Schemas>) -> Result<()> {
        if !Arc::ptr_eq(self.frames.schemas(), schemas) {
            self.frames = FrameRows::new(Arc::clone(schemas));
        }
        self.check()
    }

    /// Fails when the next frame's schema is not known.
    pub(crate) fn check(&self) -> Result<()> {
        let ahead = self.ahead.as_ref();
        ahead.map_or(Ok(()), |frame| self.frames.schemas().of(frame).map(drop))
    }

    /// The next committed rows; `None` when there are none, or they have a schema that is not known yet.
    pub(crate) fn next(&mut self, cut: Cut) -> Result<Option<Piece>> {
        let (mut taken, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while rows < cut.rows_max && (taken.is_empty() || bytes < cut.joined_bytes) {
            if self.parts.is_empty() && !self.read_frame()? {
                break;
            }
            let Some(part) = self.parts.front() else {
                break;
            };
            let fits = cut.bytes_max.saturating_sub(bytes) / part.row_bytes.max(1);
            let fits = fits.min(cut.rows_max - rows);
            if fits == 0 && !taken.is_empty() {
                break;
            }
            let row_bytes = part.row_bytes;
            let count = self.take_front(fits.max(1), &mut taken);
            bytes += row_bytes * count;
            rows += count;
        }
        self.joined(taken)
    }

    /// The next rows up to an offset, which must be committed.
    pub(crate) fn take_until(&mut self, end: u64) -> Result<Piece> {
        let mut taken = Vec::new();
        let mut at = self.at;
        while at < end {
            if self.parts.is_empty() && !self.read_frame()? {
                self.check()?;
                let what = format!("offset {at}");
                return Err(Error::invalid(what, "is not in the log yet"));
            }
            at += self.take_front(end - at, &mut taken);
        }
        let nothing = Piece {
            offsets: self.at..self.at,
            rows: RecordBatch::new_empty(Arc::clone(self.frames.schema())),
            timestamps_us: Vec::new(),
        };
        Ok(self.joined(taken)?.unwrap_or(nothing))
    }

    /// Reads one more frame; `false` when everything that is committed was read, or is of a schema that is not known yet.
    fn read_frame(&mut self) -> Result<bool> {
        let next = match self.ahead.take() {
            Some(frame) => Some(frame),
            None => self.reader.next_frame()?,
        };
        let Some(frame) = next else {
            return Ok(false);
        };
        if self.frames.schemas().of(&frame).is_err() {
            self.ahead = Some(frame);
            return Ok(false);
        }
        let part = self.part(&frame)?;
        self.parts.push_back(part);
        Ok(true)
    }

    fn part(&mut self, frame: &Frame) -> Result<Part> {
        let rows = self.frames.read(frame)?;
        let header = &frame.header;
        // Only the first frame may begin before the offset that was asked for.
        let skip = self.at.saturating_sub(header.base_offset) as usize;
        let skip = skip.min(rows.num_rows());
        Ok(Part {
            row_bytes: header.frame_bytes() / (rows.num_rows() as u64).max(1),
            rows: rows.slice(skip, rows.num_rows() - skip),
            timestamp_us: header.timestamp_us,
        })
    }

    /// Takes rows off the first part, `count` at most; how many they were.
    fn take_front(&mut self, count: u64, taken: &mut Vec<(RecordBatch, i64)>) -> u64 {
        let Some(part) = self.parts.front_mut() else {
            return 0;
        };
        let rows = part.rows.num_rows();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(rows);
        taken.push((part.rows.slice(0, count), part.timestamp_us));
        match count == rows {
            true => drop(self.parts.pop_front()),
            false => part.rows = part.rows.slice(count, rows - count),
        }
        count as u64
    }

    fn joined(&mut self, taken: Vec<(RecordBatch, i64)>) -> Result<Option<Piece>> {
        let mut timestamps_us = Vec::new();
        for (rows, timestamp_us) in &taken {
            timestamps_us.extend(std::iter::repeat_n(*timestamp_us, rows.num_rows()));
        }
        let rows = match taken.as_slice() {
            [] => return Ok(None),
            [(one, _)] => one.clone(),
            many => concat_batches(self.frames.schema(), many.iter().map(|(rows, _)| rows))
                .map_err(Error::arrow("gather small frames"))?,
        };
        let offsets = self.at..self.at + rows.num_rows() as u64;
        self.at = offsets.end;
        Ok(Some(Piece {
            offsets,
            rows,
            timestamps_us,
        }))
    }
}
