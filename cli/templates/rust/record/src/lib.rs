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

export_record!(Shout);

impl RecordTransform for Shout {
    fn open(config: &str, schema: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        let options = parse_config(config)?;
        let text = find_field(schema, "text", Kind::Utf8)?;
        let plan = Plan {
            inputs: vec![text.clone()],
            outputs: vec![field("shout", Kind::Utf8, true, 0)],
        };
        Ok((Self { options }, plan))
    }

    fn apply(&mut self, record: Vec<Value>) -> Result<Vec<Vec<Value>>, String> {
        let text = record.first().and_then(Value::as_str);
        let shout = text.map(|text| text.to_owned() + &self.options.suffix);
        Ok(vec![vec![shout.into()]])
    }
}
