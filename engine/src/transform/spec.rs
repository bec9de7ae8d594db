//! A transform as a user writes it down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::grants::Grant;
use super::resolve::is_path;
use crate::{Error, Result};

/// What becomes of a record that a transform fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The record leaves the table for its dead letters. The default.
    #[default]
    DeadLetter,
    /// The record stays, null in the transform's outputs.
    Null,
    /// Tiering halts until the transform is mended; nothing is lost.
    Fail,
}

/// One transform of a table: a plugin, its configuration, and how its columns are wired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformSpec {
    /// The transform's name, unique in its table.
    pub name: String,
    /// A standard plugin's name, or the path of a component.
    pub plugin: String,
    /// The plugin's input column → the table's column. Empty (the default): the plugin is offered
    /// every column of a type that it can be given, under its own name.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// The plugin's output column → the table's column. Empty (the default): all outputs, under
    /// their own names. Otherwise only those listed are kept.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
    /// The plugin's configuration; `{}` by default.
    #[serde(default = "empty_object")]
    pub config: serde_json::Value,
    /// Files that the plugin may read, by the name it asks for. None by default.
    #[serde(default)]
    pub assets: BTreeMap<String, PathBuf>,
    /// What the plugin may use of the system besides. Nothing by default.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grants: BTreeSet<Grant>,
    /// What becomes of a record that the plugin fails on.
    #[serde(default)]
    pub on_error: OnError,
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransformsFile {
    #[serde(default)]
    transform: Vec<TransformSpec>,
}

/// Reads a file of `[[transform]]` tables. Relative paths of plugins and assets are resolved
/// against `base_dir`.
///
/// # Errors
/// [`Error::Invalid`] with the line, when the text is not TOML of that shape or two transforms share a name.
pub fn parse_transforms_toml(text: &str, base_dir: &Path) -> Result<Vec<TransformSpec>> {
    let file: TransformsFile = toml::from_str(text)
        .map_err(|e| Error::invalid("transforms file", e.to_string().trim()))?;
    let mut names = BTreeSet::new();
    let mut specs = file.transform;
    for spec in &mut specs {
        if spec.name.is_empty() {
            return Err(Error::invalid(
                "transforms file",
                "a transform's name is empty",
            ));
        }
        if !names.insert(spec.name.clone()) {
            return Err(Error::invalid(
                "transforms file",
                format!("two transforms are named {:?}; rename one", spec.name),
            ));
        }
        if is_path(&spec.plugin) {
            spec.plugin = base_dir.join(&spec.plugin).to_string_lossy().into_owned();
        }
        for asset in spec.assets.values_mut() {
            *asset = base_dir.join(&*asset);
        }
    }
    Ok(specs)
}
