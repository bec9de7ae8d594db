//! Reading a log's committed frames in the order of their offsets.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;

use super::append::Shared;
use super::decoder::Decoder;
use super::frame::{FRAME_ALIGNMENT, FrameHeader};
use super::segment::{FRAMES_START, Segment};
use crate::error::{Error, Result};

/// A committed frame, in a segment that it keeps readable.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    segment: Arc<Segment>,
    position: u64,
}

impl Frame {
    /// The rows, their buffers being the segment's mapped memory. Checks the payload's checksum.
    pub(crate) fn batch(&self, schema: SchemaRef) -> Result<RecordBatch> {
        let payload = self.segment.payload(self.position, &self.header);
        self.decode(payload, &Decoder::new(schema))
    }

    /// As [`Frame::batch`], without checking again what this process has checked, or has written itself.
    pub(crate) fn batch_verified_once(&self, decoder: &Decoder) -> Result<RecordBatch> {
        let payload = self
            .segment
            .payload_verified_once(self.position, &self.header);
        self.decode(payload, decoder)
    }

    fn decode(&self, payload: Option<Buffer>, decoder: &Decoder) -> Result<RecordBatch> {
        let payload = payload.ok_or_else(|| {
            let reason = "the payload's checksum is wrong";
            self.segment.corrupt(self.position, reason)
        })?;
        let message = match self.header.has_source() {
            true if payload.len() > FRAME_ALIGNMENT => payload.slice(FRAME_ALIGNMENT),
            _ => payload,
        };
        let batch = decoder
            .decode(&message)
            .map_err(|e| self.segment.corrupt(self.position, e.to_string()))?;
        if batch.num_rows() as u64 != u64::from(self.header.row_count) {
            let reason = "the header and the payload differ in their number of rows";
            return Err(self.segment.corrupt(self.position, reason));
        }
        Ok(batch)
    }
}

/// How many bytes a passing reader reads before it gives their pages back.
const GIVE_BACK_BYTES: u64 = 8 << 20;
/// How far behind a passing reader somebody may still look at its rows, which makes their pages resident once more.
const STILL_READ_BYTES: u64 = 64 << 20;

/// A position in a log; [`LogReader::next_frame`] moves it on.
#[derive(Debug)]
pub(crate) struct LogReader {
    shared: Arc<Shared>,
    next_offset: u64,
    cursor: Option<(Arc<Segment>, u64)>,
    /// Up to where in the cursor's segment pages were given back; `None` for a reader that keeps them.
    given_back: Option<u64>,
    /// The segment before the cursor's, and where its frames end, while its last rows may still be read.
    behind: Option<(Arc<Segment>, u64)>,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>, from: u64) -> Self {
        Self {
            shared,
            next_offset: from,
            cursor: None,
            given_back: None,
            behind: None,
        }
    }

    /// The same, for one who reads a whole backlog: what is behind it does not stay in the process's resident memory.
    pub(crate) fn passing(mut self) -> Self {
        self.given_back = Some(0);
        self
    }

    /// Gives back the pages before the frame that is read next, and those that were given back a while ago, again.
    fn give_back(&mut self, segment: &Segment, position: u64) {
        let Some(from) = self.given_back else { return };
        match &self.cursor {
            Some((before, end)) if before.header.sequence != segment.header.sequence => {
                before.map.give_back(from..*end);
                self.behind = Some((Arc::clone(before), *end));
                self.given_back = Some(0);
            }
            Some(_) if position >= from + GIVE_BACK_BYTES => self.given_back = Some(position),
            _ => return,
        }
        let position = self.given_back.unwrap_or_default();
        let again = position.saturating_sub(STILL_READ_BYTES);
        segment.map.give_back(again.min(from)..position);
        if let Some((before, end)) = &self.behind {
            before
                .map
                .give_back(end.saturating_sub(STILL_READ_BYTES)..*end);
        }
        if position >= STILL_READ_BYTES {
            self.behind = None;
        }
    }

    /// The next frame, or `None` when everything that is committed was read.
    ///
    /// The first frame is the one that holds the offset asked for, which may not be its first row.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>> {
        while self.next_offset < self.shared.committed() {
            let (segment, position) = self.locate()?;
            self.give_back(&segment, position);
            let header = segment.frame_header(position).ok_or_else(|| {
                let reason = format!("no valid frame for offset {}", self.next_offset);
                segment.corrupt(position, reason)
            })?;
            let next = position + header.frame_bytes();
            self.cursor = Some((Arc::clone(&segment), next));
            if header.base_offset == header.end_offset {
                segment.pass(position, &header);
            }
            if header.end_offset > self.next_offset {
                self.next_offset = header.end_offset;
                return Ok(Some(Frame {
                    header,
                    segment,
                    position,
                }));
            }
        }
        Ok(None)
    }

    /// The segment that holds the next offset, and where in it to go on.
    fn locate(&self) -> Result<(Arc<Segment>, u64)> {
        let segment = self.shared.segment_of(self.next_offset).ok_or_else(|| {
            Error::invalid(
                format!("offset {}", self.next_offset),
                "is no longer in the log; read it from the lake",
            )
        })?;
        match &self.cursor {
            Some((current, position)) if current.header.sequence == segment.header.sequence => {
                Ok((segment, *position))
            }
            _ => Ok((segment, FRAMES_START)),
        }
    }
}
