//! A frame: one record batch in a segment, behind a 64-byte header that vouches for it.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..4 | magic | `ALFR` |
//! | 4..8 | header checksum | CRC-32C of the segment's salt and bytes 8..64, among them the payload's checksum |
//! | 8..16 | segment sequence | with the salt it ties the frame to its segment: neither a stale frame in a reused file nor a record that looks like a frame is taken for one |
//! | 16..24 | base offset | the first offset |
//! | 24..32 | end offset | one past the last offset |
//! | 32..40 | synced offset | every offset below was durable when this frame was written |
//! | 40..48 | timestamp | of the append, microseconds since 1970-01-01 UTC, never decreasing |
//! | 48..52 | payload length | bytes, a multiple of 64 |
//! | 52..56 | payload checksum | CRC-32C of the payload |
//! | 56..60 | rows | in the payload |
//! | 60..62 | schema id | which of the table's schemas the payload has |
//! | 62..64 | flags | [`FLAG_BARRIER`], [`FLAG_PRODUCER`], [`FLAG_ROLL_CALL`]; a log with a flag that is not known is refused, not cut |
//!
//! All numbers are little-endian. The payload of a frame with rows is an Arrow IPC encapsulated record batch message,
//! behind the dictionaries that it refers to, if there are any.

/// The size of a frame's header in bytes, and what every frame and buffer is aligned to.
pub(crate) const FRAME_ALIGNMENT: usize = 64;
/// [`FRAME_ALIGNMENT`] for file positions.
pub(crate) const FRAME_HEADER_BYTES: u64 = FRAME_ALIGNMENT as u64;
/// The largest payload: what the 32-bit length holds.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = u32::MAX as u64 & !(FRAME_HEADER_BYTES - 1);
/// The largest offset, as the lake's column of offsets is signed.
pub(crate) const OFFSET_MAX: u64 = i64::MAX as u64;
/// A frame without a payload, which only records that everything before it is durable.
pub(crate) const FLAG_BARRIER: u16 = 1;

/// A frame whose payload begins with who appended it; see [`super::producers`].
pub(crate) const FLAG_PRODUCER: u16 = 2;
/// A frame without rows whose payload is what the log knows of its producers: the first of every segment.
pub(crate) const FLAG_ROLL_CALL: u16 = 4;

const MAGIC: [u8; 4] = *b"ALFR";
const FLAGS_KNOWN: u16 = FLAG_BARRIER | FLAG_PRODUCER | FLAG_ROLL_CALL;

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) segment_sequence: u64,
    pub(crate) base_offset: u64,
    pub(crate) end_offset: u64,
    pub(crate) synced_offset: u64,
    pub(crate) timestamp_us: i64,
    pub(crate) payload_length: u32,
    pub(crate) payload_checksum: u32,
    pub(crate) row_count: u32,
    pub(crate) schema_id: u16,
    pub(crate) flags: u16,
}

impl FrameHeader {
    /// The bytes of the header for a segment with this salt, its checksum included.
    pub(crate) fn to_bytes(self, salt: u64) -> [u8; FRAME_ALIGNMENT] {
        let mut out = Layout::default();
        out.put(self.segment_sequence.to_le_bytes());
        out.put(self.base_offset.to_le_bytes());
        out.put(self.end_offset.to_le_bytes());
        out.put(self.synced_offset.to_le_bytes());
        out.put(self.timestamp_us.to_le_bytes());
        out.put(self.payload_length.to_le_bytes());
        out.put(self.payload_checksum.to_le_bytes());
        out.put(self.row_count.to_le_bytes());
        out.put(self.schema_id.to_le_bytes());
        out.put(self.flags.to_le_bytes());
        out.finish_salted(MAGIC, &salt.to_le_bytes())
    }

