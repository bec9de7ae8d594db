//! What the fuzzers in `fuzz/` reach of the log. It is compiled with `--cfg fuzzing` alone, and is no part of the
//! library's interface.

use std::ops::Range;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_schema::{ArrowError, SchemaRef};
use uuid::Uuid;

use crate::error::Result;
use crate::log::block::{BLOCK_BYTES, SegmentFooter, SegmentHeader};
use crate::log::decoder::Decoder;
use crate::log::encode::EncodedBatch;
use crate::log::frame::{FRAME_ALIGNMENT, FrameHeader, checksum_of, salted_checksum_of};
use crate::log::producers::Producers;
use crate::log::{Durability, Log, LogKind, LogOptions, Source};

const BLOCK: usize = BLOCK_BYTES as usize;
/// Where a segment's header has the salt.
const SALT: Range<usize> = 64..72;
const SCHEMA_ID: u16 = 1;

/// Reads a frame's header and writes it again.
pub fn frame_header(bytes: &[u8], salt: u64) -> Option<[u8; FRAME_ALIGNMENT]> {
    FrameHeader::from_bytes(bytes, salt).map(|header| header.to_bytes(salt))
}

/// Reads a segment's header block and writes it again.
pub fn header_block(block: &[u8]) -> Option<[u8; BLOCK]> {
    SegmentHeader::from_block(block)
        .ok()
        .map(SegmentHeader::to_block)
}

/// Reads a segment's footer block and writes it again.
pub fn footer_block(block: &[u8], sequence: u64, salt: u64) -> Option<[u8; BLOCK]> {
    SegmentFooter::from_block(block, sequence, salt).map(|footer| footer.to_block(salt))
}

/// Reads a roll call and writes it again.
pub fn roll_call(payload: &[u8]) -> Vec<u8> {
    let mut producers = Producers::of_segments(128 << 20);
    producers.call(payload, u64::MAX);
    producers.to_payload()
}

/// Reads who appended a frame and writes it again.
pub fn source_block(payload: &[u8]) -> Option<[u8; FRAME_ALIGNMENT]> {
    Source::from_block(payload).map(Source::to_block)
}

/// Decodes a payload that lies in memory as aligned as a segment's.
pub fn decode_payload(payload: &[u8], schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    Decoder::new(schema).decode(&Buffer::from(payload))
}

/// The payload of a batch without a producer.
pub fn encode_payload(batch: &RecordBatch) -> Result<Vec<u8>> {
    let encoded = EncodedBatch::new(batch, None)?;
    Ok(encoded.slices().flat_map(|slice| slice.to_vec()).collect())
}

/// Makes the checksum of a segment's header block right.
pub fn forge_header(file: &mut [u8]) {
    if let Some(block) = file.get_mut(..BLOCK) {
        forge_block(block, &[]);
    }
}

/// Makes the checksum of a segment's footer block right.
pub fn forge_footer(file: &mut [u8]) {
    let salt: Vec<u8> = file.get(SALT).unwrap_or_default().to_vec();
    let start = file.len().saturating_sub(BLOCK);
    if let Some(block) = file.get_mut(start..) {
        forge_block(block, &salt);
    }
}

fn forge_block(block: &mut [u8], salt: &[u8]) {
    if let Some((head, rest)) = block.split_at_mut_checked(12) {
        put(head, 8, &salted_checksum_of(salt, rest).to_le_bytes());
    }
}

/// Makes the checksums of the frame at a position right.
pub fn forge_frame(file: &mut [u8], position: usize) {
    let salt: Vec<u8> = file.get(SALT).unwrap_or_default().to_vec();
    let frame = file.get_mut(position..).unwrap_or_default();
    let Some((header, rest)) = frame.split_at_mut_checked(FRAME_ALIGNMENT) else {
        return;
    };
    let length = header.get(48..52).and_then(|bytes| bytes.try_into().ok());
    let length = length.map_or(0, u32::from_le_bytes) as usize;
    if let Some(payload) = rest.get(..length) {
        put(header, 52, &checksum_of(payload).to_le_bytes());
    }
    let sum = salted_checksum_of(&salt, header.get(8..).unwrap_or_default());
    put(header, 4, &sum.to_le_bytes());
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = to.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// The rows of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Their offsets.
    pub offsets: Range<u64>,
    /// The rows themselves.
    pub batch: RecordBatch,
}

