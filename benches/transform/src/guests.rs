//! The components that are measured, and chains of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use alluvium::transform::{BoundTransform, Chain, ChainPlan, Limits, Plugin, PluginHost};
use alluvium::transform::{TransformSpec, parse_transforms_toml};
use arrow_schema::SchemaRef;

/// A transform of a plugin with that configuration, inputs and outputs under the plugin's own names.
pub(crate) fn spec(config: &str) -> TransformSpec {
    let text = "[[transform]]\nname = \"measured\"\nplugin = \"measured\"";
    let mut specs = parse_transforms_toml(text, "/".as_ref()).expect("a transform");
    let mut spec = specs.remove(0);
    spec.config = config.parse().expect("JSON");
    spec
}

/// A component that `make plugins` built.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let path = crate::plugins().join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run make plugins", path.display()))
}

/// A transform, bound to its component.
pub(crate) fn bound(
    host: &PluginHost,
    bytes: &[u8],
    spec: TransformSpec,
    assets: &[(&str, PathBuf)],
) -> BoundTransform {
    let assets = assets
        .iter()
        .map(|(name, path)| ((*name).to_owned(), path.clone()));
    let spec = TransformSpec {
        assets: assets.collect::<BTreeMap<_, _>>(),
        ..spec
    };
    BoundTransform::new(
        spec,
        Plugin::compile(host, "measured", bytes).expect("a plugin"),
    )
}

/// A chain of one transform, for one thread.
pub(crate) fn chain(bound: BoundTransform, host: &PluginHost, schema: SchemaRef) -> Chain {
    plan(bound, host, schema).open()
}

/// A chain of one transform, for a pool.
pub(crate) fn plan(bound: BoundTransform, host: &PluginHost, schema: SchemaRef) -> ChainPlan {
    ChainPlan::new(host, schema, vec![bound], Limits::default()).expect("a chain")
}
