//! A histogram of latencies that any number of threads record into without a lock.
//!
//! The buckets are those of HdrHistogram (Gil Tene, <https://hdrhistogram.org>): every power of two is cut
//! into 32 buckets of the same width, so a bucket's middle is off by at most 1/64 (1.6%) of what fell into
//! it, at any magnitude. Below 64 ns every nanosecond has a bucket.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

/// A power of two is cut into 2 to the power of this many buckets.
const CUT_BITS: u32 = 5;
/// Values have at most this many bits; what is longer is taken for [`HIGHEST`].
const VALUE_BITS: u32 = 42;
/// In nanoseconds: 73 minutes.
const HIGHEST: u64 = (1 << VALUE_BITS) - 1;
/// 1216 of 8 bytes: a histogram takes 9.5 KiB, whatever it has recorded.
const BUCKETS: usize = ((VALUE_BITS - CUT_BITS + 1) << CUT_BITS) as usize;

/// How long something took: every time it was done since the log was opened.
///
/// Latencies are in microseconds. The percentiles are off by at most 1.6%; the mean and the maximum are
/// exact. What took longer than 73 minutes counts as 73 minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LatencySnapshot {
    /// How often it was done. When that is 0, so are the latencies.
    pub count: u64,
    /// The arithmetic mean, in microseconds.
    pub mean_us: f64,
    /// Half of them took no longer, in microseconds.
    pub p50_us: f64,
    /// 90% took no longer, in microseconds.
    pub p90_us: f64,
    /// 99% took no longer, in microseconds.
    pub p99_us: f64,
    /// 99.9% took no longer, in microseconds.
    pub p999_us: f64,
    /// The longest, in microseconds.
    pub max_us: f64,
}

/// Counts durations by their length, in nanoseconds.
pub(crate) struct Histogram {
    sum: AtomicU64,
    max: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(crate) fn record(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).map_or(HIGHEST, |nanos| nanos.min(HIGHEST));
        // Rarely true: the plain load spares most calls an atomic exchange.
        if nanos > self.max.load(Relaxed) {
            self.max.fetch_max(nanos, Relaxed);
        }
        self.sum.fetch_add(nanos, Relaxed);
        if let Some(bucket) = self.buckets.get(bucket_of(nanos)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// What was recorded. What other threads record meanwhile may be in some of its numbers and not in others.
    pub(crate) fn snapshot(&self) -> LatencySnapshot {
        let counts: Vec<u64> = self.buckets.iter().map(|n| n.load(Relaxed)).collect();
        let count = counts.iter().sum();
        if count == 0 {
            return LatencySnapshot::default();
        }
        let max = self.max.load(Relaxed);
        let percentile = |permille| micros(value_at(&counts, rank(count, permille)).min(max));
        LatencySnapshot {
            count,
            mean_us: micros(self.sum.load(Relaxed)) / count as f64,
            p50_us: percentile(500),
            p90_us: percentile(900),
            p99_us: percentile(990),
            p999_us: percentile(999),
            max_us: micros(max),
        }
    }
}

/// `nanos` is at most [`HIGHEST`].
fn bucket_of(nanos: u64) -> usize {
    let dropped_bits = (u64::BITS - nanos.leading_zeros()).saturating_sub(CUT_BITS + 1);
    ((dropped_bits << CUT_BITS) as usize) + (nanos >> dropped_bits) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle_of(bucket: usize) -> u64 {
    let dropped_bits = (bucket >> CUT_BITS).saturating_sub(1);
    let lowest = ((bucket - (dropped_bits << CUT_BITS)) as u64) << dropped_bits;
    lowest + (1 << dropped_bits) / 2
}

/// How many of `count` values, in ascending order, reach `permille` of them: at least one.
fn rank(count: u64, permille: u64) -> u64 {
    let rank = (u128::from(count) * u128::from(permille)).div_ceil(1000);
    u64::try_from(rank).unwrap_or(count).max(1)
}

/// About the `rank`-th smallest value, in nanoseconds.
fn value_at(counts: &[u64], rank: u64) -> u64 {
    let reached = counts.iter().scan(0_u64, |sum, count| {
        *sum += count;
        Some(*sum)
    });
    let bucket = reached.take_while(|sum| *sum < rank).count();
    middle_of(bucket.min(BUCKETS - 1))
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of any magnitude, and longer than the longest.
    fn any_nanos() -> impl Strategy<Value = u64> {
        (0..u64::BITS, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
    }

    fn exact_percentile(sorted: &[u64], permille: usize) -> f64 {
        let rank = (sorted.len() * permille).div_ceil(1000).max(1);
        micros(sorted[rank - 1])
    }

    fn assert_near(estimate: f64, exact: f64) {
        let bound = exact / 64.0 + 1e-9;
        assert!((estimate - exact).abs() <= bound, "{estimate} for {exact}");
    }

    proptest! {
        #[test]
        fn percentiles_are_off_by_at_most_a_sixty_fourth(mut nanos in prop::collection::vec(any_nanos(), 1..2000)) {
            let histogram = Histogram::new();
            for nanos in &nanos {
                histogram.record(Duration::from_nanos(*nanos));
            }
            nanos.iter_mut().for_each(|nanos| *nanos = (*nanos).min(HIGHEST));
            nanos.sort_unstable();
            let snapshot = histogram.snapshot();
            prop_assert_eq!(snapshot.count, nanos.len() as u64);
            assert_near(snapshot.p50_us, exact_percentile(&nanos, 500));
            assert_near(snapshot.p90_us, exact_percentile(&nanos, 900));
            assert_near(snapshot.p99_us, exact_percentile(&nanos, 990));
            assert_near(snapshot.p999_us, exact_percentile(&nanos, 999));
            prop_assert_eq!(snapshot.max_us, micros(*nanos.last().unwrap()));
            let mean = nanos.iter().map(|n| *n as f64).sum::<f64>() / nanos.len() as f64 / 1000.0;
            prop_assert!((snapshot.mean_us - mean).abs() <= mean * 1e-9);
        }

        #[test]
        fn a_value_is_in_a_bucket_whose_middle_is_near(nanos in any_nanos()) {
            let nanos = nanos.min(HIGHEST);
            assert_near(micros(middle_of(bucket_of(nanos))), micros(nanos));
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gap_up_to_the_last() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(HIGHEST), BUCKETS - 1);
        for bucket in 1..BUCKETS {
            assert_eq!(bucket_of(middle_of(bucket)), bucket);
            assert!(middle_of(bucket - 1) < middle_of(bucket));
        }
        for bits in CUT_BITS + 1..VALUE_BITS {
            assert_eq!(bucket_of(1 << bits), bucket_of((1 << bits) - 1) + 1);
        }
    }

    #[test]
    fn a_histogram_without_values_is_all_zeros() {
        assert_eq!(Histogram::new().snapshot(), LatencySnapshot::default());
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let histogram = Histogram::new();
        histogram.record(Duration::MAX);
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count, snapshot.max_us), (1, micros(HIGHEST)));
        assert_near(snapshot.p50_us, micros(HIGHEST));
    }
}
