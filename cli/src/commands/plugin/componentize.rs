//! `alluvium plugin componentize`.

use std::path::PathBuf;

use super::World;
use crate::failure::{Failure, Outcome};

/// Turn a core WebAssembly module, as compilers make it, into a component
///
/// A module that was built with the SDK for Rust, or with any bindings of wit-bindgen, knows its
/// world. For others, as those of the SDKs for C and Go, it is given. WASI calls are answered within
/// the component: there are no files and no environment, and output goes nowhere. A module that
/// imports more than the contract and WASI preview 1 is refused. What is a component already, as those
/// in Python and JavaScript, stays as it is: it is given the version, and checked.
#[derive(Debug, clap::Args)]
// `--version` is the component's here, not the command's.
#[command(after_long_help = EXAMPLE, disable_version_flag = true)]
pub(crate) struct Args {
    /// The core module's file, or a component's
    core: PathBuf,
    /// The component's file, written over one that is there
    component: PathBuf,
    /// The world, where the module does not know it
    #[arg(long, value_enum)]
    world: Option<World>,
    /// The version that the component says it has; one built with the SDK for Rust has its package's
    #[arg(long)]
    version: Option<String>,
}

const EXAMPLE: &str = "\
Example:
  alluvium plugin componentize target/wasm32-unknown-unknown/release/my_plugin.wasm my-plugin.wasm";

impl Args {
    /// Writes the component.
    pub(crate) fn run(self) -> Outcome {
        let world = self.world.map(World::name);
        componentize::componentize(&self.core, &self.component, world, self.version.as_deref())
            .map_err(|error| Failure::new(error.to_string()))
    }
}
