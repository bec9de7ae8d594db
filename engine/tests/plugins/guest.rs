//! A component that was built from source, and a transform of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock};

use alluvium::Result;
use alluvium::transform::{
    Asset, BoundTransform, Chain, Limits, Plugin, PluginHost, Transformed, resolve_plugin,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use serde_json::{Value, json};

static HOST: LazyLock<PluginHost> = LazyLock::new(|| PluginHost::new().unwrap());

/// A component, compiled when it is first asked for: that takes seconds for some.
pub(crate) struct Guest {
    name: &'static str,
    plugin: OnceLock<Plugin>,
}

impl Guest {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            plugin: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    fn plugin(&self) -> Plugin {
        let compile = || {
            let path = resolve_plugin(self.name, &[conformance_folder()])
                .unwrap_or_else(|error| panic!("{error}; `make plugins` builds it"));
            Plugin::compile(&HOST, self.name, &std::fs::read(path).unwrap()).unwrap()
        };
        self.plugin.get_or_init(compile).clone()
    }

    /// A chain of this one transform, granted the asset `greeting`.
    pub(crate) fn open(&self, config: Value, schema: &Schema) -> Result<Chain> {
        let greeting = Asset::Bytes("Grüße, 世界".as_bytes().into());
        self.open_with(("greeting", greeting), config, schema)
    }

    /// A chain of this one transform, granted an asset.
    pub(crate) fn open_with(
        &self,
        (name, asset): (&str, Asset),
        config: Value,
        schema: &Schema,
    ) -> Result<Chain> {
        let spec = json!({"name": "guest", "plugin": self.name, "config": config});
        let transform = BoundTransform {
            spec: serde_json::from_value(spec).unwrap(),
            plugin: self.plugin(),
            assets: BTreeMap::from([(name.to_owned(), asset)]),
        };
        let schema = Arc::new(schema.clone());
        Chain::new(&HOST, schema, vec![transform], Limits::default())
    }

    /// What the transform makes of a batch.
    pub(crate) fn apply(&self, config: Value, batch: &RecordBatch) -> Transformed {
        let mut chain = self.open(config, &batch.schema()).unwrap();
        chain.apply(batch).unwrap()
    }
}

/// Where the conformance transforms are built, seen from a test.
fn conformance_folder() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    target.join("plugins/conformance")
}

/// A batch of columns that may all be null.
pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}
