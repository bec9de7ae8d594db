//! The contract's types and calls, generated from `wit/`.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

// One world of both, so that they share their types: a plugin exports one of the two interfaces.
wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package alluvium:host;
        world plugin {
            import alluvium:transform/host@0.1.0;
            export alluvium:transform/batches@0.1.0;
            export alluvium:transform/records@0.1.0;
        }
    ",
    world: "alluvium:host/plugin",
    // Columns are lent to the guest and copied once, into its memory.
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub use self::alluvium::transform::{host, types};
pub use self::exports::alluvium::transform::{batches, records};
