//! Lance's errors as users may see them.

use std::fmt;

/// An error of Lance, told without the line of its source code and without the signature that Azure's URLs carry.
/// The error itself is kept, and kept out of what is printed.
pub(crate) struct Told(pub(crate) lance::Error);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.0.to_string()))
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&format!("{:?}", self.0)))
    }
}

impl std::error::Error for Told {}

fn clean(text: &str) -> String {
    let text = match text.rsplit_once(", ") {
        Some((said, place)) if place.contains(".rs:") => said,
        _ => text,
    };
    let mut parts = text.split("sig=");
    let mut cleaned = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && !"%+/=-_.".contains(c));
        cleaned.push_str("sig=(hidden)");
        cleaned.push_str(end.and_then(|end| part.get(end..)).unwrap_or_default());
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
