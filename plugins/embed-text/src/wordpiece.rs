//! BERT's tokenization of ASCII words, without what the whole of Unicode takes.
//!
//! Most words are ASCII, and most static models have BERT's tokenizer: such words are an order of
//! magnitude faster here than through the general tokenizer, and give the same tokens. Words with
//! other characters are left to that one by one: no word's tokens depend on its neighbours.

use rustc_hash::FxHashMap;
use serde::Deserialize;

/// What of `tokenizer.json` decides whether it is BERT's.
#[derive(Debug, Deserialize)]
pub(crate) struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    model: Model,
}

#[derive(Debug, Deserialize)]
struct AddedToken {
    content: String,
    normalized: bool,
}

#[derive(Debug, Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    clean_text: bool,
    #[serde(default)]
    lowercase: bool,
}

#[derive(Debug, Deserialize)]
struct PreTokenizer {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    unk_token: String,
    vocab: FxHashMap<String, u32>,
}

/// Tokenizes ASCII words.
#[derive(Debug)]
pub(crate) struct WordPiece {
    /// Tokens that begin a word.
    first: FxHashMap<Box<[u8]>, u32>,
    /// Tokens that continue one, without their prefix.
    further: FxHashMap<Box<[u8]>, u32>,
    /// How long the longest of them are, in bytes.
    longest: usize,
    unknown: u32,
    max_word: usize,
    lowercase: bool,
    /// What the added tokens begin with: a text without these bytes holds none of them.
    added: Vec<u8>,
}

impl WordPiece {
    /// The tokenizer that the file `tokenizer.json` describes, if it is BERT's.
    pub(crate) fn read(file: &[u8]) -> Option<Self> {
        // A file of another kind lacks some field.
        let file: File = serde_json::from_slice(file).ok()?;
        let normalizer = file.normalizer?;
        let is_bert = normalizer.kind == "BertNormalizer"
            && normalizer.clean_text
            && file.pre_tokenizer?.kind == "BertPreTokenizer"
            && file.model.kind == "WordPiece"
            && !file.added_tokens.iter().any(|token| token.normalized);
        if !is_bert {
            return None;
        }
        let added = file.added_tokens.iter();
        let added = added.map(|token| token.content.bytes().next());
        let added = added.collect::<Option<Vec<u8>>>()?;
        let unknown = *file.model.vocab.get(&file.model.unk_token)?;
        let (mut first, mut further) = (FxHashMap::default(), FxHashMap::default());
        let prefix = file.model.continuing_subword_prefix.as_bytes();
        let mut longest = 0;
        for (token, id) in file.model.vocab {
            let token = token.into_bytes();
            longest = longest.max(token.len());
            if let Some(rest) = token.strip_prefix(prefix) {
                further.insert(rest.into(), id);
            }
            first.insert(token.into(), id);
        }
        Some(Self {
            first,
            further,
            longest,
            unknown,
            max_word: file.model.max_input_chars_per_word,
            lowercase: normalizer.lowercase,
            added,
        })
    }

    /// The first `limit` tokens of a text, of which `general` tokenizes what is not ASCII; none if it
    /// may hold an added token, and is all for the general tokenizer.
    pub(crate) fn tokenize<E>(
        &self,
        text: &str,
        limit: usize,
        general: impl Fn(&str) -> Result<Vec<u32>, E>,
    ) -> Result<Option<Vec<u32>>, E> {
        if text.bytes().any(|byte| self.added.contains(&byte)) {
            return Ok(None);
        }
        let text = self.clean(text);
        let mut tokens = Vec::with_capacity(text.len() / 4);
        let mut rest = text.as_slice();
        while let Some((word, after)) = next_word(rest)
            && tokens.len() < limit
        {
            if word.is_ascii() {
                self.add_word(word, &mut tokens);
            } else {
                // Whole characters: it was cut out between ASCII ones.
                tokens.extend(general(&String::from_utf8_lossy(word))?);
            }
            rest = after;
        }
        tokens.truncate(limit);
        Ok(Some(tokens))
    }