    /// Reads a header of a segment with this salt; `None` when the magic or the checksum is not right, or
    /// it contradicts itself.
    pub(crate) fn from_bytes(bytes: &[u8], salt: u64) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        if *magic != MAGIC {
            return None;
        }
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let fields = rest.get(..FRAME_ALIGNMENT - 8)?;
        if u32::from_le_bytes(*checksum) != salted_checksum_of(&salt.to_le_bytes(), fields) {
            return None;
        }
        let mut fields = Fields(fields);
        let header = Self {
            segment_sequence: u64::from_le_bytes(fields.take()?),
            base_offset: u64::from_le_bytes(fields.take()?),
            end_offset: u64::from_le_bytes(fields.take()?),
            synced_offset: u64::from_le_bytes(fields.take()?),
            timestamp_us: i64::from_le_bytes(fields.take()?),
            payload_length: u32::from_le_bytes(fields.take()?),
            payload_checksum: u32::from_le_bytes(fields.take()?),
            row_count: u32::from_le_bytes(fields.take()?),
            schema_id: u16::from_le_bytes(fields.take()?),
            flags: u16::from_le_bytes(fields.take()?),
        };
        header.is_consistent().then_some(header)
    }

    fn is_consistent(&self) -> bool {
        let has_no_rows = self.row_count == 0 && self.base_offset == self.end_offset;
        self.end_offset <= OFFSET_MAX
            && (has_no_rows || !self.is_barrier() && !self.is_roll_call())
            && (self.payload_length == 0 || !self.is_barrier())
            && self.base_offset <= self.end_offset
            && self.synced_offset <= self.base_offset
            && u64::from(self.payload_length) % FRAME_HEADER_BYTES == 0
    }

    /// The bytes that the frame takes in its segment.
    pub(crate) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES + u64::from(self.payload_length)
    }

    /// The flags that this version doesn't know, if there are any.
    pub(crate) fn unknown_flags(&self) -> Option<u16> {
        Some(self.flags & !FLAGS_KNOWN).filter(|flags| *flags != 0)
    }

    /// Whether the payload begins with who appended it.
    pub(crate) fn has_source(&self) -> bool {
        self.flags & FLAG_PRODUCER != 0
    }

    /// Whether the payload is what the log knows of its producers.
    pub(crate) fn is_roll_call(&self) -> bool {
        self.flags & FLAG_ROLL_CALL != 0
    }

    /// Whether the frame holds no rows, only the promise that what is before it is durable.
    pub(crate) fn is_barrier(&self) -> bool {
        self.flags & FLAG_BARRIER != 0
    }
}

/// CRC-32C (Castagnoli), as iSCSI and most logs use it.
pub(crate) fn checksum_of(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

pub(crate) fn salted_checksum_of(salt: &[u8], bytes: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(salt);
    digest.update(bytes);
    digest.finalize() as u32
}

/// Fixed-size fields laid one after the other into a header block.
#[derive(Default)]
pub(crate) struct Layout(Vec<u8>);

impl Layout {
    pub(crate) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    /// The block: the magic, the checksum of what follows it, the fields, zeros.
    pub(crate) fn finish<const M: usize, const N: usize>(self, magic: [u8; M]) -> [u8; N] {
        self.finish_salted(magic, &[])
    }

    /// As [`Layout::finish`], with a salt under the checksum that is not in the block.
    pub(crate) fn finish_salted<const M: usize, const N: usize>(
        self,
        magic: [u8; M],
        salt: &[u8],
    ) -> [u8; N] {
        let mut fields = self.0;
        fields.resize(N - M - 4, 0);
        let checksum = salted_checksum_of(salt, &fields).to_le_bytes();
        let mut block = [0; N];
        for (to, from) in block
            .iter_mut()
            .zip(magic.iter().chain(&checksum).chain(&fields))
        {
            *to = *from;
        }
        block
    }
}

/// Fixed-size fields read one after the other from a header block.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: u64 = 0x0123_4567_89ab_cdef;

    fn header() -> FrameHeader {
        FrameHeader {
            segment_sequence: 7,
            base_offset: 100,
            end_offset: 110,
            synced_offset: 90,
            timestamp_us: 1_700_000_000_000_000,
            payload_length: 640,
            payload_checksum: 0xdead_beef,
            row_count: 10,
            schema_id: 1,
            flags: 0,
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        assert_eq!(
            FrameHeader::from_bytes(&header().to_bytes(SALT), SALT),
            Some(header())
        );
    }

    #[test]
    fn a_header_of_a_segment_with_another_salt_does_not_count() {
        assert_eq!(
            FrameHeader::from_bytes(&header().to_bytes(SALT), SALT + 1),
            None
        );
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = header().to_bytes(SALT);
        assert_eq!(&bytes[..4], b"ALFR");
        assert_eq!(bytes[8], 7);
        assert_eq!(bytes[16], 100);
        assert_eq!(bytes[24], 110);
        assert_eq!(bytes[32], 90);
        assert_eq!(bytes[48..52], 640u32.to_le_bytes());
        assert_eq!(bytes[52..56], 0xdead_beefu32.to_le_bytes());
        assert_eq!(bytes[56], 10);
        assert_eq!(bytes[60], 1);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(bit in 0usize..512) {
            let mut bytes = header().to_bytes(SALT);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHeader::from_bytes(&bytes, SALT), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = FrameHeader::from_bytes(&bytes, SALT);
        }
    }
}
