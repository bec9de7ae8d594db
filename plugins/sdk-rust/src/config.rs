//! A transform's configuration.

use serde::de::DeserializeOwned;

/// Reads the JSON configuration that a transform was registered with. Refuse keys that are not
/// known with `#[serde(deny_unknown_fields)]`: a misspelt option must not go unnoticed.
pub fn parse_config<T: DeserializeOwned>(config: &str) -> Result<T, String> {
    let config = if config.trim().is_empty() {
        "{}"
    } else {
        config
    };
    serde_json::from_str(config).map_err(|error| format!("the configuration is refused: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        size: u32,
    }

    #[test]
    fn a_misspelt_key_is_named_with_those_that_there_are() {
        let message = parse_config::<Config>(r#"{"sice": 3}"#).unwrap_err();
        assert!(
            message.contains("`sice`") && message.contains("`size`"),
            "{message}"
        );
    }

    #[test]
    fn no_configuration_at_all_is_an_empty_one() {
        assert_eq!(parse_config::<Config>("").unwrap(), Config { size: 0 });
        assert_eq!(
            parse_config::<Config>(r#"{"size": 3}"#).unwrap(),
            Config { size: 3 }
        );
    }
}
