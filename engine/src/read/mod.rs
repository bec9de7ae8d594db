//! Reading the lake: SQL and nearest neighbours.

pub(crate) mod nearest;
pub(crate) mod query;
