//! Writes an Alluvium transform in Rust.
//!
//! Implement [`Transform`], name it in [`export!`], and build for `wasm32-unknown-unknown`: the
//! module becomes a component of the world `batch-transform`. The logic stays plain Rust, so it is
//! tested natively, with [`Batch`] as its input and any function as its [`Assets`].
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
//!             loud.push(text.map(str::to_uppercase).as_deref().map(str::as_bytes))?;
//!         }
//!         Ok(Output { rows: batch.rows() as u32, origin: None, columns: vec![loud.finish()], failures: vec![] })
//!     }
//! }
//! # fn main() {}
//! ```

mod batch;
mod build;
mod config;
mod instance;
mod schema;

pub use batch::{Batch, BytesColumn, TextColumn};
pub use bindings::alluvium::transform::types::{Column, Failure, Field, Kind, Output, Plan};
pub use build::{BytesBuilder, Int32Builder, VectorBuilder};
pub use config::parse_config;
pub use instance::Instance;
pub use schema::{field, find_field};

/// What wit-bindgen makes of the contract.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::indexing_slicing
)]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "batch-transform",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "alluvium_plugin::bindings",
    });
}

/// A transform of batches of columns.
pub trait Transform: Sized {
    /// Called once, before any batch: reads the JSON `config`, looks at the columns in `schema`
    /// and says what it reads and what it makes of it. The error refuses the configuration.
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String>;

    /// Transforms a batch. The error fails the whole batch; records that can be told apart belong
    /// into [`Output::failures`].
    fn apply(&mut self, batch: &Batch) -> Result<Output, String>;
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

/// Makes a [`Transform`] the component's one. Names nothing outside of WebAssembly, where an
/// exported `open` would take the place of the C library's.
#[macro_export]
macro_rules! export {
    ($transform:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::bindings::alluvium::transform::host;

            struct Component;

            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<$crate::Instance<$transform>> =
                    ::std::cell::RefCell::default();
            }

            impl $crate::bindings::exports::alluvium::transform::batches::Guest for Component {
                fn open(
                    config: ::std::string::String,
                    schema: ::std::vec::Vec<$crate::Field>,
                ) -> ::std::result::Result<$crate::Plan, ::std::string::String> {
                    // A trap carries no message: the log is where one can be left.
                    ::std::panic::set_hook(::std::boxed::Box::new(|panic| {
                        host::log(
                            host::Level::Error,
                            &::std::string::ToString::to_string(panic),
                        );
                    }));
                    INSTANCE.with_borrow_mut(|instance| {
                        instance.open(&config, &schema, &|name: &str| host::asset(name))
                    })
                }

                fn apply(
                    rows: u32,
                    columns: ::std::vec::Vec<$crate::Column>,
                ) -> ::std::result::Result<$crate::Output, ::std::string::String> {
                    INSTANCE.with_borrow_mut(|instance| instance.apply(rows, columns))
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}
