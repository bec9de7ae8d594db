//! The two fixed blocks of a segment's file: the header in front of its frames and the footer at its end.
//!
//! Header, bytes 0..4096 of the file:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `ALLUVSEG` |
//! | 8..12 | CRC-32C of bytes 12..4096 |
//! | 12..16 | format version, 1 |
//! | 16..32 | table id (UUID) |
//! | 32..40 | segment sequence, which no other segment of its log has or had |
//! | 40..48 | capacity: the file's length in bytes |
//! | 48..56 | time of creation, microseconds since 1970-01-01 UTC |
//! | 56..60 | log: 0 raw, 1 staged, 2 dead letters |
//! | 60..64 | zeros |
//! | 64..72 | salt: random, under the checksum of every frame's header and of the footer |
//! | 72..4096 | zeros |
//!
//! The base offset is the file's name: a header is made durable before it is known which offsets the segment
//! will hold.
//!
//! Footer, the file's last 4096 bytes, valid once the segment is sealed:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `ALLUVEND` |
//! | 8..12 | CRC-32C of the salt and bytes 12..4096 |
//! | 12..16 | format version, 1 |
//! | 16..24 | segment sequence |
//! | 24..32 | length: where the frames end, a file position |
//! | 32..40 | end offset |
//! | 40..48 | offsets: as many as rows, but in a staged log |
//! | 48..56 | smallest timestamp of a frame |
//! | 56..64 | largest timestamp of a frame |
//! | 64..4096 | zeros |

use uuid::Uuid;

use super::frame::{Fields, Layout, OFFSET_MAX, salted_checksum_of};

/// The size of the header and of the footer.
pub(crate) const BLOCK_BYTES: u64 = 4096;
const BLOCK: usize = BLOCK_BYTES as usize;
const FORMAT_VERSION: u32 = 1;
const HEADER_MAGIC: [u8; 8] = *b"ALLUVSEG";
const FOOTER_MAGIC: [u8; 8] = *b"ALLUVEND";

/// Which of a table's logs a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// What was appended.
    Raw,
    /// What transforms made of it: a frame has the offsets of the rows that it was made of, however many rows it holds.
    Staged,
    /// What transforms could not take.
    Dead,
}

impl LogKind {
    fn code(self) -> u32 {
        match self {
            Self::Raw => 0,
            Self::Staged => 1,
            Self::Dead => 2,
        }
    }

    /// The name of the log's directory within its table's.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Staged => "staged",
            Self::Dead => "dead",
        }
    }
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) table_id: Uuid,
    pub(crate) sequence: u64,
    pub(crate) capacity: u64,
    pub(crate) created_us: i64,
    pub(crate) kind: LogKind,
    pub(crate) salt: u64,
}

impl SegmentHeader {
    pub(crate) fn to_block(self) -> [u8; BLOCK] {
        let mut out = Layout::default();
        out.put(FORMAT_VERSION.to_le_bytes());
        out.put(self.table_id.into_bytes());
        out.put(self.sequence.to_le_bytes());
        out.put(self.capacity.to_le_bytes());
        out.put(self.created_us.to_le_bytes());
        out.put(self.kind.code().to_le_bytes());
        out.put([0; 4]);
        out.put(self.salt.to_le_bytes());
        out.finish(HEADER_MAGIC)
    }

    /// Reads a header block, or says why it is none.
    pub(crate) fn from_block(block: &[u8]) -> Result<Self, String> {
        let mut fields = checked_fields(block, HEADER_MAGIC, &[], "header")?;
        Self::from_fields(&mut fields)
            .filter(|header| header.sequence < u64::MAX)
            .ok_or_else(|| "header with unknown values".to_owned())
    }

    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            table_id: Uuid::from_bytes(fields.take()?),
            sequence: u64::from_le_bytes(fields.take()?),
            capacity: u64::from_le_bytes(fields.take()?),
            created_us: i64::from_le_bytes(fields.take()?),
            kind: match u32::from_le_bytes(fields.take()?) {
                0 => LogKind::Raw,
                1 => LogKind::Staged,
                2 => LogKind::Dead,
                _ => return None,
            },
            salt: {
                let _zeros: [u8; 4] = fields.take()?;
                u64::from_le_bytes(fields.take()?)
            },
        })
    }
}

