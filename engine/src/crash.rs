//! Where a test lets the process die: between any two steps of a round or of maintenance.
//!
//! A build with debug assertions aborts at the point that the environment variable `ALLUVIUM_CRASH_AT` names, the n-th time
//! it is passed if it ends in `#n`. Release builds have nothing of this. The points are the calls of [`crash_point`].

#[cfg(debug_assertions)]
pub(crate) fn crash_point(point: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var("ALLUVIUM_CRASH_AT").ok()?;
        Some(match wanted.split_once('#') {
            Some((point, times)) => (point.to_owned(), times.parse().unwrap_or(1)),
            None => (wanted, 1),
        })
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);
    if let Some((wanted, times)) = WANTED.as_ref()
        && wanted == point
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn crash_point(_point: &str) {}
