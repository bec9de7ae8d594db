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
    pub(crate) rows: u64,
    pub(crate) timestamp_us_min: i64,
    pub(crate) timestamp_us_max: i64,
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
        if header.row_count > 0 {
            self.rows += u64::from(header.row_count);
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
        if !goes_on || segment.payload(prefix.end_position, &header).is_none() {
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
pub(crate) fn erase(segment: &Segment, headers: &[(u64, FrameHeader)]) -> Result<()> {
    let zeros = [0u8; FRAME_HEADER_BYTES as usize];
    for (position, _) in headers {
        segment.write_at(&mut [IoSlice::new(&zeros)], *position)?;
    }
    Ok(())
}

/// Brings what is known of producers up to date with a segment's frames below a position. Says whether
/// the segment begins with a roll call, before which nothing needs to be known.
pub(crate) fn call_roll(segment: &Segment, until: u64, producers: &mut Producers) -> bool {
    let mut position = FRAMES_START;
    let mut begins_with_roll_call = false;
    while position < until {
        let Some(header) = segment.frame_header(position) else {
            break;
        };
        if header.is_roll_call() || header.has_source() {
            let payload = segment.payload(position, &header).unwrap_or_default();
            if header.is_roll_call() {
                *producers = Producers::from_payload(&payload, header.base_offset);
                begins_with_roll_call |= position == FRAMES_START;
            } else if let Some(source) = Source::from_block(&payload) {
                producers.note(source, header.base_offset..header.end_offset);
            }
        }
        position += header.frame_bytes();
    }
    begins_with_roll_call
}
