//! `alluvium plugin check`.

use std::path::{Path, PathBuf};

use alluvium::transform::{Asset, Assets, Limits, Plugin, PluginInfo, PluginPlan, resolve_plugin};
use arrow::datatypes::Field;
use serde_json::{Value, json};

use super::super::plugin_host;
use super::parse_config;
use crate::args::parse_pair;
use crate::columns::{describe, parse_column, schema};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, bytes, plain};

/// Show what a component is, what it asks of the host, and what it reads and makes
///
/// The component is compiled as it would be for a table, so that one that passes can be registered.
/// What it reads and makes depends on its configuration and on the table's columns: give them with
/// --config and --column, and with --asset the files that it loads.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// The component's file, or the name of a standard plugin
    plugin: String,
    /// The configuration, a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_config)]
    config: Option<Value>,
    /// A column that there is to read, under the plugin's own name for it
    #[arg(long = "column", value_name = "NAME:TYPE", value_parser = parse_column)]
    columns: Vec<Field>,
    /// A file that the plugin may load, as tokenizer.json=model/tokenizer.json
    #[arg(long = "asset", value_name = "NAME=FILE", value_parser = parse_pair)]
    assets: Vec<(String, String)>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  alluvium plugin check resize-image.wasm --column image:binary \\
    --config '{\"width\": 128, \"height\": 128, \"format\": \"jpeg\"}'";

impl Args {
    /// Compiles the component and prints what is found.
    pub(crate) fn run(self) -> Outcome {
        let path = resolve_plugin(&self.plugin, &[])?;
        let binary = std::fs::read(&path)
            .map_err(|error| Failure::of(format_args!("cannot read {}", path.display()), &error))?;
        let host = plugin_host()?;
        let plugin = Plugin::compile(&host, &self.plugin, &binary)?;
        let info = plugin.inspect();
        let plan = self.plan(&plugin)?;

        let mut output = Output::new();
        if self.json {
            output.json(&as_json(&path, &info, plan.as_ref())?)?;
        } else {
            print(&path, &info, plan.as_ref(), &mut output)?;
        }
        output.flush()
    }

    /// Opens the plugin where enough was given to do so.
    fn plan(&self, plugin: &Plugin) -> Outcome<Option<PluginPlan>> {
        if self.columns.is_empty() && self.config.is_none() && self.assets.is_empty() {
            return Ok(None);
        }
        let config = self.config.clone().unwrap_or_else(|| json!({}));
        let schema = schema(&self.columns).map_err(Failure::new)?;
        let assets: Assets = self
            .assets
            .iter()
            .map(|(name, file)| (name.clone(), Asset::File(PathBuf::from(file))))
            .collect();
        Ok(Some(plugin.plan(
            &config,
            &schema,
            &assets,
            &Limits::default(),
        )?))
    }
}

/// All that is known, as JSON; without a plan its inputs and outputs are null.
fn as_json(path: &Path, info: &PluginInfo, plan: Option<&PluginPlan>) -> Outcome<Value> {
    let mut value =
        serde_json::to_value(info).map_err(|error| Failure::of("cannot write JSON", &error))?;
    let list = |fields: &[Field]| Value::from(fields.iter().map(describe).collect::<Vec<_>>());
    if let Value::Object(members) = &mut value {
        members.insert("file".to_owned(), json!(path.display().to_string()));
        members.insert(
            "inputs".to_owned(),
            plan.map_or(Value::Null, |plan| list(&plan.inputs)),
        );
        members.insert(
            "outputs".to_owned(),
            plan.map_or(Value::Null, |plan| list(&plan.outputs)),
        );
    }
    Ok(value)
}

/// What a transform must grant the plugin, as a transforms file names it.
fn grants(info: &PluginInfo) -> Vec<String> {
    let names = info.grants.iter().map(|grant| grant.name().to_owned());
    names.collect()
}

/// All that is known, a line each.
fn print(
    path: &Path,
    info: &PluginInfo,
    plan: Option<&PluginPlan>,
    output: &mut Output,
) -> Outcome {
    let list = |texts: &[String]| match texts {
        [] => "nothing".to_owned(),
        texts => plain(&texts.join(", ")),
    };
    let columns = |fields: &[Field]| list(&fields.iter().map(describe).collect::<Vec<_>>());
    for (name, text) in [
        ("file", path.display().to_string()),
        (
            "version",
            plain(info.version.as_deref().unwrap_or("unknown")),
        ),
        ("size", bytes(info.size_bytes)),
        ("sha256", info.sha256.clone()),
        (
            "world",
            format!("{} of contract {}", info.world, plain(&info.contract)),
        ),
        ("imports", list(&info.imports)),
        ("exports", list(&info.exports)),
        ("grants", list(&grants(info))),
    ] {
        output.line(format_args!("{name:<8} {text}"))?;
    }
    match plan {
        Some(plan) => {
            output.line(format_args!("inputs   {}", columns(&plan.inputs)))?;
            output.line(format_args!("outputs  {}", columns(&plan.outputs)))
        }
        None => output.line(
            "what it reads and makes depends on its configuration and the table: give --column NAME:TYPE, \
             --config JSON and --asset NAME=FILE to see it",
        ),
    }
}