/// A log of its own, without a table.
#[derive(Debug)]
pub struct FuzzLog(Log);

impl FuzzLog {
    fn options(directory: &Path, segment_bytes: u64) -> LogOptions {
        LogOptions {
            segment_bytes,
            durability: Durability::Buffered,
            ..LogOptions::new(directory, "fuzzed", Uuid::from_u128(1), LogKind::Raw)
        }
    }

    /// Opens a log for appending; rows from `keep_until` on are cut.
    pub fn open(directory: &Path, segment_bytes: u64, keep_until: Option<u64>) -> Result<Self> {
        let options = Self::options(directory, segment_bytes);
        Log::open(options, SCHEMA_ID, keep_until).map(Self)
    }

    /// Opens a log for reading.
    pub fn open_read_only(directory: &Path, segment_bytes: u64) -> Result<Self> {
        Log::open_read_only(Self::options(directory, segment_bytes)).map(Self)
    }

    /// Appends rows, of a producer and with a sequence or of nobody; gives their offsets and whether they had been
    /// there before.
    pub fn append(
        &self,
        batch: &RecordBatch,
        source: Option<(u64, u64)>,
    ) -> Result<(Range<u64>, bool)> {
        let source = source.map(|(producer, sequence)| Source { producer, sequence });
        let appended = self.0.append(batch, SCHEMA_ID, source)?;
        let offsets = appended.base_offset..appended.end_offset;
        Ok((offsets, appended.is_duplicate))
    }

    /// The rows from an offset on, up to the first that cannot be read.
    pub fn read(&self, from: u64, schema: &SchemaRef) -> (Vec<Rows>, Result<()>) {
        let mut reader = self.0.read_from(from);
        let mut all = Vec::new();
        loop {
            let rows = match reader.next_frame() {
                Err(error) => return (all, Err(error)),
                Ok(None) => return (all, Ok(())),
                Ok(Some(frame)) => frame
                    .batch(schema.clone())
                    .map(|batch| (frame.header, batch)),
            };
            match rows {
                Err(error) => return (all, Err(error)),
                Ok((header, batch)) => all.push(Rows {
                    offsets: header.base_offset..header.end_offset,
                    batch,
                }),
            }
        }
    }

    /// The first offset that is there.
    pub fn first_offset(&self) -> u64 {
        self.0.first_offset()
    }

    /// One past the last offset that is readable.
    pub fn committed(&self) -> u64 {
        self.0.committed()
    }

    /// One past the last offset that is known to be durable.
    pub fn durable(&self) -> u64 {
        self.0.durable()
    }

    /// The sequence of a producer's newest batch.
    pub fn last_sequence(&self, producer: u64) -> Option<u64> {
        self.0.last_sequence(producer)
    }

    /// Looks for damage in the active segment.
    pub fn check_tail(&self) -> Result<()> {
        self.0.check_tail()
    }

    /// Makes everything durable.
    pub fn sync(&self) -> Result<()> {
        self.0.sync_through(self.0.committed())
    }

    /// Lets go of sealed segments whose rows are all below an offset, and returns when nothing is left to seal.
    pub fn release(&self, tiered: u64) -> Result<()> {
        self.0.release(tiered)
    }

    /// Counts what there is to count.
    pub fn measure(&self) {
        let _ = (self.0.size(), self.0.bytes_from(0), self.0.metrics(0));
    }

    /// Ends the log as its owner does.
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }
}
