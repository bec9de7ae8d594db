//! Build steps that need no more of the project than themselves.
//!
//! `xtask componentize CORE.wasm OUT.wasm [WORLD [VERSION]]` turns a core WebAssembly module into a component,
//! as `alluvium plugin componentize` does: the plugins are built without the whole command. The world is `-` for what
//! knows its own.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str =
    "usage: xtask componentize CORE.wasm OUT.wasm [batch-transform|record-transform|- [VERSION]]";

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
    let (core, component, rest) = match arguments {
        [step, core, component, rest @ ..] if step == "componentize" && rest.len() < 3 => {
            (core, component, rest)
        }
        _ => return Err(USAGE.to_owned()),
    };
    let texts = rest.iter().map(|text| text.to_str().ok_or(USAGE));
    let texts: Vec<&str> = texts.collect::<Result<_, _>>()?;
    let world = texts.first().copied().filter(|world| *world != "-");
    let version = texts.get(1).copied();
    componentize::componentize(Path::new(core), Path::new(component), world, version)
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
