//! The transform's options, and the model's own.

use serde::{Deserialize, Deserializer};

/// The options, a JSON object. What is not given is taken from the model's `config.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether vectors are scaled to length 1.
    pub normalize: Option<bool>,
    /// How many tokens of a text count; `null`: all of them.
    pub max_length: MaxLength,
}

/// How many tokens of a text count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxLength {
    /// Whatever the next one to ask says.
    #[default]
    Unset,
    /// All of them.
    Unlimited,
    /// The first so many.
    Tokens(usize),
}

impl MaxLength {
    /// This, or else what `other` says.
    pub fn or(self, other: Self) -> Self {
        if self == Self::Unset { other } else { self }
    }
}

impl<'de> Deserialize<'de> for MaxLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(
            match Option::<std::num::NonZeroUsize>::deserialize(deserializer)? {
                Some(tokens) => Self::Tokens(tokens.get()),
                None => Self::Unlimited,
            },
        )
    }
}

/// What the model's `config.json` says of inference; the rest tells how it was made.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ModelConfig {
    /// Whether vectors are scaled to length 1.
    pub(crate) normalize: bool,
    /// How many tokens of a text count.
    pub(crate) max_length: MaxLength,
}
