//! A store's plugins and their assets, pinned by content: `plugins/<sha256>.wasm`, `plugins/<sha256>.asset`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::catalog::{PinnedTransform, replace_file};
use crate::error::{Error, Result};
use crate::transform::{Asset, BoundTransform, Plugin, PluginHost, TransformSpec, resolve_plugin};

const DIRECTORY: &str = "plugins";

/// Copies a transform's plugin and assets into the store; they are durable when this returns.
pub(crate) fn pin(
    store: &Path,
    spec: TransformSpec,
    plugin_dirs: &[PathBuf],
) -> Result<PinnedTransform> {
    let plugin = resolve_plugin(&spec.plugin, plugin_dirs)?;
    let plugin_sha256 = pin_file(store, &plugin, "wasm")?;
    let pin_asset = |(name, path): (&String, &PathBuf)| {
        pin_file(store, path, "asset").map(|sha256| (name.clone(), sha256))
    };
    let assets_sha256 = spec.assets.iter().map(pin_asset).collect::<Result<_>>()?;
    Ok(PinnedTransform {
        spec,
        plugin_sha256,
        assets_sha256,
    })
}

/// Compiles a pinned transform's plugin and grants it its assets.
pub(crate) fn bind(
    store: &Path,
    host: &PluginHost,
    pinned: &PinnedTransform,
) -> Result<BoundTransform> {
    let path = pinned_path(store, &pinned.plugin_sha256, "wasm");
    let bytes = fs::read(&path).map_err(Error::io("read the plugin", &path))?;
    if sha256_of(&bytes) != pinned.plugin_sha256 {
        return Err(Error::Corrupt {
            path,
            position: 0,
            reason: "the plugin is not the one that was registered".into(),
        });
    }
    let asset = |(name, sha256): (&String, &String)| {
        let path = pinned_path(store, sha256, "asset");
        (name.clone(), Asset::File(path))
    };
    let assets: BTreeMap<_, _> = pinned.assets_sha256.iter().map(asset).collect();
    let mut bound = BoundTransform::new(
        pinned.spec.clone(),
        Plugin::compile(host, &pinned.spec.plugin, &bytes)?,
    );
    bound.assets = assets;
    Ok(bound)
}

fn pin_file(store: &Path, source: &Path, kind: &str) -> Result<String> {
    let bytes = fs::read(source).map_err(Error::io("read", source))?;
    let sha256 = sha256_of(&bytes);
    let path = pinned_path(store, &sha256, kind);
    if !path.exists() {
        let directory = store.join(DIRECTORY);
        fs::create_dir_all(&directory).map_err(Error::io("create the directory", &directory))?;
        replace_file(&path, &bytes)?;
    }
    Ok(sha256)
}

fn pinned_path(store: &Path, sha256: &str, kind: &str) -> PathBuf {
    store.join(DIRECTORY).join(format!("{sha256}.{kind}"))
}

fn sha256_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
