//! Latencies in bounded memory: a histogram with 64 steps for each power of two, so that what is read from
//! it is at most 1/64 too large.

use std::time::Duration;

const STEP_BITS: u32 = 6;
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS;

/// How often which latency was seen.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// One that has seen nothing.
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }

    /// Takes note of a latency.
    pub(super) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(nanos)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Takes over what another one has seen.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The latency that this share (0 to 1) of all stayed below or met.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let rank = ((share * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let nanos = bucket.map_or(self.max, |bucket| end_of(bucket).min(self.max));
        Duration::from_nanos(nanos)
    }

    /// The longest latency, as it was.
    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

fn bucket_of(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    // Below 128 every number has a bucket of its own.
    shift as usize * STEPS + (nanos >> shift) as usize
}

/// The largest number that is counted in a bucket.
fn end_of(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = (bucket - shift * STEPS) as u64;
    ((u128::from(step) + 1) << shift)
        .saturating_sub(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_has_a_bucket_that_ends_little_above_it() {
        let around = (0..64).flat_map(|bit| {
            let power = 1u64 << bit;
            [power - 1, power, power + power / 3]
        });
        for nanos in around.chain([u64::MAX]) {
            let bucket = bucket_of(nanos);
            assert!(bucket < BUCKETS, "{nanos}");
            let end = end_of(bucket);
            assert!(end >= nanos && end - nanos <= nanos / 64, "{nanos}: {end}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        for micros in 1..=1000 {
            let half = if micros % 2 == 0 {
                &mut one
            } else {
                &mut other
            };
            half.record(Duration::from_micros(micros));
        }
        one.add(&other);
        for (share, micros) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = one.quantile(share).as_secs_f64() * 1e6;
            assert!(
                found >= micros && found <= micros * 1.016,
                "{share}: {found}"
            );
        }
        assert_eq!(one.max(), Duration::from_millis(1));
        assert_eq!(one.quantile(1.0), one.max());
        assert_eq!(Histogram::new().quantile(0.5), Duration::ZERO);
    }
}
