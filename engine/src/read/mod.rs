//! Reading the lake, SQL and nearest neighbours, and the log.

pub(crate) mod frames;
pub(crate) mod nearest;
pub(crate) mod query;
