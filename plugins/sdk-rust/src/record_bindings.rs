//! What wit-bindgen makes of the record world, whose types are those of the other.
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
    world: "record-transform",
    with: {
        "alluvium:transform/types@0.1.0": crate::bindings::alluvium::transform::types,
        "alluvium:transform/host@0.1.0": crate::bindings::alluvium::transform::host,
    },
    pub_export_macro: true,
    export_macro_name: "export_record_component",
    default_bindings_module: "alluvium_plugin::record_bindings",
});
