//! A compiled component.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow_schema::{Field, Schema};
use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::{self, InstancePre};

use super::bindings::{batches, records};
use super::field::Column;
use super::grants::{Grant, check_grants};
use super::host::PluginHost;
use super::instance::{Assets, HostState, Instance, Opening, Running, begin, explain, new_store};
use super::limits::{Limits, show_bytes};
use super::version::component_version;
use super::wiring::{find_inputs, given_columns};
use crate::{Error, Result};

/// The package that every import of a plugin belongs to.
const PACKAGE: &str = "alluvium:transform/";
/// The contract that this host runs, and how its versions start.
const CONTRACT: &str = "0.1.0";
const COMPATIBLE: &str = "0.1.";
/// The largest component that is compiled, in bytes: to compile takes memory and time in proportion.
const MAX_COMPONENT: usize = 64 << 20;

/// A compiled plugin, pinned by the hash of its bytes. Clones share the code.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    host: PluginHost,
    pre: InstancePre<HostState>,
    world: World,
    name: String,
    info: PluginInfo,
    is_from_cache: bool,
}

/// Where the exports of a plugin's world are.
enum World {
    Batch(batches::GuestIndices),
    Record(records::GuestIndices),
}

/// What can be told of a plugin without running it on data.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PluginInfo {
    /// SHA-256 of the component, in lower-case hex.
    pub sha256: String,
    /// The version that it says it has, in a custom section `version`.
    pub version: Option<String>,
    /// Size of the component in bytes.
    pub size_bytes: u64,
    /// `batch-transform` or `record-transform`.
    pub world: &'static str,
    /// The version of the contract it was built against: "0.1.0".
    pub contract: String,
    /// What it asks of the host, by name.
    pub imports: Vec<String>,
    /// What it offers, by name.
    pub exports: Vec<String>,
    /// What its transform must be granted for these imports.
    pub grants: BTreeSet<Grant>,
}

/// What a plugin reads and makes, given a configuration and a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginPlan {
    /// The columns that it reads, under its own names.
    pub inputs: Vec<Field>,
    /// The columns that it makes, under its own names.
    pub outputs: Vec<Field>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, info, .. } = &*self.inner;
        f.debug_struct("Plugin")
            .field("name", name)
            .field("info", info)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Compiles a component, or takes it from the host's cache. `name` is what errors and status call it.
    /// To compile takes about a second a megabyte.
    ///
    /// # Errors
    /// [`Error::Plugin`] when the bytes are not a component or more than 64 MiB, it imports what isn't granted, was
    /// built against another version of the contract, or exports neither of its worlds.
    pub fn compile(host: &PluginHost, name: &str, bytes: &[u8]) -> Result<Self> {
        let sha256 = Sha256::digest(bytes);
        let sha256 = sha256.iter().map(|b| format!("{b:02x}")).collect();
        Self::compile_hashed(host, name, bytes, sha256)
    }

    /// As [`compile`](Self::compile), for who knows the component's SHA-256.
    pub(crate) fn compile_hashed(
        host: &PluginHost,
        name: &str,
        bytes: &[u8],
        sha256: String,
    ) -> Result<Self> {
        Self::try_compile(host, name, bytes, sha256).map_err(|reason| Error::Plugin {
            plugin: name.to_owned(),
            reason,
        })
    }

    fn try_compile(
        host: &PluginHost,
        name: &str,
        bytes: &[u8],
        sha256: String,
    ) -> Result<Self, String> {
        check_header(bytes)?;
        let (component, is_from_cache) = host
            .component(bytes, &sha256)
            .map_err(|e| format!("it is damaged, or not a valid component: {e:#}"))?;
        let ty = component.component_type();
        let imports: Vec<String> = ty
            .imports(host.engine())
            .map(|(name, _)| name.to_owned())
            .collect();
        let exports: Vec<String> = ty
            .exports(host.engine())
            .map(|(name, _)| name.to_owned())
            .collect();
        check_imports(&imports)?;
        let contract = contract_version(imports.iter().chain(&exports))?;
        let pre = host
            .linker()
            .instantiate_pre(&component)
            .map_err(|e| format!("its imports do not fit: {e:#}"))?;
        let has = |interface: &str| {
            exports
                .iter()
                .any(|e| e.starts_with(&format!("{PACKAGE}{interface}@{COMPATIBLE}")))
        };
        let (world, world_name) = match (has("batches"), has("records")) {
            (true, _) => (
                batches::GuestIndices::new(&pre).map(World::Batch),
                "batch-transform",
            ),
            (false, true) => (
                records::GuestIndices::new(&pre).map(World::Record),
                "record-transform",
            ),
            (false, false) => {
                return Err(wrong_world(&exports, "it lacks the interface of either"));
            }
        };
        let world = world.map_err(|e| wrong_world(&exports, &format!("{e:#}")))?;
        let info = PluginInfo {
            sha256,
            version: component_version(bytes),
            size_bytes: bytes.len() as u64,
            world: world_name,
            contract,
            grants: imports.iter().filter_map(|i| Grant::of_import(i)).collect(),
            imports,
            exports,
        };
        let inner = Inner {
            host: host.clone(),
            pre,
            world,
            name: name.to_owned(),
            info,
            is_from_cache,
        };
        let plugin = Self {
            inner: Arc::new(inner),
        };
        if !is_from_cache {
            plugin.check_types()?;
            host.keep(&component, plugin.sha256());
        }
        Ok(plugin)
    }

    /// Instantiates the plugin, within the default limits, which checks its exports' types.
    fn check_types(&self) -> Result<(), String> {
        let opening = Opening {
            transform: self.inner.name.clone(),
            config: String::new(),
            schema: Vec::new(),
            assets: Arc::default(),
            limits: Limits::default(),
        };
        let mut store = new_store(self, &opening);
        begin(&mut store, &opening.limits, opening.limits.open_deadline);
        let instance = self.inner.pre.instantiate(&mut store).map_err(|fault| {
            let deadline = opening.limits.open_deadline;
            let flaw = explain(&fault, store.data(), &opening.limits, deadline);
            format!("cannot instantiate it: {}", flaw.reason)
        })?;
        let checked = self.world(&mut store, &instance);
        checked
            .map(drop)
            .map_err(|e| wrong_world(&self.inner.info.exports, &format!("{e:#}")))
    }

    /// What the plugin is: its hash, size, world, contract, imports and exports.
    pub fn inspect(&self) -> PluginInfo {
        self.inner.info.clone()
    }

    /// Checks that it imports nothing that its transform isn't granted.
    pub(super) fn check_grants(&self, granted: &BTreeSet<Grant>) -> Result<(), String> {
        check_grants(&self.inner.info.imports, granted)
    }

    /// The name under which it was compiled.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The version that the component says it has.
    pub fn version(&self) -> Option<&str> {
        self.inner.info.version.as_deref()
    }

    /// SHA-256 of the component, in lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.inner.info.sha256
    }

    /// Whether its compiled form was in the host's cache, so that it was not compiled.
    pub fn is_from_cache(&self) -> bool {
        self.inner.is_from_cache
    }

    /// What the plugin reads and makes of a schema's columns: it is opened with the configuration,
    /// granted what it imports, and closed again. Columns of types that can't cross to a plugin are left out.
    ///
    /// # Errors
    /// [`Error::Plugin`] when it refuses the configuration, fails, or plans what can't be.
    pub fn plan(
        &self,
        config: &serde_json::Value,
        schema: &Schema,
        assets: &Assets,
        limits: &Limits,
    ) -> Result<PluginPlan> {
        let refuse = |reason| Error::Plugin {
            plugin: self.inner.name.clone(),
            reason,
        };
        let given = given_columns(&BTreeMap::new(), schema).map_err(refuse)?;
        let opening = Opening {
            transform: self.inner.name.clone(),
            config: config.to_string(),
            schema: given.iter().map(|given| given.column.clone()).collect(),
            assets: Arc::new(assets.clone()),
            limits: limits.clone(),
        };
        let instance = Instance::open(self, &opening).map_err(refuse)?;
        find_inputs(&instance.inputs, &given, schema).map_err(refuse)?;
        Ok(PluginPlan {
            inputs: instance.inputs.iter().map(Column::to_arrow).collect(),
            outputs: instance.outputs.iter().map(Column::to_arrow).collect(),
        })
    }

    pub(super) fn host(&self) -> &PluginHost {
        &self.inner.host
    }

    /// Instantiates the plugin and checks the types of its exports.
    pub(super) fn start(&self, store: &mut Store<HostState>) -> wasmtime::Result<Running> {
        let instance = self.inner.pre.instantiate(&mut *store)?;
        self.world(store, &instance)
    }

    fn world(
        &self,
        store: &mut Store<HostState>,
        instance: &component::Instance,
    ) -> wasmtime::Result<Running> {
        Ok(match &self.inner.world {
            World::Batch(indices) => Running::Batch(indices.load(&mut *store, instance)?),
            World::Record(indices) => Running::Record(indices.load(&mut *store, instance)?),
        })
    }
}

