//! The model: a tokenizer, a table of vectors, and how they make one of a text.

use alluvium_plugin::Assets;

use crate::config::{Config, MaxLength, ModelConfig};
use crate::embeddings::Embeddings;
use crate::tokens::Tokens;

/// How many tokens of a text count where neither the options nor the model say it.
const DEFAULT_MAX_LENGTH: MaxLength = MaxLength::Tokens(512);

/// A static embedding model.
#[derive(Debug)]
pub struct Model {
    tokens: Tokens,
    embeddings: Embeddings,
    normalize: bool,
}

impl Model {
    /// Loads the model from its three assets.
    pub fn load(assets: &dyn Assets, config: &Config) -> Result<Self, String> {
        let own: ModelConfig = serde_json::from_slice(&assets.asset("config.json")?)
            .map_err(|error| format!("config.json does not parse: {error}"))?;
        let max_length = config.max_length.or(own.max_length).or(DEFAULT_MAX_LENGTH);
        let tokens = Tokens::read(&assets.asset("tokenizer.json")?, max_length)?;
        let embeddings = Embeddings::read(assets.asset("model.safetensors")?)?;
        if tokens.last() as usize >= embeddings.tokens() {
            let (last, vectors) = (tokens.last(), embeddings.tokens());
            return Err(format!(
                "tokenizer.json and model.safetensors do not belong together: tokens up to {last}, {vectors} vectors"
            ));
        }
        Ok(Self {
            tokens,
            embeddings,
            normalize: config.normalize.unwrap_or(own.normalize),
        })
    }

    /// The length of a vector.
    pub fn dim(&self) -> usize {
        self.embeddings.dim()
    }

    /// Writes a text's vector: the mean of its tokens' ones, all zeros where it has no token.
    pub fn embed(&self, text: &str, vector: &mut [f32]) -> Result<(), String> {
        vector.fill(0.0);
        let tokens = self.tokens.encode(text)?;
        for token in &tokens {
            self.embeddings.add(*token as usize, vector);
        }
        if tokens.is_empty() {
            return Ok(());
        }
        scale(vector, 1.0 / tokens.len() as f32);
        if self.normalize {
            let length = vector
                .iter()
                .map(|number| number * number)
                .sum::<f32>()
                .sqrt();
            if length > 0.0 {
                scale(vector, 1.0 / length);
            }
        }
        Ok(())
    }
}

fn scale(vector: &mut [f32], factor: f32) {
    for number in vector {
        *number *= factor;
    }
}
