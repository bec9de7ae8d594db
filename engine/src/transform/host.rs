//! The machine that plugins run on.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine};

use super::bindings::host as contract;
use super::cache::Cache;
use super::grants;
use super::instance::HostState;
use crate::{Error, Result};

/// How often the epoch advances, and so how exactly a deadline is kept.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Compiles plugins and keeps their time. One per process is enough; clones share it.
#[derive(Clone)]
pub struct PluginHost {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<HostState>,
    cache: Option<Cache>,
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginHost").finish_non_exhaustive()
    }
}

impl PluginHost {
    /// Starts the engine, and a thread that ticks every 10 ms until the last clone, and the last
    /// plugin compiled here, is dropped.
    ///
    /// # Errors
    /// [`Error::Plugin`] when the machine can't run WebAssembly or start a thread.
    pub fn new() -> Result<Self> {
        Self::start(None)
    }

    /// As [`new`](Self::new), and keeps what it compiles in a directory (at most 1 GiB, the oldest
    /// goes first) so that the next start need not compile it again.
    ///
    /// The directory is created where it is missing. It and its files must be this user's alone
    /// (0700): one that others can read or write, or a symbolic link, is not used. A file that
    /// does not carry the right MAC is not used either. What can't be used is a warning in the log, and
    /// the plugin is compiled.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_cache(directory: &Path) -> Result<Self> {
        Self::start(Some(directory))
    }

    fn start(cache: Option<&Path>) -> Result<Self> {
        let cannot = |reason: String| Error::Plugin {
            plugin: "host".to_owned(),
            reason,
        };
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .concurrency_support(false)
            .epoch_interruption(true)
            .wasm_simd(true);
        let engine = Engine::new(&config).map_err(|e| cannot(format!("{e:#}")))?;
        let mut linker = Linker::new(&engine);
        contract::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)
            .and_then(|()| grants::add_to_linker(&mut linker))
            .map_err(|e| cannot(format!("{e:#}")))?;
        start_ticking(&engine).map_err(|e| cannot(format!("cannot start a thread: {e}")))?;
        let cache = cache.and_then(|directory| {
            Cache::open(directory, &engine)
                .map_err(|reason| {
                    tracing::warn!(path = %directory.display(), reason, "compiled plugins are not kept there");
                })
                .ok()
        });
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                linker,
                cache,
            }),
        })
    }

    /// A component's compiled form, and whether it was in the cache.
    pub(super) fn component(
        &self,
        bytes: &[u8],
        sha256: &str,
    ) -> wasmtime::Result<(Component, bool)> {
        let Inner { engine, cache, .. } = &*self.inner;
        if let Some(component) = cache.as_ref().and_then(|cache| cache.get(engine, sha256)) {
            return Ok((component, true));
        }
        Ok((Component::from_binary(engine, bytes)?, false))
    }

    /// Keeps a component's compiled form in the cache, if there is one.
    pub(super) fn keep(&self, component: &Component, sha256: &str) {
        if let Some(cache) = &self.inner.cache {
            cache.put(sha256, component);
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(super) fn linker(&self) -> &Linker<HostState> {
        &self.inner.linker
    }
}

fn start_ticking(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new()
        .name("alluvium-epoch".to_owned())
        .spawn(tick)
        .map(drop)
}
