//! How good a place is to cut a text at.

/// How good a place is, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut {
    /// Within a word, or before white space.
    Anywhere,
    /// Before a word.
    Word,
    /// Before a sentence or a line.
    Sentence,
    /// Before a paragraph: after an empty line.
    Paragraph,
}

/// How much white space is looked at, in characters.
const MAX_GAP: usize = 64;

impl Cut {
    /// How good it is to cut `text` before the byte `at`.
    pub(crate) fn at(text: &str, at: usize) -> Self {
        let (Some(before), Some(after)) = (text.get(..at), text.get(at..)) else {
            return Self::Anywhere;
        };
        // White space stays with what comes before it.
        if after.starts_with(char::is_whitespace) {
            return Self::Anywhere;
        }
        let mut newlines = 0;
        let mut gap = 0;
        for character in before.chars().rev().take(MAX_GAP) {
            if !character.is_whitespace() {
                break;
            }
            newlines += usize::from(character == '\n');
            gap += character.len_utf8();
        }
        let said = before.get(..at - gap).unwrap_or_default();
        match (newlines, gap) {
            (2.., _) => Self::Paragraph,
            (1, _) => Self::Sentence,
            (_, 0) if ends_wide_sentence(said) => Self::Sentence,
            (_, 0) => Self::Anywhere,
            _ if ends_sentence(said) || ends_wide_sentence(said) => Self::Sentence,
            _ => Self::Word,
        }
    }
}

/// Whether a text ends as sentences do that are followed by a space.
fn ends_sentence(text: &str) -> bool {
    without_closing(text).ends_with(['.', '!', '?', '…', '؟', '।'])
}

/// Whether a text ends as sentences do that are not.
fn ends_wide_sentence(text: &str) -> bool {
    without_closing(text).ends_with(['。', '！', '？', '｡'])
}

/// A text without the quotes and brackets that it ends with.
fn without_closing(text: &str) -> &str {
    text.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»', '」', '』', '）'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How good it is to cut where the bar stands.
    fn cut(text: &str) -> Cut {
        let at = text.find('|').unwrap();
        Cut::at(&text.replacen('|', "", 1), at)
    }

    #[test]
    fn paragraphs_are_better_than_sentences_and_those_than_words() {
        assert_eq!(cut("one\n \n|two"), Cut::Paragraph);
        assert_eq!(cut("one.\r\n\r\n|two"), Cut::Paragraph);
        assert_eq!(cut("one\n|two"), Cut::Sentence);
        assert_eq!(cut("one. |two"), Cut::Sentence);
        assert_eq!(cut("(\"one!\") |two"), Cut::Sentence);
        assert_eq!(cut("一。|二"), Cut::Sentence);
        assert_eq!(cut("one |two"), Cut::Word);
        assert_eq!(cut("1.|5"), Cut::Anywhere);
        assert_eq!(cut("o|ne"), Cut::Anywhere);
    }

    #[test]
    fn white_space_stays_with_what_comes_before_it() {
        assert_eq!(cut("one.| two"), Cut::Anywhere);
        assert_eq!(cut("one\n|\ntwo"), Cut::Anywhere);
    }
}
