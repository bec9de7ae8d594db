//! Makes fingerprints of pictures, to find near duplicates by: PNG, JPEG, WebP and GIF (its first
//! frame).
//!
//! Reads the binary column `image` and adds `hash`, a perceptual hash of 64 bits, and `vector`, 96
//! numbers of length 1. A copy that was scaled, encoded anew or lit a little differently differs in
//! a few bits (up to about 10), and its vector's cosine is nearly 1; one that was cropped, turned or
//! mirrored is another picture. What cannot be decoded fails its own row only. The options are
//! [`Config`]'s fields.

mod dct;
mod fingerprint;

use alluvium_plugin::{
    Assets, Batch, Failure, Field, Int64Builder, Kind, Output, Plan, Transform, VectorBuilder,
    field, find_field, parse_config,
};
use serde::Deserialize;

pub use fingerprint::{DIM, Fingerprint, Fingerprinter};

/// The options, a JSON object.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A picture with more pixels fails, and so does one below that which would take more than
    /// [`MEMORY_BUDGET`](picture::MEMORY_BUDGET) to decode. Default 40 million.
    pub max_pixels: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_pixels: 40_000_000,
        }
    }
}

/// The transform.
#[derive(Debug)]
pub struct FingerprintImage {
    config: Config,
    nullable: bool,
    fingerprinter: Fingerprinter,
}

alluvium_plugin::export!(FingerprintImage);

impl Transform for FingerprintImage {
    fn open(config: &str, schema: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        let config = parse_config::<Config>(config)?;
        let image = find_field(schema, "image", Kind::Binary)?;
        let nullable = image.nullable;
        let plan = Plan {
            inputs: vec![image.clone()],
            outputs: vec![
                field("hash", Kind::Int64, nullable, 0),
                field("vector", Kind::Vector, nullable, DIM as u32),
            ],
        };
        let fingerprinter = Fingerprinter::default();
        Ok((
            Self {
                config,
                nullable,
                fingerprinter,
            },
            plan,
        ))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let mut hashes = Int64Builder::new(self.nullable);
        let mut vectors = VectorBuilder::new(DIM, self.nullable);
        let mut failures = Vec::new();
        for (row, image) in (0..).zip(batch.bytes(0)?.iter()) {
            let made = image.map(|it| self.fingerprinter.fingerprint(it, self.config.max_pixels));
            let made = made.transpose().unwrap_or_else(|error| {
                failures.push(Failure::new(row, error));
                None
            });
            // The bits matter, not the number: the contract has no unsigned one.
            hashes.push(made.as_ref().map(|made| made.hash.cast_signed()));
            vectors.push(made.as_ref().map(|made| &made.vector[..]));
        }
        let columns = vec![hashes.finish(), vectors.finish()];
        Ok(Output::one_to_one(batch, columns).with_failures(failures))
    }
}
