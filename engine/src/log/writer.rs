//! Where the next frame goes, and rolling to the next segment.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use super::append::{CLOSED, Log, now_us};
use super::frame::{FLAG_BARRIER, FLAG_ROLL_CALL, FRAME_HEADER_BYTES, FrameHeader, checksum_of};
use super::producers::Producers;
use super::recovery::ValidPrefix;
use super::segment::Segment;
use crate::error::Result;

/// Where the next frame goes, and what is known of those who append.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) active: Arc<Segment>,
    /// The frames of the active segment, those that are being written among them.
    pub(crate) prefix: ValidPrefix,
    pub(crate) last_timestamp_us: i64,
    pub(crate) schema_id: u16,
    pub(crate) producers: Producers,
}

impl Writer {
    /// Now, or the last frame's time if the clock went back since.
    pub(crate) fn timestamp_us(&mut self) -> i64 {
        self.last_timestamp_us = now_us().max(self.last_timestamp_us);
        self.last_timestamp_us
    }

    pub(crate) fn has_room(&self, frame_bytes: u64) -> bool {
        self.prefix.end_position + frame_bytes <= self.active.frames_end()
    }

    /// The header of a frame without rows at the end of the log.
    fn marker(&mut self, flags: u16, synced_offset: u64, payload: &[u8]) -> FrameHeader {
        FrameHeader {
            segment_sequence: self.active.header.sequence,
            base_offset: self.prefix.end_offset,
            end_offset: self.prefix.end_offset,
            synced_offset,
            timestamp_us: self.timestamp_us(),
            payload_length: payload.len() as u32,
            payload_checksum: checksum_of(payload),
            row_count: 0,
            schema_id: self.schema_id,
            flags,
        }
    }
}

impl Log {
    /// The capacity of the segment that a frame needs when the active one has no room for it.
    pub(super) fn capacity_for(&self, writer: &Writer, frame_bytes: u64) -> u64 {
        let needed = Segment::capacity_for(frame_bytes + writer.producers.roll_call_bytes());
        self.shared.options.segment_bytes.max(needed)
    }

    /// Goes on in a spare of that capacity, if there is one, and leaves the full segment to be sealed in the
    /// background.
    pub(super) fn roll(&self, writer: &mut Writer, capacity: u64) -> Result<bool> {
        let pool = self.pool.as_ref().ok_or(CLOSED)?;
        let Some(spare) = pool.take(capacity) else {
            return Ok(false);
        };
        let was_empty = writer.prefix.rows == 0;
        let payload = writer.producers.to_payload();
        let roll_call = FrameHeader {
            segment_sequence: spare.sequence(),
            ..self.roll_call(writer, &payload)
        };
        // Before it has its name, so that a kill leaves no segment without. What takes an empty segment's place
        // may be the only one that there is, and nobody else knows the producers then.
        let begun = spare.begin_with(&roll_call, &payload, was_empty);
        self.shared.poisoned(begun)?;
        let segment = spare.name(writer.prefix.end_offset).map_err(|failed| {
            let (spare, error) = *failed;
            pool.put(spare);
            error
        })?;
        let segment = Arc::new(segment);
        let full = std::mem::replace(&mut writer.active, Arc::clone(&segment));
        let footer = writer.prefix.footer(full.header.sequence);
        {
            let mut segments = self.shared.segments.write();
            if was_empty {
                // An empty segment made way for one that is large enough, under the same name.
                segments.pop();
                pool.forget(full.header.capacity);
            }
            segments.push(segment);
        }
        writer.prefix = ValidPrefix::empty(writer.prefix.end_offset);
        writer.prefix.add(&roll_call);
        if let Some(keeper) = self.keeper.as_ref().filter(|_| !was_empty) {
            keeper.seal(full, footer);
        }
        Ok(true)
    }

    /// Waits until there is a spare of that capacity. A log that is full gives up first what it keeps only
    /// for readers.
    pub(super) fn make_room(&self, capacity: u64, taken: u64, since: Instant) -> Result<()> {
        let pool = self.pool.as_ref().ok_or(CLOSED)?;
        if !pool.has_room(capacity) {
            if let Some(keeper) = &self.keeper {
                // What is tiered already may not be sealed yet, and nobody may come again to release it.
                keeper.settle();
            }
            self.release_for_room(capacity)?;
        }
        pool.wait(capacity, taken, since, &|| self.shared.check_poison())
    }

    /// Writes what the log knows of its producers as the first frame of the active segment.
    pub(super) fn write_roll_call(&self, writer: &mut Writer) -> Result<()> {
        let payload = writer.producers.to_payload();
        let header = self.roll_call(writer, &payload);
        self.write_marker(writer, &header, &payload)
    }

    fn roll_call(&self, writer: &mut Writer, payload: &[u8]) -> FrameHeader {
        let synced_offset = self.shared.durable().min(writer.prefix.end_offset);
        writer.marker(FLAG_ROLL_CALL, synced_offset, payload)
    }

    /// Records in the log that everything before is durable, so that later damage to it is known as such.
    pub(crate) fn write_barrier(&self, writer: &mut Writer) -> Result<()> {
        let offset = writer.prefix.end_offset;
        let is_needed = !writer.prefix.ends_in_barrier && writer.prefix.rows > 0;
        if !is_needed || !writer.has_room(FRAME_HEADER_BYTES) {
            return Ok(());
        }
        let header = writer.marker(FLAG_BARRIER, offset, &[]);
        self.write_marker(writer, &header, &[])
    }

    /// Writes a frame without rows behind the last frame. A failure poisons the log.
    fn write_marker(
        &self,
        writer: &mut Writer,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<()> {
        let head = header.to_bytes(writer.active.header.salt);
        let mut slices = [IoSlice::new(&head), IoSlice::new(payload)];
        let position = writer.prefix.end_position;
        let written = writer.active.write_at(&mut slices, position);
        self.shared.poisoned(written)?;
        writer.prefix.add(header);
        Ok(())
    }
}
