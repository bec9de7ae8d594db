//! Payloads: bytes as they come, or a valid message in which some were changed.

use alluvium::fuzzing;
use arbitrary::Arbitrary;

use crate::batches;

/// What is decoded.
#[derive(Debug, Arbitrary)]
pub struct Input {
    /// Which schema the payload is read with.
    schema: u8,
    message: Message,
}

#[derive(Debug, Arbitrary)]
enum Message {
    Raw(Vec<u8>),
    Edited {
        /// Which schema it was written with.
        schema: u8,
        rows: u8,
        edits: Vec<Edit>,
    },
}

#[derive(Debug, Arbitrary)]
struct Edit {
    at: u16,
    value: Value,
}

#[derive(Debug, Arbitrary)]
enum Value {
    Byte(u8),
    Int(i32),
    Long(i64),
    /// A small number, which lengths, counts and offsets are.
    Small(i8),
}

impl Edit {
    fn apply(&self, payload: &mut [u8]) {
        let bytes = match self.value {
            Value::Byte(value) => vec![value],
            Value::Int(value) => value.to_le_bytes().to_vec(),
            Value::Long(value) => value.to_le_bytes().to_vec(),
            Value::Small(value) => i64::from(value).to_le_bytes().to_vec(),
        };
        let at = usize::from(self.at) % payload.len().max(1);
        for (to, from) in payload[at..].iter_mut().zip(bytes) {
            *to = from;
        }
    }
}

/// Decodes it; what decodes must be a batch like any other.
pub fn run(input: Input) {
    let payload = match input.message {
        Message::Raw(bytes) => bytes,
        Message::Edited {
            schema,
            rows,
            edits,
        } => {
            let batch = batches::every_kind(schema, rows.into());
            let mut payload = fuzzing::encode_payload(&batch).expect("a batch that we made");
            if edits.is_empty() {
                let read = fuzzing::decode_payload(&payload, batch.schema());
                assert_eq!(read.expect("a payload that we made"), batch);
            }
            edits.iter().for_each(|edit| edit.apply(&mut payload));
            payload
        }
    };
    let called = fuzzing::roll_call(&payload);
    assert_eq!(fuzzing::roll_call(&called), called);
    let _ = fuzzing::source_block(&payload);
    let schema = batches::schema(input.schema);
    if let Ok(batch) = fuzzing::decode_payload(&payload, schema.clone()) {
        let Ok(again) = fuzzing::encode_payload(&batch) else {
            return;
        };
        let again = fuzzing::decode_payload(&again, schema);
        assert_eq!(again.expect("a payload that we made"), batch);
    }
}
