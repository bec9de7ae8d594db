//! The conformance transform of records.

// Exported, and so used, in WebAssembly only.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

#[path = "../../mode.rs"]
mod mode;

use alluvium_plugin::{Assets, Field, Plan, RecordTransform, Value, export_record};
use mode::Opened;

struct Conformance(Opened);
export_record!(Conformance);

impl RecordTransform for Conformance {
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String> {
        mode::open(config, schema, assets).map(|(opened, plan)| (Self(opened), plan))
    }

    fn apply(&mut self, record: Vec<Value>) -> Result<Vec<Vec<Value>>, String> {
        let n = record.get(self.0.n).and_then(Value::as_i32);
        if self.0.fails(n) {
            return Err(format!("n is {}", n.unwrap_or_default()));
        }
        let copies = self.0.copies(n)?;
        let made = match &self.0.greeting {
            Some(greeting) => vec![greeting.as_str().into()],
            None => record,
        };
        Ok(vec![made; copies])
    }
}
