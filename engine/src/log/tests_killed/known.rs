//! What is known of a log that is killed, and whether it agrees.

use std::collections::HashMap;
use std::ops::Range;

use super::{ANONYMOUS, PRODUCERS, rows_of};
use crate::log::Log;
use crate::log::tests::{Values, schema};

/// What the parent knows of the log.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where batches are: all that were acknowledged, or seen after a crash.
    places: HashMap<(u64, u64), Range<u64>>,
    /// Offsets below may be gone.
    pub(super) released: u64,
    /// For each producer one past the sequence that was acknowledged last.
    pub(super) acknowledged: [u64; PRODUCERS as usize],
    pub(super) acknowledgements: usize,
    /// Batches that were not acknowledged, and survived.
    pub(super) survivors: usize,
}

impl Known {
    /// Takes in a line of the child's.
    pub(super) fn hear(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| {
            let word: Option<&&str> = words.get(at);
            let number = word.and_then(|word| word.parse::<u64>().ok());
            number.ok_or_else(|| format!("{line:?} is no whole line"))
        };
        match words[0] {
            "ack" => {
                let (producer, sequence) = (number(1)?, number(2)?);
                self.place(producer, sequence, number(3)?..number(4)?)?;
                self.acknowledged[producer as usize] = sequence + 1;
                self.acknowledgements += 1;
            }
            "released" => self.released = self.released.max(number(1)?),
            "failed" => return Err(format!("the child {line}")),
            _ => {}
        }
        Ok(())
    }

    /// Notes where a batch is; whether that is news.
    fn place(&mut self, producer: u64, sequence: u64, at: Range<u64>) -> Result<bool, String> {
        match self.places.insert((producer, sequence), at.clone()) {
            None => Ok(true),
            Some(before) if before == at => Ok(false),
            Some(before) => Err(format!(
                "batch {sequence} of producer {producer} is at {before:?} and at {at:?}"
            )),
        }
    }

    /// Compares the log with what is known of it.
    pub(super) fn check(&mut self, log: &Log) -> Result<(), String> {
        let first = log.first_offset();
        if first > self.released {
            return Err(format!(
                "{first} is the first offset, {} was released",
                self.released
            ));
        }
        let mut next = first;
        let mut reader = log.read_from(first);
        let mut seen = HashMap::new();
        while let Some(frame) = reader.next_frame().map_err(|e| e.to_string())? {
            let at = frame.header.base_offset..frame.header.end_offset;
            let batch = frame.batch(schema()).map_err(|e| e.to_string())?;
            let rows = batch.column(0).as_primitive_values();
            let row = rows.first().copied().unwrap_or_default() as u64;
            let (producer, sequence) = (row >> 56, (row >> 20) & ((1 << 36) - 1));
            if at.start != next || producer >= PRODUCERS || rows != rows_of(producer, sequence) {
                return Err(format!(
                    "rows of nobody at {at:?}, where {next} should begin"
                ));
            }
            next = at.end;
            self.survivors += usize::from(self.place(producer, sequence, at.clone())?);
            if let Some(before) = seen.insert((producer, sequence), at.clone()) {
                return Err(format!("{producer} {sequence} is at {before:?} and {at:?}"));
            }
        }
        if next != log.committed() {
            return Err(format!(
                "{next} is the end of what can be read, not {}",
                log.committed()
            ));
        }
        let is_lost =
            |batch: &(u64, u64), at: &Range<u64>| at.start >= first && !seen.contains_key(batch);
        let lost = self.places.iter().find(|(batch, at)| is_lost(batch, at));
        match lost {
            Some(lost) => Err(format!("{lost:?} is lost: the log has {first}..{next}")),
            None if log.is_read_only() => Ok(()),
            None => self.check_sequences(log),
        }
    }

    fn check_sequences(&self, log: &Log) -> Result<(), String> {
        for producer in (0..PRODUCERS).filter(|producer| *producer != ANONYMOUS) {
            let sent = self.places.keys().filter(|(by, _)| *by == producer);
            let newest = sent.map(|(_, sequence)| *sequence).max();
            if log.last_sequence(producer) != newest {
                let says = log.last_sequence(producer);
                return Err(format!(
                    "{newest:?} is the last of {producer}, the log says {says:?}"
                ));
            }
        }
        Ok(())
    }
}
