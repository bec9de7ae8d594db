//! Lance's errors as users may see them.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::{fmt, io};

use lance::Error as LanceError;
use object_store::Error as StoreError;

use crate::error::ErrorKind;
use crate::error::kind::of_io;

/// What S3 says, with a status that it has for wrong requests too, of a credential that was good once.
const TOO_OLD: [&str; 2] = ["ExpiredToken", "InvalidToken"];

/// What object stores say where there is no such bucket.
const NO_BUCKET: [&str; 3] = [
    "NoSuchBucket",
    "ContainerNotFound",
    "specified bucket does not exist",
];

/// What to do about what Lance and object stores say.
const ADVICE: [(&[&str], &str); 5] = [
    (
        &NO_BUCKET,
        "there is no such bucket; create it, or name another in the lake's URI",
    ),
    (
        &[
            "status code: 401",
            "status code: 403",
            "ExpiredToken",
            "invalid_grant",
        ],
        "the object store refuses the credentials; check those among the storage options, and what they permit",
    ),
    (
        &["found for scheme: 's3'"],
        "this build has no S3; build it with the feature aws",
    ),
    (
        &["found for scheme: 'az'", "found for scheme: 'abfss'"],
        "this build has no Azure Blob Storage; build it with the feature azure",
    ),
    (
        &["found for scheme: 'gs'"],
        "this build has no Google Cloud Storage; build it with the feature gcp",
    ),
];

/// An error of Lance, told in one line: first what to do, if that is known, and without the line of its source code, the
/// signature that Azure's URLs carry and what a store's answer repeats of the request. The error itself is kept, and kept
/// out of what is printed.
pub(crate) struct Told(pub(crate) lance::Error);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&clean(&self.0.to_string())))
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&format!("{:?}", self.0)))
    }
}

impl std::error::Error for Told {}

/// Whether an error says that there is no bucket.
pub(super) fn is_without_bucket(error: &lance::Error) -> bool {
    has_one_of(&format!("{error:?}"), &NO_BUCKET)
}

fn has_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

fn told(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut known = ADVICE.iter().filter(|(words, _)| has_one_of(&line, words));
    let Some((_, advice)) = known.next() else {
        return line;
    };
    // The request and the answer; what comes before names the layers that it went through.
    let said = line.rsplit_once("Error performing ");
    format!("{advice} ({})", said.map_or(&*line, |(_, said)| said))
}

/// What kind of trouble it is. Of its causes the innermost that can tell does.
pub(super) fn kind_of(error: &lance::Error) -> ErrorKind {
    let mut kind = ErrorKind::Other;
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        kind = own_kind(error).unwrap_or(kind);
        next = cause_of(error);
    }
    kind
}

fn own_kind(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    if let Some(error) = error.downcast_ref() {
        return of_io(error);
    }
    match error.downcast_ref() {
        Some(StoreError::NotFound { .. }) => return Some(ErrorKind::Missing),
        Some(StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) => {
            return Some(ErrorKind::Denied);
        }
        Some(StoreError::Generic { source, .. }) => return Some(kind_of_request(source.as_ref())),
        _ => {}
    }
    match error.downcast_ref()? {
        LanceError::NotFound { .. } | LanceError::DatasetNotFound { .. } => {
            Some(ErrorKind::Missing)
        }
        LanceError::Timeout { .. } => Some(ErrorKind::Unreachable),
        LanceError::CorruptFile { .. } => Some(ErrorKind::Damaged),
        _ => None,
    }
}

/// What a request failed with that the client of an object store has no name for; it tried for long if it could help.
fn kind_of_request(error: &(dyn StdError + 'static)) -> ErrorKind {
    let told = error.to_string();
    // The client keeps the status to itself, and gives it a name only where one object was asked for.
    let status = told.split_once("status code: ");
    let status = status.and_then(|(_, status)| status.get(..3));
    match status {
        _ if TOO_OLD.iter().any(|code| told.contains(code)) => ErrorKind::Denied,
        Some("401" | "403") => ErrorKind::Denied,
        Some("404") => ErrorKind::Missing,
        Some("400") => ErrorKind::Invalid,
        None if told.contains("credentials") => ErrorKind::Denied,
        // Of another region, it says.
        None if told.contains("without LOCATION") => ErrorKind::Invalid,
        _ => ErrorKind::Unreachable,
    }
}

/// The cause of an error; what these two wrap they do not tell as such.
fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().map(|inner| inner as _);
    }
    match error.downcast_ref() {
        Some(LanceError::External { source }) => Some(source.as_ref()),
        _ => error.source(),
    }
}

