//! A store's plugins and their assets, pinned by content: `plugins/<sha256>.wasm`, `plugins/<sha256>.asset`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::catalog::{PinnedTransform, replace_file};
use crate::error::{Error, Result};
use crate::log::create_directory;
use crate::transform::{
    Asset, BoundTransform, ChainPlan, Limits, Plugin, PluginHost, TransformPool, TransformSpec,
    component_version, resolve_plugin,
};

const DIRECTORY: &str = "plugins";
/// Compiled plugins, for the next start, where the user names no other place.
const CACHE: &str = "cache";

/// The plugins of a store, and the host that they run on once one is needed.
#[derive(Debug)]
pub(crate) struct Plugins {
    store: PathBuf,
    search: Vec<PathBuf>,
    cache: PathBuf,
    host: Mutex<Option<PluginHost>>,
    pool: Mutex<Option<TransformPool>>,
}

impl Plugins {
    /// The plugins of the store in a directory; standard ones are looked for in `search` first. Compiled ones are kept
    /// in `cache`, or else in the store.
    pub(crate) fn new(store: PathBuf, search: Vec<PathBuf>, cache: Option<PathBuf>) -> Self {
        Self {
            cache: cache.unwrap_or_else(|| store.join(CACHE)),
            store,
            search,
            host: Mutex::new(None),
            pool: Mutex::new(None),
        }
    }

    /// Copies a transform's plugin and assets into the store; they are durable when this returns.
    pub(crate) fn pin(&self, spec: &TransformSpec) -> Result<PinnedTransform> {
        let plugin = resolve_plugin(&spec.plugin, &self.search)?;
        let component = fs::read(&plugin).map_err(Error::io("read", &plugin))?;
        let pin_asset = |(name, path): (&String, &PathBuf)| {
            let bytes = fs::read(path).map_err(Error::io("read", path))?;
            let sha256 = self.pin_bytes(&bytes, "asset")?;
            Ok::<_, Error>((name.clone(), sha256))
        };
        Ok(PinnedTransform {
            spec: spec.clone(),
            plugin_sha256: self.pin_bytes(&component, "wasm")?,
            plugin_version: component_version(&component),
            assets_sha256: spec.assets.iter().map(pin_asset).collect::<Result<_>>()?,
        })
    }

    /// Compiles pinned transforms and wires them to a schema; `None` when there are none.
    pub(crate) fn plan(
        &self,
        schema: &SchemaRef,
        transforms: &[PinnedTransform],
        limits: &Limits,
    ) -> Result<Option<ChainPlan>> {
        if transforms.is_empty() {
            return Ok(None);
        }
        let host = self.host()?;
        let bind = |pinned| self.bind(&host, pinned);
        let bound = transforms.iter().map(bind).collect::<Result<_>>()?;
        ChainPlan::new(&host, Arc::clone(schema), bound, limits.clone()).map(Some)
    }

    /// The workers that the transforms of all tables run on.
    pub(crate) fn pool(&self) -> Result<TransformPool> {
        let mut pool = self.pool.lock();
        if let Some(pool) = &*pool {
            return Ok(pool.clone());
        }
        Ok(pool.insert(TransformPool::new(0)?).clone())
    }

    fn host(&self) -> Result<PluginHost> {
        let mut host = self.host.lock();
        if let Some(host) = &*host {
            return Ok(host.clone());
        }
        Ok(host.insert(PluginHost::with_cache(&self.cache)?).clone())
    }

    /// Compiles a pinned transform's plugin and grants it its assets.
    fn bind(&self, host: &PluginHost, pinned: &PinnedTransform) -> Result<BoundTransform> {
        let bytes = self.read_pinned(&pinned.plugin_sha256, "wasm")?;
        let asset = |(name, sha256): (&String, &String)| {
            // Read once here to check it; the plugin reads it when it opens.
            self.read_pinned(sha256, "asset")?;
            let path = self.pinned_path(sha256, "asset");
            Ok::<_, Error>((name.clone(), Asset::File(path)))
        };
        let sha256 = pinned.plugin_sha256.clone();
        let plugin = Plugin::compile_hashed(host, &pinned.spec.plugin, &bytes, sha256)?;
        let mut bound = BoundTransform::new(pinned.spec.clone(), plugin);
        bound.assets = pinned
            .assets_sha256
            .iter()
            .map(asset)
            .collect::<Result<_>>()?;
        Ok(bound)
    }

    /// A pinned file's content, if it is still what was pinned.
    fn read_pinned(&self, sha256: &str, kind: &str) -> Result<Vec<u8>> {
        let path = self.pinned_path(sha256, kind);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        match sha256_of(&bytes) == sha256 {
            true => Ok(bytes),
            false => Err(Error::Corrupt {
                path,
                position: 0,
                reason: "it is not what was registered".into(),
            }),
        }
    }

    fn pin_bytes(&self, bytes: &[u8], kind: &str) -> Result<String> {
        let sha256 = sha256_of(bytes);
        // A copy that is damaged, or was not made durable by who made it, is replaced.
        create_directory(&self.store.join(DIRECTORY))?;
        replace_file(&self.pinned_path(&sha256, kind), bytes)?;
        Ok(sha256)
    }

    fn pinned_path(&self, sha256: &str, kind: &str) -> PathBuf {
        self.store.join(DIRECTORY).join(format!("{sha256}.{kind}"))
    }
}

fn sha256_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
