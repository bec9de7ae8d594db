use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, with_local_recorder,
};

use super::*;

#[test]
fn a_snapshot_has_what_was_counted() {
    let metrics = LogMetrics::new("readings", "raw");
    metrics.appended(10, 4096, Duration::from_nanos(40));
    metrics.appended(5, 1024, Duration::from_nanos(60));
    metrics.duplicate();
    metrics.synced(Duration::from_millis(2));
    metrics.segment_created();
    metrics.segment_recycled();
    metrics.segment_recycled();
    metrics.segment_removed();
    metrics.waited_for_space(Duration::from_millis(1500));
    metrics.waited_for_space(Duration::from_millis(500));
    metrics.refused_for_space();
    metrics.backlog(9000);
    metrics.backlog(7000);

    let snapshot = metrics.snapshot();
    assert_eq!(
        (snapshot.appended_rows, snapshot.appended_bytes),
        (15, 5120)
    );
    assert_eq!((snapshot.appends, snapshot.duplicates), (2, 1));
    assert_eq!(snapshot.append_latency.mean_us, 0.05);
    assert_eq!(snapshot.append_latency.p50_us, 0.04);
    assert_eq!(snapshot.append_latency.max_us, 0.06);
    assert_eq!(
        (snapshot.fsyncs, snapshot.fsync_latency.max_us),
        (1, 2000.0)
    );
    assert_eq!(
        (snapshot.segments_created, snapshot.segments_recycled),
        (1, 2)
    );
    assert_eq!(snapshot.segments_removed, 1);
    assert_eq!((snapshot.waits_for_space, snapshot.wait_seconds), (2, 2.0));
    assert_eq!(
        (snapshot.refused_for_space, snapshot.backlog_bytes),
        (1, 7000)
    );
}

#[test]
fn nothing_is_lost_when_many_threads_record() {
    const THREADS: u64 = 8;
    const APPENDS: u64 = 20_000;
    let metrics = LogMetrics::new("readings", "raw");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for nanos in 1..=APPENDS {
                    metrics.appended(3, 100, Duration::from_nanos(nanos));
                    metrics.synced(Duration::from_nanos(nanos));
                    metrics.duplicate();
                }
            });
        }
    });
    let all = THREADS * APPENDS;
    let snapshot = metrics.snapshot();
    assert_eq!(
        (snapshot.appends, snapshot.fsyncs, snapshot.duplicates),
        (all, all, all)
    );
    assert_eq!(
        (snapshot.appended_rows, snapshot.appended_bytes),
        (3 * all, 100 * all)
    );
    assert_eq!(
        snapshot.append_latency.mean_us,
        (APPENDS + 1) as f64 / 2000.0
    );
    assert_eq!(snapshot.append_latency.max_us, APPENDS as f64 / 1000.0);
}

#[test]
fn a_recorder_gets_every_metric_with_its_labels() {
    let recorder = Told::default();
    with_local_recorder(&recorder, || {
        let metrics = LogMetrics::new("readings", "dead");
        metrics.appended(10, 4096, Duration::from_millis(250));
        metrics.appended(1, 4, Duration::from_millis(250));
        metrics.duplicate();
        metrics.synced(Duration::from_millis(125));
        metrics.segment_created();
        metrics.segment_recycled();
        metrics.segment_removed();
        metrics.waited_for_space(Duration::from_secs(2));
        metrics.refused_for_space();
        metrics.backlog(9000);
        metrics.backlog(7000);
    });
    let expected = [
        ("alluvium_append_seconds", 0.5),
        ("alluvium_appended_bytes_total", 4100.0),
        ("alluvium_appended_rows_total", 11.0),
        ("alluvium_backlog_bytes", 7000.0),
        ("alluvium_duplicate_appends_total", 1.0),
        ("alluvium_fsync_seconds", 0.125),
        ("alluvium_segments_created_total", 1.0),
        ("alluvium_segments_recycled_total", 1.0),
        ("alluvium_segments_removed_total", 1.0),
        ("alluvium_space_refusals_total", 1.0),
        ("alluvium_space_wait_seconds", 2.0),
    ];
    let labelled = expected.map(|(name, value)| (format!("{name} table=readings log=dead"), value));
    assert_eq!(recorder.values(), BTreeMap::from(labelled));
    let described = recorder.described.into_inner().unwrap();
    let names: Vec<&str> = described.keys().map(String::as_str).collect();
    assert_eq!(names, expected.map(|(name, _)| name));
    assert_eq!(described["alluvium_append_seconds"], Some(Unit::Seconds));
    assert_eq!(described["alluvium_backlog_bytes"], Some(Unit::Bytes));
}

#[test]
fn a_recorder_that_comes_after_the_log_hears_nothing() {
    let metrics = LogMetrics::new("readings", "raw");
    let recorder = Told::default();
    with_local_recorder(&recorder, || metrics.appended(1, 1, Duration::ZERO));
    assert_eq!(recorder.values(), BTreeMap::new());
    assert_eq!(metrics.snapshot().appended_rows, 1);
}

/// `cargo test --release -p alluvium --no-default-features --lib metrics:: -- --ignored --nocapture`
#[test]
#[ignore = "measures, and asserts nothing"]
fn what_counting_an_append_costs() {
    const APPENDS: u32 = 20_000_000;
    let metrics = LogMetrics::new("readings", "raw");
    let measure = |what: &str, append: &dyn Fn(u32)| {
        let start = Instant::now();
        (0..APPENDS).for_each(append);
        println!("{what}: {:?}", start.elapsed() / APPENDS);
    };
    measure("appended()", &|i| {
        let latency = Duration::from_nanos(1000 + u64::from(i % 1024));
        metrics.appended(black_box(8), black_box(1024), latency);
    });
    measure("two readings of the clock and appended()", &|_| {
        let start = Instant::now();
        metrics.appended(black_box(8), black_box(1024), start.elapsed());
    });
}

/// A recorder that adds up what it is told, by name and labels.
#[derive(Default)]
struct Told {
    values: Mutex<BTreeMap<String, Arc<Value>>>,
    described: Mutex<BTreeMap<String, Option<Unit>>>,
}

#[derive(Default)]
struct Value(Mutex<f64>);

impl Told {
    fn values(&self) -> BTreeMap<String, f64> {
        let values = self.values.lock().unwrap();
        let read = |(key, value): (&String, &Arc<Value>)| (key.clone(), *value.0.lock().unwrap());
        values.iter().map(read).collect()
    }

    fn value(&self, key: &Key) -> Arc<Value> {
        let labels = key.labels().map(|l| format!(" {}={}", l.key(), l.value()));
        let name = key.name().to_owned() + &labels.collect::<String>();
        self.values.lock().unwrap().entry(name).or_default().clone()
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>) {
        let mut described = self.described.lock().unwrap();
        described.insert(name.as_str().to_owned(), unit);
    }
}

impl Recorder for Told {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> ::metrics::Histogram {
        ::metrics::Histogram::from_arc(self.value(key))
    }
}

impl CounterFn for Value {
    fn increment(&self, value: u64) {
        *self.0.lock().unwrap() += value as f64;
    }

    fn absolute(&self, _: u64) {
        panic!("counters only increment");
    }
}

impl GaugeFn for Value {
    fn increment(&self, _: f64) {
        panic!("gauges are only set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are only set");
    }

    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = value;
    }
}

impl HistogramFn for Value {
    fn record(&self, value: f64) {
        *self.0.lock().unwrap() += value;
    }
}
