//! The components that `make plugins` builds, run by the host: every language keeps the same
//! contract, and the examples do on real data what they promise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod conformance;
mod examples;
mod guest;
