//! The plugin host: sandboxed WebAssembly components that make new columns out of a batch's rows.
//!
//! It knows nothing of logs or Lance. A [`PluginHost`] compiles a [`Plugin`]; a [`Chain`] wires
//! plugins to a table's schema and applies them to one batch after the other. Whatever a plugin
//! does, the worst that comes of it is that its own records fail.

mod bindings;
mod chain;
mod codec;
mod field;
mod host;
mod instance;
mod limits;
mod made;
mod plugin;
mod record;
mod resolve;
mod rows;
mod spec;
mod stage;
mod validate;
mod wiring;

#[cfg(test)]
mod guests;
#[cfg(test)]
mod tests;

pub use chain::{BoundTransform, Chain, RowFailure, TransformDescription, Transformed};
pub use host::PluginHost;
pub use instance::{Asset, Assets};
pub use limits::Limits;
pub use plugin::{Plugin, PluginInfo, PluginPlan};
pub use resolve::resolve_plugin;
pub use spec::{OnError, TransformSpec, parse_transforms_toml};
