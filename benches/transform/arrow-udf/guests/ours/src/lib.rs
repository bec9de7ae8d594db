//! The same two functions as a plugin.

#[path = "../../functions.rs"]
mod functions;

use alluvium_plugin::{
    Assets, Batch, BytesBuilder, Field, Kind, Output, Plan, Transform, export, field, find_field,
};

/// The function whose columns there are.
enum Function {
    Gcd,
    Domain,
}
export!(Function);

impl Transform for Function {
    fn open(_: &str, schema: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        let (function, inputs, kind) = match find_field(schema, "address", Kind::Utf8) {
            Ok(address) => (Self::Domain, vec![address.clone()], Kind::Utf8),
            Err(_) => {
                let number = |name| find_field(schema, name, Kind::Int32).cloned();
                (Self::Gcd, vec![number("a")?, number("b")?], Kind::Int32)
            }
        };
        let outputs = vec![field("made", kind, true, 0)];
        Ok((function, Plan { inputs, outputs }))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let made = match self {
            Self::Gcd => batch.int32(0)?.map_with(&batch.int32(1)?, functions::gcd),
            Self::Domain => {
                let mut made = BytesBuilder::new(true);
                for address in batch.text(0)?.iter() {
                    made.push(address.map(functions::domain))?;
                }
                made.finish()
            }
        };
        Ok(Output::one_to_one(batch, vec![made]))
    }
}
