//! What was asked of a log, and whether what it holds can be.

use parking_lot::Mutex;

use super::simulated::Simulated;
use super::{Values, numbers, schema};
use crate::log::append::Log;
use crate::log::producers::Source;

/// How many producers there are, half of them on each of two threads.
pub(super) const PRODUCERS: u64 = 4;
/// A row's value is its batch's number and, below that, its own.
const ROW_BITS: u32 = 20;

/// A batch that somebody tried to append.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) rows: u64,
    pub(super) source: Option<Source>,
    /// Where it lies, once that is known.
    base_offset: Option<u64>,
    is_gone: bool,
}

impl Sent {
    /// One past its last offset, if it is in the log.
    fn end(&self) -> Option<u64> {
        self.base_offset.map(|base| base + self.rows)
    }
}

/// All batches of a log, and what was promised of them.
#[derive(Debug, Default)]
pub(super) struct History {
    batches: Vec<Sent>,
    /// Offsets below were said to be durable.
    durable: u64,
    /// Offsets below must be there when the log is opened again.
    required: u64,
    tiered: u64,
    next_sequences: [u64; PRODUCERS as usize],
    lost: Vec<Sent>,
}

impl History {
    pub(super) fn is_durable_below(&mut self, offset: u64) {
        self.durable = self.durable.max(offset);
    }

    pub(super) fn is_tiered_below(&mut self, offset: u64) {
        self.tiered = self.tiered.max(offset);
    }

    /// What was acknowledged must be there, durable or not.
    pub(super) fn survives_a_kill(&mut self) {
        let ends = self.batches.iter().filter(|b| !b.is_gone);
        let acknowledged = ends.filter_map(Sent::end).max().unwrap_or(0);
        self.required = acknowledged.max(self.durable);
    }

    /// What was said to be durable must be there.
    pub(super) fn survives_power_loss(&mut self) {
        self.required = self.durable;
    }

    pub(super) fn next_of(&mut self, producer: u64) -> Source {
        let sequence = &mut self.next_sequences[producer as usize];
        *sequence += 1;
        Source {
            producer,
            sequence: *sequence,
        }
    }

    /// The batches that the last check found to be lost.
    pub(super) fn take_lost(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.lost)
    }

    /// A batch's number.
    fn begin(&mut self, rows: u64, source: Option<Source>) -> usize {
        if let Some(source) = source {
            let next = &mut self.next_sequences[source.producer as usize];
            *next = source.sequence.max(*next);
        }
        self.batches.push(Sent {
            rows,
            source,
            base_offset: None,
            is_gone: false,
        });
        self.batches.len() - 1
    }

    /// Whether a log that was just opened holds a prefix of what was appended, whole and in its place, all that
    /// was promised among it, and knows its producers.
    pub(super) fn check(&mut self, log: &Log) -> Result<(), String> {
        let (first, committed) = (log.first_offset(), log.committed());
        if first > self.tiered {
            let tiered = self.tiered;
            return Err(format!("first offset {first} though {tiered} was released"));
        }
        if committed < self.required {
            let required = self.required;
            return Err(format!("{committed} rows though {required} were promised"));
        }
        let seen = self.check_frames(log, first, committed)?;
        for (number, sent) in self.batches.iter_mut().enumerate() {
            let is_released = sent.end().is_some_and(|end| end <= first);
            if !sent.is_gone && !is_released && !seen.contains(&number) {
                sent.is_gone = true;
                self.lost.push(sent.clone());
            }
        }
        self.check_producers(log)?;
        self.durable = log.durable();
        Ok(())
    }

    fn check_frames(
        &mut self,
        log: &Log,
        first: u64,
        committed: u64,
    ) -> Result<std::collections::HashSet<usize>, String> {
        let mut seen = std::collections::HashSet::new();
        let mut next = first;
        let mut reader = log.read_from(first);
        while let Some(frame) = reader.next_frame().map_err(|e| e.to_string())? {
            let (base, end) = (frame.header.base_offset, frame.header.end_offset);
            if frame.header.row_count == 0 {
                continue;
            }
            let batch = frame.batch(schema()).map_err(|e| e.to_string())?;
            let values = batch.column(0).as_primitive_values();
            let number = (values[0] >> ROW_BITS) as usize;
            let here = format!("the frame of offsets {base}..{end} is batch {number}");
            let sent = self.batches.get_mut(number).ok_or(here.clone())?;
            let start = (number as i64) << ROW_BITS;
            if values != (start..start + sent.rows as i64).collect::<Vec<_>>() {
                return Err(format!("{here}: torn"));
            }
            if base != next || sent.is_gone || !seen.insert(number) {
                return Err(format!("{here}: stale, expected offset {next}: {sent:?}"));
            }
            if *sent.base_offset.get_or_insert(base) != base {
                return Err(format!("{here}: not where it was: {sent:?}"));
            }
            next = end;
        }
        match next == committed {
            true => Ok(seen),
            false => Err(format!("rows end at {next} instead of {committed}")),
        }
    }

    fn check_producers(&mut self, log: &Log) -> Result<(), String> {
        for producer in 0..PRODUCERS {
            let alive = self.batches.iter().filter(|b| !b.is_gone);
            let sources = alive.filter_map(|b| b.source);
            let of_this = sources.filter(|s| s.producer == producer);
            let newest = of_this.map(|s| s.sequence).max();
            let known = log.last_sequence(producer);
            if known != newest {
                return Err(format!(
                    "producer {producer} is at {known:?} instead of {newest:?}"
                ));
            }
            self.next_sequences[producer as usize] = newest.unwrap_or(0);
        }
        Ok(())
    }
}

/// Appends, and notes it.
pub(super) struct Appender<'a> {
    pub(super) log: &'a Log,
    pub(super) disk: &'a Simulated,
    pub(super) history: &'a Mutex<History>,
}

impl Appender<'_> {
    /// Appends a new batch. False when power was lost.
    pub(super) fn append(&self, rows: u64, source: Option<Source>) -> Result<bool, String> {
        let number = self.history.lock().begin(rows, source);
        let start = (number as i64) << ROW_BITS;
        let batch = numbers(start..start + rows as i64);
        match self.log.append(&batch, 1, source) {
            Err(_) if self.disk.is_off() => Ok(false),
            Err(error) => Err(format!("append: {error}")),
            Ok(appended) if appended.is_duplicate => {
                Err(format!("batch {number} of {source:?} is taken for another"))
            }
            Ok(appended) => {
                self.history.lock().batches[number].base_offset = Some(appended.base_offset);
                Ok(true)
            }
        }
    }

    /// Sends a producer's newest batch once more, which must be known.
    pub(super) fn send_again(&self, producer: u64) -> Result<(), String> {
        let history = self.history.lock();
        let known = history.batches.iter().filter(|b| !b.is_gone);
        let of_this = known.filter(|b| b.source.is_some_and(|s| s.producer == producer));
        let Some(sent) = of_this.max_by_key(|b| b.source.map(|s| s.sequence)) else {
            return Ok(());
        };
        let sent = sent.clone();
        drop(history);
        let batch = numbers(0..sent.rows as i64);
        match self.log.append(&batch, 1, sent.source) {
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(format!("append again: {error}")),
            Ok(again) if again.is_duplicate && Some(again.base_offset) == sent.base_offset => {
                Ok(())
            }
            Ok(again) => Err(format!("{sent:?} is at {again:?} when it is sent again")),
        }
    }
}
