//! The machine that plugins run on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine};

use super::bindings::host as contract;
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
            .map_err(|e| cannot(format!("{e:#}")))?;
        start_ticking(&engine).map_err(|e| cannot(format!("cannot start a thread: {e}")))?;
        Ok(Self {
            inner: Arc::new(Inner { engine, linker }),
        })
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
