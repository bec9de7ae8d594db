//! Where a model's tokens begin in a text.

use tokenizers::Tokenizer;

/// The most bytes of a text that are tokenized at a time: a token takes a hundred bytes of memory meanwhile.
const MAX_PIECE: usize = 64 << 10;

/// A tokenizer.
#[derive(Debug)]
pub struct Tokens {
    tokenizer: Tokenizer,
}

impl Tokens {
    /// Reads the file `tokenizer.json`.
    pub(crate) fn read(file: &[u8]) -> Result<Self, String> {
        let bad = |error| format!("tokenizer.json does not parse: {error}");
        let mut tokenizer = Tokenizer::from_bytes(file).map_err(bad)?;
        tokenizer.with_truncation(None).map_err(bad)?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer })
    }

    /// At which byte each token begins, never decreasing. White space that a token begins with is
    /// left to the one before it.
    pub(crate) fn starts(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut starts = Vec::new();
        let mut last = 0;
        let mut begin = 0;
        while let Some(rest) = text.get(begin..).filter(|rest| !rest.is_empty()) {
            let (piece, _) = rest.split_at(piece(rest));
            let encoding = self.tokenizer.encode(piece, false);
            let encoding = encoding.map_err(|e| format!("the text does not tokenize: {e}"))?;
            for (start, end) in encoding.get_offsets() {
                let start = piece.floor_char_boundary(*start);
                let token = piece.get(start..*end).unwrap_or_default();
                let said = token.trim_start();
                let space = match said {
                    "" => 0,
                    said => token.len() - said.len(),
                };
                last = last.max(begin + start + space);
                // A column's offsets are u32: no text is longer.
                starts.push(last as u32);
            }
            begin += piece.len();
        }
        Ok(starts)
    }
}

/// How much of a text is tokenized first: up to the end of a line or of a word, where there is one.
fn piece(text: &str) -> usize {
    let window = text.get(..text.floor_char_boundary(MAX_PIECE));
    let window = window.unwrap_or(text);
    if window.len() == text.len() {
        return text.len();
    }
    let end = |at: usize| window.ceil_char_boundary(at + 1);
    let line = window.rfind('\n').map(end);
    let word = || window.rfind(char::is_whitespace).map(end);
    line.or_else(word).unwrap_or(window.len())
}