fn clean(text: &str) -> String {
    let text = match text.rsplit_once(", ") {
        Some((said, place)) if place.contains(".rs:") => said,
        _ => text,
    };
    let text = without_document(text);
    let mut parts = text.split("sig=");
    let mut cleaned = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && !"%+/=-_.".contains(c));
        cleaned.push_str("sig=(hidden)");
        cleaned.push_str(end.and_then(|end| part.get(end..)).unwrap_or_default());
    }
    cleaned
}

/// The text with only the code and the message of the XML document that a store answered. AWS's has the whole request too,
/// session token and all.
fn without_document(text: &str) -> Cow<'_, str> {
    let document = text.split_once("<?xml").or(text.split_once("<Error>"));
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(content, _)| content)
    };
    match (document, element("Code"), element("Message")) {
        (Some((said, _)), Some(code), Some(message)) => format!("{said}{code}: {message}").into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kind_of_trouble_it_is_is_told_by_the_innermost_cause() {
        let store = |source: Box<dyn StdError + Send + Sync>| {
            lance::Error::from(StoreError::Generic {
                store: "S3",
                source,
            })
        };
        let denied = StoreError::PermissionDenied {
            path: "a".to_owned(),
            source: "403".into(),
        };
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let expired = "status code: 400 Bad Request: <Code>ExpiredToken</Code>";
        let region = "status code: 400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>";
        let signature = "status code: 403 Forbidden: <Code>SignatureDoesNotMatch</Code>";
        let bucket = "status code: 404 Not Found: <Code>NoSuchBucket</Code>";
        for (error, kind) in [
            (lance::Error::not_found("a"), ErrorKind::Missing),
            (lance::Error::timeout("slow"), ErrorKind::Unreachable),
            (lance::Error::from(denied), ErrorKind::Denied),
            (store(expired.into()), ErrorKind::Denied),
            (store(region.into()), ErrorKind::Invalid),
            (store(signature.into()), ErrorKind::Denied),
            (store(bucket.into()), ErrorKind::Missing),
            (
                store("status code: 503 Slow Down".into()),
                ErrorKind::Unreachable,
            ),
            (lance::Error::from(full()), ErrorKind::Full),
            (
                lance::Error::from(io::Error::other(full())),
                ErrorKind::Full,
            ),
            (store(Box::new(full())), ErrorKind::Full),
            (lance::Error::internal("odd"), ErrorKind::Other),
        ] {
            assert_eq!(kind_of(&error), kind, "{error}");
        }
    }

    #[test]
    fn neither_source_lines_nor_signatures_are_told() {
        let url = "GET https://a.blob.example/c?sv=1&sig=ab%2Bcd%3D&comp=list failed";
        let told = Told(lance::Error::invalid_input(url.to_owned()));
        let expected =
            "Invalid user input: GET https://a.blob.example/c?sv=1&sig=(hidden)&comp=list failed";
        assert_eq!(told.to_string(), expected);
        assert!(!format!("{told:?}").contains("ab%2Bcd"));
        assert_eq!(clean("plain, and short"), "plain, and short");
    }

    fn answer(status: &str, document: &str) -> Told {
        Told(lance::Error::invalid_input(format!(
            "Error performing list request: Error performing GET http://s/b in 2ms - Server returned non-2xx status code: {status}: {document}"
        )))
    }

    #[test]
    fn a_missing_bucket_is_told_in_one_line_that_says_what_to_do() {
        for (code, status) in [
            ("NoSuchBucket", "404 Not Found"),
            ("ContainerNotFound", "404 Not Found"),
        ] {
            let document = format!(
                "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>It does\nnot exist</Message></Error>"
            );
            let expected = format!(
                "there is no such bucket; create it, or name another in the lake's URI (GET http://s/b in 2ms - Server returned non-2xx status code: {status}: {code}: It does not exist)"
            );
            assert_eq!(answer(status, &document).to_string(), expected);
        }
    }

    #[test]
    fn what_a_store_repeats_of_a_request_that_it_refuses_is_not_told() {
        let document = "<Error><Code>SignatureDoesNotMatch</Code><Message>No</Message><CanonicalRequest>x-amz-security-token:hunter2</CanonicalRequest></Error>";
        let told = answer("403 Forbidden", document);
        let text = told.to_string();
        assert!(text.starts_with("the object store refuses"), "{text}");
        assert!(text.ends_with("SignatureDoesNotMatch: No)"), "{text}");
        assert!(!format!("{told} {told:?}").contains("hunter2"));
    }

    #[test]
    fn an_object_store_that_is_not_compiled_in_is_told_by_its_feature() {
        for (scheme, feature) in [
            ("s3", "aws"),
            ("az", "azure"),
            ("abfss", "azure"),
            ("gs", "gcp"),
        ] {
            let said = format!(
                "No object store provider found for scheme: '{scheme}'\nValid schemes: file"
            );
            let told = Told(lance::Error::invalid_input(said)).to_string();
            assert!(told.contains(&format!("the feature {feature} (")), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
}
