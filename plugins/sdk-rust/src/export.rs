//! The macros that make a transform the component's one. They name nothing outside of WebAssembly,
//! where an exported `open` would take the place of the C library's.

use crate::{Level, log};

/// Sends the message of a panic to the host's log: a trap carries none.
#[doc(hidden)]
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
}

/// Writes the version of the package that exports a transform into its module, where the host looks for it.
#[doc(hidden)]
#[macro_export]
macro_rules! package_version {
    () => {
        const VERSION: &str = ::std::env!("CARGO_PKG_VERSION");

        #[used]
        #[unsafe(link_section = "version")]
        static SECTION: [u8; VERSION.len()] = $crate::bytes_of(VERSION);
    };
}

/// A text's bytes, as many as it has.
#[doc(hidden)]
pub const fn bytes_of<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// Makes a [`Transform`](crate::Transform) the component's one, of the world `batch-transform`.
#[macro_export]
macro_rules! export {
    ($transform:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            struct Component;

            $crate::package_version!();

            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<$crate::Instance<$transform>> =
                    ::std::cell::RefCell::default();
            }

            impl $crate::bindings::exports::alluvium::transform::batches::Guest for Component {
                fn open(
                    config: ::std::string::String,
                    schema: ::std::vec::Vec<$crate::Field>,
                ) -> ::std::result::Result<$crate::Plan, ::std::string::String> {
                    $crate::log_panics();
                    INSTANCE.with_borrow_mut(|it| it.open(&config, &schema, &$crate::host_asset))
                }

                fn apply(
                    rows: u32,
                    columns: ::std::vec::Vec<$crate::Column>,
                ) -> ::std::result::Result<$crate::Output, ::std::string::String> {
                    INSTANCE.with_borrow_mut(|it| it.apply(rows, columns))
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// Makes a [`RecordTransform`](crate::RecordTransform) the component's one, of the world
/// `record-transform`.
#[macro_export]
macro_rules! export_record {
    ($transform:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            struct Component;

            $crate::package_version!();

            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<$crate::Instance<$transform>> =
                    ::std::cell::RefCell::default();
            }

            impl $crate::record_bindings::exports::alluvium::transform::records::Guest
                for Component
            {
                fn open(
                    config: ::std::string::String,
                    schema: ::std::vec::Vec<$crate::Field>,
                ) -> ::std::result::Result<$crate::Plan, ::std::string::String> {
                    $crate::log_panics();
                    INSTANCE
                        .with_borrow_mut(|it| it.open_record(&config, &schema, &$crate::host_asset))
                }

                fn apply(
                    record: ::std::vec::Vec<$crate::Value>,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<::std::vec::Vec<$crate::Value>>,
                    ::std::string::String,
                > {
                    INSTANCE.with_borrow_mut(|it| it.apply_record(record))
                }
            }

            $crate::record_bindings::export_record_component!(
                Component with_types_in $crate::record_bindings
            );
        };
    };
}
