//! Idempotent producers: who appended what last, so that a batch that is sent again is known.
//!
//! A frame of a producer has [`FLAG_PRODUCER`](super::frame::FLAG_PRODUCER), and its payload begins with 64
//! bytes: producer (u64), sequence (u64), zeros. The first frame of every segment is a roll call of the
//! producers ([`FLAG_ROLL_CALL`](super::frame::FLAG_ROLL_CALL)): 32 bytes for each: producer, sequence of its
//! newest batch, base and end offset of that batch (u64 each); padded with zeros to 64 bytes.

use std::collections::HashMap;
use std::ops::Range;

use super::frame::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, Fields};

/// How many producers a log remembers; the ones that were silent longest are forgotten.
pub(crate) const PRODUCERS_MAX: usize = 4096;
const ENTRY_BYTES: usize = 32;

/// Who appends a batch, and the batch's number among the producer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) producer: u64,
    pub(crate) sequence: u64,
}

impl Source {
    /// What the payload begins with.
    pub(crate) fn to_block(self) -> [u8; FRAME_ALIGNMENT] {
        let mut block = [0; FRAME_ALIGNMENT];
        let fields = self.producer.to_le_bytes().into_iter();
        let fields = fields.chain(self.sequence.to_le_bytes());
        block
            .iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = from);
        block
    }

    pub(crate) fn from_block(block: &[u8]) -> Option<Self> {
        let mut fields = Fields(block.get(..FRAME_ALIGNMENT)?);
        Some(Self {
            producer: u64::from_le_bytes(fields.take()?),
            sequence: u64::from_le_bytes(fields.take()?),
        })
    }
}

/// A producer's newest batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) sequence: u64,
    pub(crate) offsets: Range<u64>,
}

/// The producers of a log, each with its newest batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producers {
    newest: HashMap<u64, Newest>,
    most: usize,
}

impl Producers {
    /// None yet. In small segments fewer are remembered, so that a roll call takes a sixteenth of one at most.
    pub(crate) fn of_segments(segment_bytes: u64) -> Self {
        let fit = segment_bytes / 16 / ENTRY_BYTES as u64;
        Self {
            newest: HashMap::new(),
            most: PRODUCERS_MAX.min(fit as usize),
        }
    }

    /// The producer's newest batch, if `source` is that one or an older one: then it is in the log already.
    pub(crate) fn known(&self, source: Source) -> Option<&Newest> {
        let newest = self.newest.get(&source.producer)?;
        (source.sequence <= newest.sequence).then_some(newest)
    }

    /// The sequence of a producer's newest batch.
    pub(crate) fn last_sequence(&self, producer: u64) -> Option<u64> {
        self.newest.get(&producer).map(|newest| newest.sequence)
    }

    /// Remembers a batch; forgets who was silent longest when there are too many.
    pub(crate) fn note(&mut self, source: Source, offsets: Range<u64>) {
        let sequence = source.sequence;
        self.newest
            .insert(source.producer, Newest { sequence, offsets });
        // Half as many again before the oldest go, so that not every newcomer costs a sort.
        if self.newest.len() > self.most + self.most / 2 {
            self.keep(self.most);
        }
    }

    fn keep(&mut self, count: usize) {
        let mut ends: Vec<u64> = self
            .newest
            .values()
            .map(|newest| newest.offsets.end)
            .collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(oldest) = count
            .checked_sub(1)
            .and_then(|last| ends.get(last))
            .copied()
        {
            self.newest.retain(|_, newest| newest.offsets.end >= oldest);
        }
    }

    /// The bytes that a roll call's frame takes.
    pub(crate) fn roll_call_bytes(&self) -> u64 {
        let payload = self.newest.len().min(self.most) * ENTRY_BYTES;
        FRAME_HEADER_BYTES + payload.next_multiple_of(FRAME_ALIGNMENT) as u64
    }

    /// The payload of a roll call.
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let mut entries: Vec<_> = self.newest.iter().collect();
        entries.sort_unstable_by_key(|(producer, newest)| {
            (std::cmp::Reverse(newest.offsets.end), **producer)
        });
        entries.truncate(self.most);
        let mut payload = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        for (producer, newest) in entries {
            for field in [
                *producer,
                newest.sequence,
                newest.offsets.start,
                newest.offsets.end,
            ] {
                payload.extend_from_slice(&field.to_le_bytes());
            }
        }
        payload.resize(payload.len().next_multiple_of(FRAME_ALIGNMENT), 0);
        payload
    }

    /// Takes a roll call in place of what is known. An entry whose batch ends at offset 0 is padding, as no batch
    /// of rows does; one that ends beyond the roll call cannot be.
    pub(crate) fn call(&mut self, payload: &[u8], offset: u64) {
        let entry = |bytes: &[u8]| {
            let mut fields = Fields(bytes);
            let mut next = || fields.take().map(u64::from_le_bytes);
            let (producer, sequence, start, end) = (next()?, next()?, next()?, next()?);
            let offsets = start..end;
            let is_one = start < end && end <= offset;
            is_one.then_some((producer, Newest { sequence, offsets }))
        };
        let (entries, _) = payload.as_chunks::<ENTRY_BYTES>();
        self.newest = entries.iter().filter_map(|bytes| entry(bytes)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(producer: u64, sequence: u64) -> Source {
        Source { producer, sequence }
    }

    #[test]
    fn a_batch_that_is_sent_again_or_is_older_is_known_and_a_newer_one_is_not() {
        let mut producers = Producers::of_segments(128 << 20);
        producers.note(source(7, 10), 0..5);
        producers.note(source(7, 12), 5..6);
        assert_eq!(
            producers.known(source(7, 12)).map(|n| n.offsets.clone()),
            Some(5..6)
        );
        assert!(producers.known(source(7, 3)).is_some());
        assert!(producers.known(source(7, 13)).is_none());
        assert!(producers.known(source(8, 1)).is_none());
        assert_eq!(producers.last_sequence(7), Some(12));
    }

    #[test]
    fn a_roll_call_reads_back_as_it_was_written() {
        let mut producers = Producers::of_segments(128 << 20);
        for producer in 0..101 {
            producers.note(source(producer, producer * 3), producer..producer + 1);
        }
        let payload = producers.to_payload();
        assert_eq!(payload.len() % FRAME_ALIGNMENT, 0);
        let mut called = Producers::of_segments(128 << 20);
        called.call(&payload, 101);
        assert_eq!(called, producers);
    }

    #[test]
    fn those_who_were_silent_longest_are_forgotten_first() {
        let mut producers = Producers::of_segments(128 << 20);
        let many = 2 * PRODUCERS_MAX as u64;
        for producer in 0..many {
            producers.note(source(producer, 0), producer..producer + 1);
        }
        assert!(producers.last_sequence(many - 1).is_some());
        assert!(producers.last_sequence(0).is_none());
        let mut called = Producers::of_segments(128 << 20);
        called.call(&producers.to_payload(), many);
        assert_eq!(called.newest.len(), PRODUCERS_MAX);
        assert!(called.last_sequence(many - PRODUCERS_MAX as u64).is_some());
    }

    #[test]
    fn a_source_reads_back_as_it_was_written() {
        let source = source(u64::MAX, 42);
        assert_eq!(Source::from_block(&source.to_block()), Some(source));
    }
}
