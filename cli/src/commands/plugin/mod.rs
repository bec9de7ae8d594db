//! `alluvium plugin`: a transform's component, without a store.

mod check;
mod componentize;
mod new;
mod run;
mod template;

use clap::Subcommand;
use serde_json::Value;

use crate::failure::Outcome;

/// Begin a transform, build it, look into it, or try it
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a project that builds a transform and tests it
    New(new::Args),
    /// Turn a core WebAssembly module, as compilers make it, into a component
    Componentize(componentize::Args),
    /// Show what a component is, what it asks of the host, and what it reads and makes
    Check(check::Args),
    /// Apply a component to a file's rows, and show what it makes of them
    Run(run::Args),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::New(args) => args.run(),
            Self::Componentize(args) => args.run(),
            Self::Check(args) => args.run(),
            Self::Run(args) => args.run(),
        }
    }
}

/// The worlds of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum World {
    /// A batch of columns at a time: the fast one
    #[value(alias = "batch-transform")]
    Batch,
    /// A record at a time: the short one
    #[value(alias = "record-transform")]
    Record,
}

impl World {
    /// The world's name in the contract.
    fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch-transform",
            Self::Record => "record-transform",
        }
    }
}

/// Reads a JSON object.
fn parse_config(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("write a JSON object, as {\"width\": 128}".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_a_json_object() {
        assert!(parse_config("{\"a\": 1}").is_ok());
        assert!(parse_config("[1]").unwrap_err().contains("JSON object"));
        assert!(parse_config("{").is_err());
    }
}
