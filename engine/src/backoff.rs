//! Waiting longer with each failure.

use std::time::{Duration, Instant};

use crate::log::now_us;

/// The first wait after a failure; each further one doubles it.
const FIRST: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(60);

/// When something that failed may be tried again.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// Failures in a row.
    failures: u32,
    retry_at: Option<Instant>,
}

impl Backoff {
    /// Twice as long with each failure in a row, up to a minute, with up to a quarter of jitter.
    pub(crate) fn failed(&mut self) {
        self.failures += 1;
        let doubled = FIRST.saturating_mul(1 << (self.failures - 1).min(10));
        let wait = doubled.min(MAX);
        let jitter = now_us().unsigned_abs() % 250;
        self.retry_at = Some(Instant::now() + wait + wait.mul_f64(jitter as f64 / 1000.0));
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Lets it be tried now; the next failure still counts as one more.
    pub(crate) fn hurry(&mut self) {
        self.retry_at = None;
    }

    /// Whether it may be tried.
    pub(crate) fn is_over(&self) -> bool {
        self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    /// How long it is until then.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let remaining = self.retry_at?.saturating_duration_since(Instant::now());
        (!remaining.is_zero()).then_some(remaining)
    }
}