fn check_header(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() > MAX_COMPONENT {
        return Err(format!(
            "it has {} bytes; at most {} are compiled",
            bytes.len(),
            show_bytes(MAX_COMPONENT as u64)
        ));
    }
    match (bytes.get(..4), bytes.get(4..8)) {
        (Some(b"\0asm"), Some([_, _, 1, 0])) => Ok(()),
        (Some(b"\0asm"), Some([1, 0, 0, 0])) => Err(
            "it is a core WebAssembly module, not a component; wrap it with `wasm-tools component new`".to_owned(),
        ),
        (Some(b"\0asm"), _) => Err("it is truncated".to_owned()),
        _ => Err("it is not WebAssembly".to_owned()),
    }
}

/// Refuses what can't be granted: a plugin may import the contract, and a little of WASI.
fn check_imports(imports: &[String]) -> Result<(), String> {
    let mut unknown = imports
        .iter()
        .filter(|import| !import.starts_with(PACKAGE) && Grant::of_import(import).is_none());
    match unknown.next() {
        Some(import) => Err(format!(
            "it imports {import}, which is never granted; a plugin may import {PACKAGE}host and, where its transform is granted them, wasi:clocks and wasi:random 0.2 (build it without the rest of WASI, or with a stub of it)"
        )),
        None => Ok(()),
    }
}

/// The version of the contract that a plugin's interfaces are of.
fn contract_version<'a>(names: impl Iterator<Item = &'a String>) -> Result<String, String> {
    let mut contract = CONTRACT;
    for name in names.filter(|name| name.starts_with(PACKAGE)) {
        contract = name.split_once('@').map_or("", |(_, version)| version);
        if !contract.starts_with(COMPATIBLE) {
            return Err(format!(
                "it was built against version {contract:?} of the contract; this host runs {COMPATIBLE}x"
            ));
        }
    }
    Ok(contract.to_owned())
}

fn wrong_world(exports: &[String], reason: &str) -> String {
    format!(
        "it exports neither batch-transform nor record-transform of {PACKAGE}{CONTRACT}: {reason}; its exports are: {}",
        exports.join(", ")
    )
}
