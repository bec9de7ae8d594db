//! What benchmarks measure, and the batches that they measure it with.

#[cfg(not(feature = "lake"))]
mod bare;
mod lane;
mod limits;
mod log;
#[cfg(feature = "peers")]
mod peers;
mod recycled;
mod samples;
#[cfg(feature = "lake")]
mod sealed;
#[cfg(feature = "lake")]
mod table;

pub use self::lane::{Cell, Contestant, Lane, Opening, Promise, measure, prepare_disk};
pub use self::log::{Sums, written};
pub use self::recycled::{Recycled, RecycledFiles, RecycledSegments, measure_recycled};
pub use self::samples::{Kind, Sample, Samples, images, readings};
#[cfg(feature = "lake")]
pub use self::sealed::SealedStore;

/// Everything that a promise is measured with: the limits, then Alluvium, then the peers.
pub fn contestants(promise: Promise) -> Vec<Contestant> {
    let mut all = limits::contestants(promise);
    all.push(log::contestant());
    #[cfg(feature = "peers")]
    all.extend(peers::contestants(promise));
    all
}

/// Puts that many rows, one by one, into something in an empty directory.
#[cfg(feature = "lake")]
pub type InsertRows = fn(&std::path::Path, u64) -> std::time::Duration;

/// What takes single rows.
#[cfg(feature = "lake")]
pub fn row_contestants() -> Vec<(&'static str, InsertRows)> {
    #[allow(unused_mut, reason = "without peers")]
    let mut all = vec![table::row_contestant()];
    #[cfg(feature = "peers")]
    all.extend(peers::row_contestants());
    all
}