/// What a sealed segment's footer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFooter {
    pub(crate) sequence: u64,
    pub(crate) length: u64,
    pub(crate) end_offset: u64,
    pub(crate) rows: u64,
    pub(crate) timestamp_us_min: i64,
    pub(crate) timestamp_us_max: i64,
}

impl SegmentFooter {
    pub(crate) fn to_block(self, salt: u64) -> [u8; BLOCK] {
        let mut out = Layout::default();
        out.put(FORMAT_VERSION.to_le_bytes());
        out.put(self.sequence.to_le_bytes());
        out.put(self.length.to_le_bytes());
        out.put(self.end_offset.to_le_bytes());
        out.put(self.rows.to_le_bytes());
        out.put(self.timestamp_us_min.to_le_bytes());
        out.put(self.timestamp_us_max.to_le_bytes());
        out.finish_salted(FOOTER_MAGIC, &salt.to_le_bytes())
    }

    /// Reads a footer block; `None` when the segment isn't sealed (or a reused file's footer is stale).
    pub(crate) fn from_block(block: &[u8], sequence: u64, salt: u64) -> Option<Self> {
        let salt = salt.to_le_bytes();
        let mut fields = checked_fields(block, FOOTER_MAGIC, &salt, "footer").ok()?;
        let footer = Self {
            sequence: u64::from_le_bytes(fields.take()?),
            length: u64::from_le_bytes(fields.take()?),
            end_offset: u64::from_le_bytes(fields.take()?),
            rows: u64::from_le_bytes(fields.take()?),
            timestamp_us_min: i64::from_le_bytes(fields.take()?),
            timestamp_us_max: i64::from_le_bytes(fields.take()?),
        };
        (footer.sequence == sequence && footer.end_offset <= OFFSET_MAX).then_some(footer)
    }
}

/// The fields behind a block's magic, checksum and version, once those are right.
fn checked_fields<'a>(
    block: &'a [u8],
    magic: [u8; 8],
    salt: &[u8],
    what: &str,
) -> Result<Fields<'a>, String> {
    let short = || format!("{what} is cut short");
    let block = block.get(..BLOCK).ok_or_else(short)?;
    let (found, rest) = block.split_first_chunk::<8>().ok_or_else(short)?;
    if *found != magic {
        return Err(format!("no {what} magic"));
    }
    let (checksum, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    if u32::from_le_bytes(*checksum) != salted_checksum_of(salt, rest) {
        return Err(format!("the {what}'s checksum is wrong"));
    }
    let mut fields = Fields(rest);
    match fields.take().map(u32::from_le_bytes) {
        Some(FORMAT_VERSION) => Ok(fields),
        version => Err(format!(
            "format version {} is not {FORMAT_VERSION}; use the version of Alluvium that wrote it",
            version.unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            table_id: Uuid::from_u128(42),
            sequence: 3,
            capacity: 1 << 20,
            created_us: 5,
            kind: LogKind::Dead,
            salt: 9,
        }
    }

    #[test]
    fn a_header_block_reads_back_as_it_was_written() {
        assert_eq!(
            SegmentHeader::from_block(&header().to_block()),
            Ok(header())
        );
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let block = header().to_block();
        for bit in 0..72 * 8 {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::from_block(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_footer_of_another_sequence_or_salt_does_not_count() {
        let footer = SegmentFooter {
            sequence: 3,
            length: 8192,
            end_offset: 10,
            rows: 10,
            timestamp_us_min: 1,
            timestamp_us_max: 2,
        };
        assert_eq!(
            SegmentFooter::from_block(&footer.to_block(9), 3, 9),
            Some(footer)
        );
        assert_eq!(SegmentFooter::from_block(&footer.to_block(9), 4, 9), None);
        assert_eq!(SegmentFooter::from_block(&footer.to_block(9), 3, 8), None);
    }
}
