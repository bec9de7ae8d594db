//! The passages of a text.

use std::ops::{Range, RangeInclusive};

use crate::config::Config;
use crate::cut::Cut;

/// Where the passages of a text stand in it, in bytes, in order; `starts` are those of
/// [`Measure::starts`](crate::Measure::starts). The first begins with the text, the last ends with
/// it, and none leaves a gap to the next. An empty text has none. One character that has more
/// tokens than a passage may have is a passage.
pub fn passages(text: &str, starts: &[u32], config: &Config) -> Vec<Range<usize>> {
    let units = Units { text, starts };
    let size = config.size as usize;
    let overlap = config.overlap() as usize;
    let tolerance = config.tolerance() as usize;
    let mut passages = Vec::new();
    let mut begin = 0;
    while begin < units.count() {
        let end = match begin + size {
            end if end < units.count() => units.best(begin, end - tolerance..=end),
            _ => units.count(),
        };
        passages.push(units.byte(begin)..units.byte(end));
        if end == units.count() {
            break;
        }
        let earliest = end.saturating_sub(overlap).max(begin + 1);
        begin = units.first_word(earliest..=(earliest + tolerance).min(end), end);
    }
    passages
}

/// The units of a text.
struct Units<'a> {
    text: &'a str,
    /// At which byte each begins; the first with the text.
    starts: &'a [u32],
}

impl Units<'_> {
    fn count(&self) -> usize {
        self.starts.len()
    }

    /// Where a unit begins; past the last one, where the text ends.
    fn byte(&self, unit: usize) -> usize {
        let start = self.starts.get(unit);
        start.map_or(self.text.len(), |start| *start as usize)
    }

    /// How good it is to cut before a unit; `None` within a character of several.
    fn cut(&self, unit: usize) -> Option<Cut> {
        let at = self.byte(unit);
        let is_new = unit == 0 || self.byte(unit - 1) < at;
        is_new.then(|| Cut::at(self.text, at))
    }

    /// The best unit of several to cut before, `begin` being cut before already: of equally good
    /// ones the last. Where all are within one character the last before it, or else the first behind it.
    fn best(&self, begin: usize, units: RangeInclusive<usize>) -> usize {
        let (first, last) = (*units.start(), *units.end());
        let best = units.max_by_key(|unit| self.cut(*unit)).unwrap_or(last);
        if self.cut(best).is_some() {
            return best;
        }
        let mut others = (begin + 1..first).rev().chain(last + 1..self.count());
        let other = others.find(|unit| self.cut(*unit).is_some());
        other.unwrap_or(self.count())
    }

    /// The first unit of several that begins a word, else the first that can be cut before, up to `end`.
    fn first_word(&self, mut units: RangeInclusive<usize>, end: usize) -> usize {
        let first = *units.start();
        let word = units.find(|unit| self.cut(*unit) > Some(Cut::Anywhere));
        let any = || (first..end).find(|unit| self.cut(*unit).is_some());
        word.or_else(any).unwrap_or(end)
    }
}
