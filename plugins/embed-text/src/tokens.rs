//! From a text to the numbers of its tokens.

use serde::Deserialize;
use tokenizers::{Tokenizer, TruncationParams};

use crate::config::MaxLength;
use crate::wordpiece::WordPiece;

/// A tokenizer set up as model2vec does.
#[derive(Debug)]
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    /// Does the same faster, if the tokenizer is of its kind.
    ascii: Option<WordPiece>,
    unknown: Option<u32>,
    max_tokens: Option<usize>,
    max_chars: Option<usize>,
    last: u32,
}

/// What of `tokenizer.json` the tokenizer itself does not tell.
#[derive(Deserialize)]
struct File {
    model: FileModel,
}

#[derive(Deserialize)]
struct FileModel {
    /// The token for what is not in the vocabulary, in WordPiece, BPE and WordLevel.
    unk_token: Option<String>,
    /// Its number, in Unigram.
    unk_id: Option<u32>,
}

impl Tokens {
    /// Reads the file `tokenizer.json`.
    pub(crate) fn read(file: &[u8], max_length: MaxLength) -> Result<Self, String> {
        let bad = |error: &dyn std::fmt::Display| format!("tokenizer.json does not parse: {error}");
        let mut tokenizer = Tokenizer::from_bytes(file).map_err(|error| bad(&error))?;
        let File { model } = serde_json::from_slice(file).map_err(|error| bad(&error))?;
        let unknown = match model.unk_token {
            Some(token) => tokenizer.token_to_id(&token),
            None => model.unk_id,
        };
        let vocabulary = tokenizer.get_vocab(true);
        let last = vocabulary
            .values()
            .copied()
            .max()
            .ok_or("tokenizer.json has no tokens")?;
        let max_tokens = match max_length {
            MaxLength::Tokens(tokens) => Some(tokens),
            MaxLength::Unset | MaxLength::Unlimited => None,
        };
        // Texts are cut before they are tokenized too: a long one would be tokenized for nothing.
        let median = median(
            vocabulary
                .keys()
                .map(|token| token.chars().count())
                .collect(),
        );
        let max_chars = max_tokens.map(|tokens| tokens.saturating_mul(median));
        let truncation = max_tokens.map(|max_length| TruncationParams {
            max_length,
            ..TruncationParams::default()
        });
        tokenizer
            .with_truncation(truncation)
            .map_err(|error| bad(&error))?;
        tokenizer.with_padding(None);
        Ok(Self {
            tokenizer,
            ascii: WordPiece::read(file),
            unknown,
            max_tokens,
            max_chars,
            last,
        })
    }

    /// The largest number that a token has.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// The numbers of a text's tokens, without those that the vocabulary does not know.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let text = self.cut(text);
        let limit = self.max_tokens.unwrap_or(usize::MAX);
        let general = |text: &str| {
            let encoding = self.tokenizer.encode_fast(text, false);
            encoding
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|error| format!("the text does not tokenize: {error}"))
        };
        let quick = match &self.ascii {
            Some(ascii) => ascii.tokenize(text, limit, general)?,
            None => None,
        };
        let mut tokens = match quick {
            Some(tokens) => tokens,
            None => general(text)?,
        };
        tokens.retain(|token| Some(*token) != self.unknown);
        Ok(tokens)
    }

    /// The part of a text that can matter.
    fn cut<'a>(&self, text: &'a str) -> &'a str {
        // A text that has no more bytes than that has no more characters.
        let end = self
            .max_chars
            .filter(|chars| text.len() > *chars)
            .and_then(|chars| text.char_indices().nth(chars));
        end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
    }
}

/// The median, rounded down.
fn median(mut lengths: Vec<usize>) -> usize {
    lengths.sort_unstable();
    let middle = lengths.len() / 2;
    let at = |index: usize| lengths.get(index).copied().unwrap_or_default();
    if lengths.len().is_multiple_of(2) && middle > 0 {
        (at(middle - 1) + at(middle)) / 2
    } else {
        at(middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two_and_is_rounded_down() {
        assert_eq!(median(vec![9, 1, 3]), 3);
        assert_eq!(median(vec![9, 1, 3, 6]), 4);
        assert_eq!(median(vec![7]), 7);
    }
}
