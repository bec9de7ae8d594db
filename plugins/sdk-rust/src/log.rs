//! Lines in the host's log.

pub use crate::bindings::alluvium::transform::host::Level;

/// Writes a line to the host's log, where it appears with the transform's name; to standard error
/// in native tests. The host keeps 64 KiB of lines a call by default.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::alluvium::transform::host::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}
