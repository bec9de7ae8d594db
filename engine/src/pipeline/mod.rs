//! The transform pipeline: what is committed to the raw log is transformed at once, and what comes of it staged.
//!
//! [`raw_rows`], [`staged`] ◀ [`log`] ◀ [`runner`]. A staged frame holds the columns that transforms made, and which raw row
//! each came from; columns that passed through stay in the raw frame beside it. Staged frames are derived data: none is
//! synced, and what a crash or damage takes is made again. A round of tiering reads both logs and puts
//! them together.

pub(crate) mod log;
pub(crate) mod raw_rows;
pub(crate) mod runner;
pub(crate) mod staged;

pub(crate) use log::StagedLog;
pub(crate) use raw_rows::RawRows;
pub(crate) use runner::Pipeline;
pub(crate) use staged::StagedRows;

#[cfg(test)]
pub(crate) mod tests;