    /// The text in lower case, its white space spaces, without control characters.
    fn clean(&self, text: &str) -> Vec<u8> {
        let bytes = text.bytes().filter_map(|byte| match byte {
            b'\t' | b'\n' | b'\r' => Some(b' '),
            byte if byte.is_ascii_control() => None,
            byte if self.lowercase => Some(byte.to_ascii_lowercase()),
            byte => Some(byte),
        });
        bytes.collect()
    }

    /// Adds the tokens of a word: always the longest that fits; the unknown one if none does.
    fn add_word(&self, word: &[u8], tokens: &mut Vec<u32>) {
        let before = tokens.len();
        let mut rest = word;
        let mut vocabulary = &self.first;
        if word.len() > self.max_word {
            rest = &[];
            tokens.push(self.unknown);
        }
        while !rest.is_empty() {
            let longest = rest.len().min(self.longest);
            let found = (1..=longest).rev().find_map(|end| {
                let (piece, after) = rest.split_at_checked(end)?;
                Some((*vocabulary.get(piece)?, after))
            });
            let Some((token, after)) = found else {
                tokens.truncate(before);
                tokens.push(self.unknown);
                return;
            };
            tokens.push(token);
            rest = after;
            vocabulary = &self.further;
        }
    }
}

/// The next word, or punctuation, of a text, and what follows it.
fn next_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = text.iter().position(|byte| *byte != b' ')?;
    let text = text.get(start..)?;
    let is_end = |byte: &u8| *byte == b' ' || byte.is_ascii_punctuation();
    let length = text.iter().position(is_end).unwrap_or(text.len());
    text.split_at_checked(length.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::Tokenizer;

    use super::*;

    const FILE: &[u8] = include_bytes!("../models/minilm-static-128/tokenizer.json");

    fn general() -> Tokenizer {
        let mut tokenizer = Tokenizer::from_bytes(FILE).unwrap();
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).unwrap();
        tokenizer
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn tokens_are_those_of_the_general_tokenizer(
            text in r"([ -Z\\^-~]{0,12}|[\x00-\x7f&&[^\[]]{0,4}|[A-Za-z]{1,120}|[^\[]{1,4}|(the|Größe|isn't|U\.S\.|深い|İ|á\u{301}|3\.14) ?){0,12}",
        ) {
            thread_local! {
                static BOTH: (WordPiece, Tokenizer) = (WordPiece::read(FILE).unwrap(), general());
            }
            BOTH.with(|(own, general)| {
                let wanted = general.encode_fast(text.as_str(), false).unwrap();
                let encode = |text: &str| {
                    let encoding = general.encode_fast(text, false);
                    encoding.map(|encoding| encoding.get_ids().to_vec())
                };
                let tokens = own.tokenize(&text, usize::MAX, encode).unwrap();
                prop_assert_eq!(tokens.as_deref(), Some(wanted.get_ids()));
                Ok(())
            })?;
        }
    }

    #[test]
    fn what_may_hold_an_added_token_is_left_to_others_and_so_are_words_that_are_not_ascii() {
        let own = WordPiece::read(FILE).unwrap();
        let refuse = |word: &str| Err(word.to_owned());
        assert_eq!(own.tokenize("a [PAD] b", 9, refuse), Ok(None));
        assert_eq!(own.tokenize("a Größe!", 9, refuse), Err("größe".to_owned()));
        let tokens = own.tokenize("a cat", 1, refuse).unwrap();
        assert_eq!(tokens.map(|tokens| tokens.len()), Some(1));
    }

    #[test]
    fn a_tokenizer_of_another_kind_is_none() {
        let text = std::str::from_utf8(FILE).unwrap();
        for (is, other) in [
            ("BertNormalizer", "Lowercase"),
            ("BertPreTokenizer", "Whitespace"),
            ("\"WordPiece\"", "\"WordLevel\""),
            ("\"clean_text\": true", "\"clean_text\": false"),
            ("\"normalized\": false", "\"normalized\": true"),
        ] {
            let compact = is.replace(": ", ":");
            let changed = text
                .replace(is, other)
                .replace(&compact, &other.replace(": ", ":"));
            assert_ne!(changed, text, "{is}");
            assert!(WordPiece::read(changed.as_bytes()).is_none(), "{is}");
        }
    }
}
