//! What texts are measured in.

use alluvium_plugin::Assets;

use crate::config::Unit;
use crate::tokens::Tokens;

/// A unit, and what it takes to find it in a text.
#[derive(Debug)]
pub enum Measure {
    /// Of [`Unit::Characters`].
    Characters,
    /// Of [`Unit::Words`].
    Words,
    /// Of [`Unit::Tokens`].
    Tokens(Box<Tokens>),
}

impl Measure {
    /// The measure of a unit. For tokens, the asset `tokenizer.json` is read.
    pub fn open(unit: Unit, assets: &dyn Assets) -> Result<Self, String> {
        Ok(match unit {
            Unit::Characters => Self::Characters,
            Unit::Words => Self::Words,
            Unit::Tokens => Self::Tokens(Box::new(Tokens::read(&assets.asset("tokenizer.json")?)?)),
        })
    }

    /// At which byte each unit of a text begins, the first one with the text. Tokens of one
    /// character begin where it does.
    pub fn starts(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut starts = match self {
            // A column's offsets are u32: no text is longer.
            Self::Characters => text.char_indices().map(|(at, _)| at as u32).collect(),
            Self::Words => words(text),
            Self::Tokens(tokens) => tokens.starts(text)?,
        };
        match starts.first_mut() {
            Some(first) => *first = 0,
            None if !text.is_empty() => starts.push(0),
            None => {}
        }
        Ok(starts)
    }
}

/// Where words begin.
fn words(text: &str) -> Vec<u32> {
    let mut starts = Vec::new();
    let mut after_space = true;
    for (at, character) in text.char_indices() {
        if after_space && !character.is_whitespace() {
            starts.push(at as u32);
        }
        after_space = character.is_whitespace();
    }
    starts
}
