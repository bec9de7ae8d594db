//! Build steps that need no more of the project than themselves.
//!
//! `xtask componentize CORE.wasm OUT.wasm [WORLD]` turns a core WebAssembly module into a component,
//! as `alluvium plugin componentize` does: the plugins are built without the whole command.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str =
    "usage: xtask componentize CORE.wasm OUT.wasm [batch-transform|record-transform]";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the step that the arguments name.
fn run(arguments: &[OsString]) -> Result<(), String> {
    let (core, component, world) = match arguments {
        [step, core, component, world @ ..] if step == "componentize" && world.len() < 2 => {
            (core, component, world.first())
        }
        _ => return Err(USAGE.to_owned()),
    };
    let world = match world {
        Some(name) => Some(name.to_str().ok_or(USAGE)?),
        None => None,
    };
    componentize::componentize(Path::new(core), Path::new(component), world)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_answers_with_the_usage() {
        assert_eq!(run(&["transmogrify".into()]), Err(USAGE.to_owned()));
    }
}
