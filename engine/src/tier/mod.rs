//! Tiering: the rows of a table's log, transformed, settled into Lance fragments, once.
//!
//! [`lake`] ◀ [`context`], [`round`] ◀ [`lanes`] ◀ [`tierer`], [`maintainer`] ◀ [`scheduler`]. Each commit to the lake carries the range of offsets that
//! it settles, so the lake itself says where to go on (I1); a log segment is released only when the lake's
//! files are durable (I2).

pub(crate) mod budget;
pub(crate) mod context;
pub(crate) mod dead_letters;
mod heap;
pub(crate) mod history;
pub(crate) mod lake;
mod lanes;
pub(crate) mod maintainer;
pub(crate) mod metrics;
pub(crate) mod round;
pub(crate) mod scheduler;
#[cfg(test)]
mod tests_disk;
#[cfg(test)]
mod tests_hanging;
#[cfg(test)]
mod tests_power;
pub(crate) mod tierer;
pub(crate) mod writers;
pub(crate) mod writing;
