//! The transform's options.

use serde::Deserialize;

/// The options, a JSON object.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What passages are measured in.
    pub unit: Unit,
    /// The most units that a passage has. Default 1000.
    pub size: u32,
    /// How many of its last units a passage shares with the next, at most; fewer by up to
    /// `tolerance` where the next one then begins with a word. Less than `size`. Default: a tenth
    /// of `size`.
    pub overlap: Option<u32>,
    /// How many units short of `size` a passage may end, for the sake of ending with a paragraph, a
    /// sentence or a word. Less than `size - overlap`. Default: a quarter of that.
    pub tolerance: Option<u32>,
    /// What `start` and `end` count.
    pub offsets: Offsets,
    /// Whether a document that is null or empty keeps a row, without a passage. Default: it has
    /// none, and so no row.
    pub keep_empty: bool,
}

/// What passages are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Unicode scalar values, as Python counts a `str`.
    #[default]
    Characters,
    /// What white space parts: a text that is written without is one word.
    Words,
    /// Tokens of a model, whose `tokenizer.json` is an asset. They are those of the document: a
    /// passage by itself may have a few more or fewer, where it is cut within a word.
    Tokens,
}

/// What a passage's place in its document is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offsets {
    /// Bytes of UTF-8.
    #[default]
    Bytes,
    /// Unicode scalar values, as Python indexes a `str`.
    Characters,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            unit: Unit::default(),
            size: 1000,
            overlap: None,
            tolerance: None,
            offsets: Offsets::default(),
            keep_empty: false,
        }
    }
}

impl Config {
    /// Checks that passages come forward, whatever the text.
    pub fn validate(&self) -> Result<(), String> {
        let (size, overlap, tolerance) = (self.size, self.overlap(), self.tolerance());
        if size == 0 {
            return Err("`size` must be at least 1".to_owned());
        }
        if overlap >= size {
            return Err(format!(
                "`overlap` must be less than `size`: {overlap} is not less than {size}"
            ));
        }
        if tolerance >= size - overlap {
            let limit = size - overlap;
            return Err(format!(
                "`tolerance` must be less than `size` - `overlap`: {tolerance} is not less than {limit}"
            ));
        }
        Ok(())
    }

    /// The overlap, given or not.
    pub fn overlap(&self) -> u32 {
        self.overlap.unwrap_or(self.size / 10)
    }

    /// The tolerance, given or not.
    pub fn tolerance(&self) -> u32 {
        let rest = self.size.saturating_sub(self.overlap());
        self.tolerance.unwrap_or(rest / 4)
    }
}
