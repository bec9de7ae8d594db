//! The version that a component says it has.

use wasmparser::{Encoding, Parser, Payload};

/// The longest version that is believed, in bytes.
const MAX_VERSION: usize = 64;

/// What the custom section `version` says, as the tools for components write it: the component's
/// own, or else the first of a core module in it, where a linker puts it. Text that is not printable
/// is none.
pub(crate) fn component_version(component: &[u8]) -> Option<String> {
    let mut in_module = None;
    let mut open = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        // What comes after damage is not looked at; to compile it tells of the damage.
        match payload.ok()? {
            Payload::Version { encoding, .. } => open.push(encoding),
            Payload::End(_) => drop(open.pop()),
            Payload::CustomSection(section) if section.name() == "version" => {
                let version = printable(section.data());
                match open.as_slice() {
                    [Encoding::Component] => return version,
                    _ => in_module = in_module.or(version),
                }
            }
            _ => {}
        }
    }
    in_module
}

fn printable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let is_version =
        (1..=MAX_VERSION).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    is_version.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<String> {
        component_version(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn the_components_own_version_is_taken_before_that_of_a_module_in_it() {
        let module = r#"(core module (@custom "version" "1.2.3"))"#;
        let own = r#"(@custom "version" "4.5.6")"#;
        assert_eq!(
            version(&format!("(component {module})")).as_deref(),
            Some("1.2.3")
        );
        assert_eq!(
            version(&format!("(component {module} {own})")).as_deref(),
            Some("4.5.6")
        );
        assert_eq!(version("(component (core module))"), None);
    }

    #[test]
    fn what_is_no_version_is_not_shown() {
        let long = "9".repeat(65);
        for text in ["", "1.0\\1b[31m", "\\ff", "1 2", &long] {
            let component = format!("(component (@custom \"version\" \"{text}\"))");
            assert_eq!(version(&component), None, "{text}");
        }
        assert_eq!(component_version(b"\0asm\x0d\0\x01\0\0\xff"), None);
    }
}
