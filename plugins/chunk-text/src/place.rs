//! Where passages stand in their document, in the units that the options say.

use std::ops::Range;

use crate::config::Offsets;

/// Counts along a document.
pub(crate) struct Places<'a> {
    text: &'a str,
    offsets: Offsets,
    /// Where the last passage began: in bytes, and in characters.
    byte: usize,
    characters: usize,
}

impl<'a> Places<'a> {
    pub(crate) fn new(text: &'a str, offsets: Offsets) -> Self {
        Self {
            text,
            offsets,
            byte: 0,
            characters: 0,
        }
    }

    /// The place of a passage, which begins after the last one's beginning.
    pub(crate) fn next(&mut self, passage: Range<usize>) -> (i32, i32) {
        // The host's texts are no longer than an i32 counts.
        let number = |offset| i32::try_from(offset).unwrap_or(i32::MAX);
        if self.offsets == Offsets::Bytes {
            return (number(passage.start), number(passage.end));
        }
        let count = |range: Range<usize>| {
            self.text
                .get(range)
                .map_or(0, |text: &str| text.chars().count())
        };
        let start = self.characters + count(self.byte..passage.start);
        let end = start + count(passage.clone());
        (self.byte, self.characters) = (passage.start, start);
        (number(start), number(end))
    }
}
