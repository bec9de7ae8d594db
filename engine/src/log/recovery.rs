//! Finding the valid frames of a log after it was closed, killed or lost power.
//!
//! A frame is valid when its header and payload checksums are right, it belongs to the segment, and it
//! goes on where the last one ended. The first frame that isn't ends the log, unless something proves
//! that it had been durable: a later frame that was written knowing so (its synced offset), or a later
//! sealed segment. Then it is damage, and reported.

use std::io::IoSlice;

use super::block::SegmentFooter;
use super::frame::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader};
use super::producers::{Producers, Source};
use super::segment::{FRAMES_START, Segment};
use crate::error::Result;

/// The valid frames at the beginning of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValidPrefix {
    /// Where they end, a file position.
    pub(crate) end_position: u64,
    pub(crate) end_offset: u64,
    /// Offsets of the frames: as many as rows, but in a staged log.
    pub(crate) rows: u64,
    pub(crate) timestamp_us_min: i64,
    pub(crate) timestamp_us_max: i64,
    /// The newest time of any frame, those without rows among them.
    pub(crate) newest_us: i64,
    /// The largest offset below which everything is known to have been durable.
    pub(crate) synced_offset: u64,
    /// Up to which position the frames are known to have been durable.
    pub(crate) synced_position: u64,
    /// Whether the last frame is a barrier, so that another would say nothing new.
    pub(crate) ends_in_barrier: bool,
}

impl ValidPrefix {
    pub(crate) fn empty(base_offset: u64) -> Self {
        Self {
            end_position: FRAMES_START,
            end_offset: base_offset,
            rows: 0,
            timestamp_us_min: i64::MAX,
            timestamp_us_max: i64::MIN,
            newest_us: i64::MIN,
            synced_offset: 0,
            synced_position: FRAMES_START,
            ends_in_barrier: false,
        }
    }

    pub(crate) fn add(&mut self, header: &FrameHeader) {
        if header.synced_offset == self.end_offset {
            self.synced_position = self.end_position;
        }
        self.end_position += header.frame_bytes();
        self.end_offset = header.end_offset;
        self.synced_offset = self.synced_offset.max(header.synced_offset);
        self.ends_in_barrier = header.is_barrier();
        self.newest_us = self.newest_us.max(header.timestamp_us);
        let offsets = header.end_offset - header.base_offset;
        if offsets > 0 {
            self.rows += offsets;
            self.timestamp_us_min = self.timestamp_us_min.min(header.timestamp_us);
            self.timestamp_us_max = self.timestamp_us_max.max(header.timestamp_us);
        }
    }

    /// The footer that seals a segment with these frames.
    pub(crate) fn footer(&self, sequence: u64) -> SegmentFooter {
        SegmentFooter {
            sequence,
            length: self.end_position,
            end_offset: self.end_offset,
            rows: self.rows,
            timestamp_us_min: self.timestamp_us_min,
            timestamp_us_max: self.timestamp_us_max,
        }
    }
}

/// Reads a segment from its start for as long as frames are valid and end by `until`.
///
/// # Errors
///
/// [`Error::Corrupt`](crate::Error::Corrupt) for a valid frame that a newer version wrote.
pub(crate) fn scan(segment: &Segment, until: u64) -> Result<ValidPrefix> {
    let mut prefix = ValidPrefix::empty(segment.base_offset);
    while let Some(header) = segment.frame_header(prefix.end_position) {
        if let Some(flags) = header.unknown_flags() {
            let reason = format!(
                "a frame has flags {flags:#x} that are not known; use the version of Alluvium that wrote it"
            );
            return Err(segment.corrupt(prefix.end_position, reason));
        }
        let goes_on = header.base_offset == prefix.end_offset && header.end_offset <= until;
        let is_torn = segment.payload(prefix.end_position, &header).is_none();
        #[cfg(test)]
        let is_torn = is_torn && !segment.storage.has(super::tests::Planted::SkipChecksum);
        if !goes_on || is_torn {
            break;
        }
        prefix.add(&header);
    }
    Ok(prefix)
}

/// The headers of this segment that lie behind its valid frames: of frames that were torn, or written
/// after one that was.
pub(crate) fn survivors(segment: &Segment, prefix: &ValidPrefix) -> Vec<(u64, FrameHeader)> {
    let data = segment.data_from(prefix.end_position).into_iter();
    let positions = data.flat_map(|range| {
        let first = range.start.next_multiple_of(FRAME_ALIGNMENT as u64);
        (first..range.end).step_by(FRAME_ALIGNMENT)
    });
    positions
        .filter_map(|position| Some((position, segment.frame_header(position)?)))
        .collect()
}

/// Fails when a survivor proves that a frame before it had been durable and is damaged now.
pub(crate) fn check_no_damage(
    segment: &Segment,
    prefix: &ValidPrefix,
    survivors: &[(u64, FrameHeader)],
) -> Result<()> {
    let proof = survivors
        .iter()
        .find(|(_, header)| header.synced_offset > prefix.end_offset);
    match proof {
        None => Ok(()),
        Some((position, header)) => Err(segment.corrupt(
            prefix.end_position,
            format!(
                "no valid frame for offset {}, though the frame at byte {position} says that offsets below {} were durable",
                prefix.end_offset, header.synced_offset
            ),
        )),
    }
}

/// Overwrites headers with zeros, so that what was cut can never follow a new frame.
///
/// From the last on, and durably in steps: were a frame erased that later ones say was durable, and they not, then
/// what is left after a crash would look like damage. What says nothing of the kind goes in one step.
pub(crate) fn erase(
    segment: &Segment,
    headers: &[(u64, FrameHeader)],
    end_offset: u64,
) -> Result<()> {
    #[cfg(test)]
    if segment.storage.has(super::tests::Planted::SkipErase) {
        return Ok(());
    }
    let zeros = [0u8; FRAME_HEADER_BYTES as usize];
    let says = |header: &FrameHeader| header.synced_offset.max(end_offset);
    let mut step = headers.last().map(|(_, header)| says(header));
    for (position, header) in headers.iter().rev() {
        if step.replace(says(header)) != Some(says(header)) {
            segment.sync()?;
        }
        segment.write_at(&mut [IoSlice::new(&zeros)], *position)?;
    }
    Ok(())
}

/// Whether the segment's first frame says all that is known of producers before it.
pub(crate) fn begins_with_roll_call(segment: &Segment) -> bool {
    let header = segment.frame_header(FRAMES_START);
    header.is_some_and(|h| h.is_roll_call() && segment.payload(FRAMES_START, &h).is_some())
}

/// Brings what is known of producers up to date with a segment's frames below a position.
///
/// # Errors
///
/// [`Error::Corrupt`](crate::Error::Corrupt) when a frame that tells of producers is damaged.
pub(crate) fn call_roll(segment: &Segment, until: u64, producers: &mut Producers) -> Result<()> {
    const DAMAGED: &str = "the checksum of a frame that tells of producers is wrong";
    let mut position = FRAMES_START;
    while position < until {
        let Some(header) = segment.frame_header(position) else {
            return Ok(());
        };
        if header.is_roll_call() || header.has_source() {
            let payload = segment.payload(position, &header);
            let payload = payload.ok_or_else(|| segment.corrupt(position, DAMAGED))?;
            if header.is_roll_call() {
                producers.call(&payload, header.base_offset);
            } else if let Some(source) = Source::from_block(&payload) {
                producers.note(source, header.base_offset..header.end_offset);
            }
        }
        position += header.frame_bytes();
    }
    Ok(())
}
