//! Writes an Alluvium transform in Rust.
//!
//! Implement [`Transform`], name it in [`export!`], and build for `wasm32-unknown-unknown`: the
//! module becomes a component of the world `batch-transform`. The logic stays plain Rust, so it is
//! tested natively, with [`testing`].
//!
//! ```
//! use alluvium_plugin::*;
//!
//! struct Shout;
//! export!(Shout);
//!
//! impl Transform for Shout {
//!     fn open(_config: &str, _schema: &[Field], _assets: &dyn Assets) -> Result<(Self, Plan), String> {
//!         let text = || vec![field("text", Kind::Utf8, true, 0)];
//!         Ok((Shout, Plan { inputs: text(), outputs: text() }))
//!     }
//!     fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
//!         let mut loud = BytesBuilder::new(true);
//!         for text in batch.text(0)?.iter() {
//!             loud.push(text.map(str::to_uppercase))?;
//!         }
//!         Ok(Output::one_to_one(batch, vec![loud.finish()]))
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! A transform of one record at a time is a [`RecordTransform`]: shorter, and slower by what a call
//! costs.

mod batch;
#[doc(hidden)]
pub mod bindings;
mod build;
mod config;
mod export;
mod instance;
mod log;
mod number;
mod output;
#[cfg(all(target_arch = "wasm32", feature = "randomness"))]
mod randomness;
#[doc(hidden)]
pub mod record_bindings;
mod schema;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod value;
mod view;

pub use batch::Batch;
pub use bindings::alluvium::transform::types::{Column, Failure, Field, Kind, Output, Plan, Value};
pub use build::{
    BooleanBuilder, BytesBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder,
    NumberBuilder, TimestampBuilder, VectorBuilder,
};
pub use config::parse_config;
#[doc(hidden)]
pub use export::{bytes_of, log_panics};
pub use instance::Instance;
pub use log::{Level, log};
pub use number::Number;
pub use schema::{field, find_field};
pub use value::{Cell, Timestamp};
pub use view::{BooleanColumn, BytesColumn, NumberColumn, TextColumn, VectorColumn};

/// A transform of batches of columns.
pub trait Transform: Sized {
    /// Called once, before any batch: reads the JSON `config`, looks at the columns in `schema`
    /// and says what it reads and what it makes of it. The error refuses the configuration.
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String>;

    /// Transforms a batch. The error fails the whole batch; records that can be told apart belong
    /// into [`Output::failures`].
    fn apply(&mut self, batch: &Batch) -> Result<Output, String>;
}

/// A transform of one record at a time.
///
/// ```
/// use alluvium_plugin::*;
///
/// struct Words;
/// export_record!(Words);
///
/// impl RecordTransform for Words {
///     fn open(_config: &str, _schema: &[Field], _assets: &dyn Assets) -> Result<(Self, Plan), String> {
///         let field = |name| vec![field(name, Kind::Utf8, false, 0)];
///         Ok((Words, Plan { inputs: field("text"), outputs: field("word") }))
///     }
///     fn apply(&mut self, record: Vec<Value>) -> Result<Vec<Vec<Value>>, String> {
///         let text = record.first().and_then(Value::as_str).unwrap_or_default();
///         Ok(text.split_whitespace().map(|word| vec![word.into()]).collect())
///     }
/// }
/// # fn main() {}
/// ```
pub trait RecordTransform: Sized {
    /// As in [`Transform::open`].
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String>;

    /// Transforms one record, the values of the plan's inputs, into none (it is filtered), one or
    /// many, each the values of the plan's outputs. The error fails the record.
    fn apply(&mut self, record: Vec<Value>) -> Result<Vec<Vec<Value>>, String>;
}

/// Where a transform's assets (a model's files, say) come from.
pub trait Assets {
    /// The bytes of the asset `name`; the error names the assets that there are.
    fn asset(&self, name: &str) -> Result<Vec<u8>, String>;
}

impl<F: Fn(&str) -> Result<Vec<u8>, String>> Assets for F {
    fn asset(&self, name: &str) -> Result<Vec<u8>, String> {
        self(name)
    }
}

/// The host's assets.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub fn host_asset(name: &str) -> Result<Vec<u8>, String> {
    bindings::alluvium::transform::host::asset(name)
}
