//! What a program that links the library relies on: one program of tests, as each is linked with all of Lance.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod appender;
mod common;
mod log;
mod maintenance;
mod schema;
mod store;
