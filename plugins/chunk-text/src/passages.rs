//! The passages of a text.

use std::ops::Range;

use crate::config::{Config, Unit};
use crate::cut::Cut;

/// Where the passages of a text stand in it, in bytes, in order. The first begins with the text,
/// the last ends with it, and none leaves a gap to the next. An empty text has none.
pub fn passages(text: &str, config: &Config) -> Vec<Range<usize>> {
    let units = Units::new(text, config.unit);
    let size = config.size as usize;
    let overlap = config.overlap() as usize;
    let tolerance = config.tolerance() as usize;
    let mut passages = Vec::new();
    let mut begin = 0;
    while begin < units.count() {
        let end = match begin + size {
            end if end < units.count() => units.best(end - tolerance..=end),
            _ => units.count(),
        };
        passages.push(units.byte(begin)..units.byte(end));
        if end == units.count() {
            break;
        }
        // The tolerance is less than what a passage has beside its overlap: this is past `begin`.
        let earliest = end - overlap;
        begin = units.first_word(earliest..=(earliest + tolerance).min(end));
    }
    passages
}

/// The units of a text.
struct Units<'a> {
    text: &'a str,
    /// At which byte each begins; the first with the text.
    starts: Vec<u32>,
}

impl<'a> Units<'a> {
    fn new(text: &'a str, unit: Unit) -> Self {
        // A column's offsets are u32: no text is longer.
        let starts = match unit {
            Unit::Characters => text.char_indices().map(|(at, _)| at as u32).collect(),
            Unit::Words => words(text),
        };
        Self { text, starts }
    }

    fn count(&self) -> usize {
        self.starts.len()
    }

    /// Where a unit begins; past the last one, where the text ends.
    fn byte(&self, unit: usize) -> usize {
        let start = self.starts.get(unit);
        start.map_or(self.text.len(), |start| *start as usize)
    }

    fn cut(&self, unit: usize) -> Cut {
        Cut::at(self.text, self.byte(unit))
    }

    /// The best unit of several to cut before: of equally good ones the last.
    fn best(&self, units: std::ops::RangeInclusive<usize>) -> usize {
        let last = *units.end();
        units.max_by_key(|unit| self.cut(*unit)).unwrap_or(last)
    }

    /// The first unit of several that begins a word, else the first.
    fn first_word(&self, mut units: std::ops::RangeInclusive<usize>) -> usize {
        let first = *units.start();
        units
            .find(|unit| self.cut(*unit) > Cut::Anywhere)
            .unwrap_or(first)
    }
}

/// Where words begin. White space before the first one is a part of it.
fn words(text: &str) -> Vec<u32> {
    let mut starts = Vec::new();
    let mut after_space = true;
    for (at, character) in text.char_indices() {
        if after_space && !character.is_whitespace() {
            starts.push(at as u32);
        }
        after_space = character.is_whitespace();
    }
    match starts.first_mut() {
        Some(first) => *first = 0,
        None if !text.is_empty() => starts.push(0),
        None => {}
    }
    starts
}
