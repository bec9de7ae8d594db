//! A turn: so many producers append for a short time, and each append is timed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::samples::Sample;
use crate::failure::{Failure, Outcome};
use crate::signals::Stop;

/// How a turn appends a batch.
pub(super) type Append<'a> = &'a (dyn Fn(&Sample) -> Outcome + Sync);

/// How long a turn is; whatever comes first ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) producers: usize,
    pub(super) time: Duration,
    pub(super) appends: u64,
}

/// What one turn did, or several.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) appends: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) time: Duration,
    pub(super) latencies: Histogram,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            appends: 0,
            rows: 0,
            bytes: 0,
            time: Duration::ZERO,
            latencies: Histogram::new(),
        }
    }

    /// Adds what was done at another time.
    pub(super) fn add(&mut self, other: &Self) {
        self.add_beside(other);
        self.time += other.time;
    }

    /// Adds what was done at the same time.
    fn add_beside(&mut self, other: &Self) {
        self.appends += other.appends;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.latencies.add(&other.latencies);
    }

    /// So many a second.
    pub(super) fn rate(&self, count: u64) -> f64 {
        count as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// Lets the producers append until the turn is over.
pub(super) fn run(
    length: Length,
    samples: &[Sample],
    stop: &Stop,
    append: Append<'_>,
) -> Outcome<Tally> {
    let turn = Turn {
        length,
        samples,
        stop,
        append,
        taken: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        gate: RwLock::new(None),
    };
    scope(|scope| turn.run(scope))
}

struct Turn<'a> {
    length: Length,
    samples: &'a [Sample],
    stop: &'a Stop,
    append: Append<'a>,
    taken: AtomicU64,
    failed: AtomicBool,
    /// Locked until all producers are there; then when they began, or nothing if they shall not.
    gate: RwLock<Option<Instant>>,
}

impl Turn<'_> {
    fn run<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Outcome<Tally> {
        let mut gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut producers = Vec::with_capacity(self.length.producers);
        let mut result = Ok(());
        for index in 0..self.length.producers {
            let name = format!("producer-{index}");
            match Builder::new()
                .name(name)
                .spawn_scoped(scope, move || self.produce(index))
            {
                Ok(producer) => producers.push(producer),
                Err(error) => {
                    result = Err(Failure::of("cannot start a producer", &error));
                    break;
                }
            }
        }
        *gate = result.is_ok().then(Instant::now);
        drop(gate);

        let mut tally = Tally::new();
        for producer in producers {
            match join(producer) {
                Ok(more) => {
                    tally.add_beside(&more);
                    tally.time = tally.time.max(more.time);
                }
                // The first failure is the cause of those after it.
                Err(failure) => result = result.and(Err(failure)),
            }
        }
        result.map(|()| tally)
    }

    /// One producer; the tally's time is when it ended, from the beginning on.
    fn produce(&self, index: usize) -> Outcome<Tally> {
        let mut tally = Tally::new();
        let begin = *self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let Some(begin) = begin else {
            return Ok(tally);
        };
        for sample in self
            .samples
            .iter()
            .cycle()
            .skip(index % self.samples.len().max(1))
        {
            if self.is_over(tally.time) {
                break;
            }
            let start = Instant::now();
            (self.append)(sample).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
            let end = Instant::now();
            tally.latencies.record(end - start);
            tally.appends += 1;
            tally.rows += sample.batch.num_rows() as u64;
            tally.bytes += sample.bytes.len() as u64;
            tally.time = end - begin;
        }
        Ok(tally)
    }

    fn is_over(&self, time: Duration) -> bool {
        time >= self.length.time
            || self.stop.asked()
            || self.failed.load(Ordering::Relaxed)
            || self.taken.fetch_add(1, Ordering::Relaxed) >= self.length.appends
    }
}

fn join(producer: ScopedJoinHandle<'_, Outcome<Tally>>) -> Outcome<Tally> {
    let panicked = |_| Err(Failure::new("a producer panicked"));
    producer.join().unwrap_or_else(panicked)
}
