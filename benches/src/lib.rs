//! What benchmarks measure, and the batches that they measure it with.

mod alluvium;
mod lane;
mod limits;
#[cfg(feature = "peers")]
mod peers;
mod recycled;
mod samples;
mod sealed;

pub use self::alluvium::{Sums, written};
pub use self::lane::{Cell, Contestant, Lane, Opening, Promise, check_disk, measure};
pub use self::recycled::{Recycled, RecycledFiles, RecycledSegments, measure_recycled};
pub use self::samples::{Kind, Sample, Samples, images, readings};
pub use self::sealed::SealedStore;

/// Everything that a promise is measured with: the limits, then Alluvium, then the peers.
pub fn contestants(promise: Promise) -> Vec<Contestant> {
    let mut all = limits::contestants(promise);
    all.push(alluvium::contestant(promise));
    #[cfg(feature = "peers")]
    all.extend(peers::contestants(promise));
    all
}

/// Puts that many rows, one by one, into something in an empty directory.
pub type InsertRows = fn(&std::path::Path, u64) -> std::time::Duration;

/// What takes single rows.
pub fn row_contestants() -> Vec<(&'static str, InsertRows)> {
    #[allow(unused_mut, reason = "without peers")]
    let mut all = vec![alluvium::row_contestant()];
    #[cfg(feature = "peers")]
    all.extend(peers::row_contestants());
    all
}
