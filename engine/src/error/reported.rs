//! An error as other processes are told it: its kind and its text. For serde's `with`.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, ErrorKind};

#[derive(Serialize)]
struct Told {
    kind: ErrorKind,
    message: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Read {
    Told {
        kind: ErrorKind,
        message: String,
    },
    /// As it was kept before errors had kinds.
    Text(String),
}

pub(crate) fn serialize<S: Serializer>(
    error: &Option<Arc<Error>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let told = error.as_ref().map(|error| Told {
        kind: error.kind(),
        message: error.to_string(),
    });
    told.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Arc<Error>>, D::Error> {
    let read = Option::<Read>::deserialize(deserializer)?;
    Ok(read.map(|read| {
        let (kind, message) = match read {
            Read::Told { kind, message } => (kind, message),
            Read::Text(message) => (ErrorKind::Other, message),
        };
        Arc::new(Error::Reported { kind, message })
    }))
}
