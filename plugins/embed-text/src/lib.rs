//! Embeds texts with a static model in the model2vec layout: a vector a token, averaged.
//!
//! Reads the utf8 column `text` and adds the vector column `vector`. The model is three assets:
//! `tokenizer.json`, `model.safetensors` and `config.json`. The vectors are those that the Python
//! package model2vec gives. The options are [`Config`]'s fields.

mod config;
mod embeddings;
mod model;
mod tokens;
mod wordpiece;

use alluvium_plugin::{
    Assets, Batch, Failure, Field, Kind, Output, Plan, Transform, VectorBuilder, field, find_field,
    parse_config,
};

pub use config::{Config, MaxLength};
pub use model::Model;

/// The transform.
#[derive(Debug)]
pub struct EmbedText {
    model: Model,
    nullable: bool,
}

alluvium_plugin::export!(EmbedText);

impl Transform for EmbedText {
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String> {
        let config = parse_config::<Config>(config)?;
        let text = find_field(schema, "text", Kind::Utf8)?;
        let nullable = text.nullable;
        let model = Model::load(assets, &config)?;
        let dim = u32::try_from(model.dim()).map_err(|_| "the model's vectors are too long")?;
        let outputs = vec![field("vector", Kind::Vector, nullable, dim)];
        Ok((
            Self { model, nullable },
            Plan {
                inputs: vec![text.clone()],
                outputs,
            },
        ))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let mut vectors = VectorBuilder::new(self.model.dim(), self.nullable);
        let mut failures = Vec::new();
        let mut vector = vec![0.0; self.model.dim()];
        for (row, text) in (0u32..).zip(batch.text(0)?.iter()) {
            let embedded = text.map(|text| self.model.embed(text, &mut vector));
            if let Some(Err(message)) = &embedded {
                failures.push(Failure::new(row, message));
            }
            vectors.push(matches!(embedded, Some(Ok(()))).then_some(vector.as_slice()));
        }
        Ok(Output::one_to_one(batch, vec![vectors.finish()]).with_failures(failures))
    }
}
