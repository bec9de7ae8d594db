//! What the conformance transform (`../README.md`) was told to do; shared by both worlds.

use alluvium_plugin::{Assets, Field, Kind, Level, Plan, field, find_field, log, parse_config};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mode: Mode,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Identity,
    Filter,
    Repeat,
    Fail,
    Error,
    Trap,
    Asset,
    MissingAsset,
    Log,
}

/// What `open` found out.
pub(crate) struct Opened {
    pub(crate) mode: Mode,
    /// Which input is `n`.
    pub(crate) n: usize,
    /// The asset, in the mode of that name.
    pub(crate) greeting: Option<String>,
}

pub(crate) fn open(
    config: &str,
    schema: &[Field],
    assets: &dyn Assets,
) -> Result<(Opened, Plan), String> {
    let Config { mode } = parse_config(config)?;
    let number = find_field(schema, "n", Kind::Int32)?;
    let plan = |inputs: &[Field], outputs: &[Field]| Plan {
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
    };
    match mode {
        Mode::MissingAsset => drop(assets.asset("parting")?),
        Mode::Log => log(Level::Warn, "opened: é 深い 🦀"),
        _ => {}
    }
    if mode == Mode::Asset {
        let greeting = String::from_utf8(assets.asset("greeting")?).map_err(|e| e.to_string())?;
        let opened = Opened {
            mode,
            n: 0,
            greeting: Some(greeting),
        };
        let made = [field("greeting", Kind::Utf8, false, 0)];
        return Ok((opened, plan(std::slice::from_ref(number), &made)));
    }
    let n = schema
        .iter()
        .position(|field| field.name == "n")
        .unwrap_or_default();
    Ok((
        Opened {
            mode,
            n,
            greeting: None,
        },
        plan(schema, schema),
    ))
}

impl Opened {
    /// Whether a row fails by itself.
    pub(crate) fn fails(&self, n: Option<i32>) -> bool {
        self.mode == Mode::Fail && n.is_some_and(|n| n % 2 != 0)
    }

    /// How often a row goes out. The error costs the whole call.
    pub(crate) fn copies(&self, n: Option<i32>) -> Result<usize, String> {
        let number = n.unwrap_or_default();
        match self.mode {
            Mode::Error if number == 13 => Err("13 is unlucky".to_owned()),
            #[allow(clippy::panic)]
            Mode::Trap if number == 13 => panic!("13 is unlucky"),
            Mode::Filter => Ok(usize::from(n.is_some_and(|n| n % 2 == 0))),
            Mode::Repeat => Ok(usize::try_from(number).unwrap_or_default()),
            _ => Ok(1),
        }
    }
}
