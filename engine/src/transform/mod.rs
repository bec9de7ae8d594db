//! The plugin host: sandboxed WebAssembly components that make new columns out of a batch's rows.
//!
//! It knows nothing of logs or Lance. A [`PluginHost`] compiles a [`Plugin`]; a [`Chain`] wires
//! plugins to a table's schema and applies them to one batch after the other. Whatever a plugin
//! does, the worst that comes of it is that its own records fail.

mod bindings;
mod cache;
mod chain;
mod codec;
mod field;
mod grants;
mod host;
mod instance;
mod limits;
mod made;
mod made_rows;
mod plugin;
mod pool;
mod record;
mod resolve;
mod rows;
mod sealed;
mod spec;
mod stage;
mod validate;
mod version;
mod view;
mod wiring;

#[cfg(test)]
mod cache_shared;
#[cfg(test)]
pub(crate) mod guests;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod roundtrip;
#[cfg(test)]
mod tests;

pub use chain::{BoundTransform, Chain, ChainPlan, TransformDescription};
pub use grants::Grant;
pub use host::PluginHost;
pub use instance::{Asset, Assets};
pub use limits::Limits;
pub use made_rows::{MadeRows, RowFailure, Transformed, assemble};
pub use plugin::{Plugin, PluginInfo, PluginPlan};
pub use pool::{Pending, TransformPool};
pub use resolve::resolve_plugin;
pub use spec::{OnError, TransformSpec, parse_transforms_toml};
#[cfg(feature = "lake")]
pub(crate) use version::component_version;
