//! An Alluvium transform.

use alluvium_plugin::*;
use serde::Deserialize;

/// The options, a JSON object.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// What follows each text.
    suffix: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            suffix: "!".to_owned(),
        }
    }
}

/// The transform.
#[derive(Debug)]
pub struct Shout {
    options: Options,
}

export!(Shout);

impl Transform for Shout {
    fn open(config: &str, schema: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        let options = parse_config(config)?;
        let text = find_field(schema, "text", Kind::Utf8)?;
        let plan = Plan {
            inputs: vec![text.clone()],
            outputs: vec![field("shout", Kind::Utf8, true, 0)],
        };
        Ok((Self { options }, plan))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let mut shouts = BytesBuilder::new(true);
        for text in batch.text(0)?.iter() {
            shouts.push(text.map(|text| text.to_owned() + &self.options.suffix))?;
        }
        Ok(Output::one_to_one(batch, vec![shouts.finish()]))
    }
}
