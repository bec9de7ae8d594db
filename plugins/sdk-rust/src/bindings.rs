//! What wit-bindgen makes of the contract.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::indexing_slicing
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "batch-transform",
    additional_derives: [PartialEq],
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "alluvium_plugin::bindings",
});
