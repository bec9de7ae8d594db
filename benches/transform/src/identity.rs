//! What the boundary costs: plugins that do nothing.

use std::sync::Arc;

use alluvium::transform::{Chain, PluginHost};
use arrow_array::{ArrayRef, BinaryArray, Int32Array, RecordBatch};
use criterion::Criterion;

use crate::guests::{bound, chain, component, spec};
use crate::report::{Report, Side, by_turns};

const BATCHES: usize = 64;
const RECORDS: usize = 100_000;
const IDENTITY: &str = r#"{"mode": "identity"}"#;

pub(crate) fn measure(criterion: &mut Criterion, report: &mut Report) {
    throughput(criterion, report);
    record_over_batch(criterion, report);
}

/// 1 MiB batches of 1 KiB binaries through a plugin that returns them.
fn throughput(criterion: &mut Criterion, report: &mut Report) {
    let host = PluginHost::new().expect("a host");
    let row = |n: usize| vec![n as u8; 1024];
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..1024).map(row)));
    // The plugin of the conformance suite wants a number too.
    let n: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1024));
    let batch = RecordBatch::try_from_iter([("n", n), ("data", column)]).expect("a batch");
    let bytes = wat::parse_str(include_str!("identity.wat")).expect("a component");
    let least = (bytes, spec("{}"));
    let sdk = (component("conformance/rust-batch"), spec(IDENTITY));
    let mut chains = [least, sdk].map(|(bytes, spec)| {
        let mut chain = chain(bound(&host, &bytes, spec, &[]), &host, batch.schema());
        let done = chain.apply(&batch).expect("transformed");
        assert_eq!(done.batch.columns(), batch.columns());
        chain
    });
    let [least, sdk] = &mut chains;
    let run = |chain: &mut Chain| {
        for _ in 0..BATCHES {
            chain.apply(&batch).expect("transformed");
        }
    };
    let mut source = vec![0_u8; 1 << 20];
    let mut target = vec![0_u8; 1 << 20];
    let times = by_turns(
        criterion,
        "identity 1MiB",
        &mut [
            Side::timed("plugin", || run(least)),
            Side::timed("sdk-plugin", || run(sdk)),
            Side::timed("limit-memcpy", || {
                for n in 0..BATCHES {
                    source[n] = n as u8;
                    target.copy_from_slice(std::hint::black_box(&source));
                    std::hint::black_box(&target);
                }
            }),
        ],
    );
    let [ours, sdk, limit] = times[..] else {
        return;
    };
    let rate = |seconds: f64| BATCHES as f64 * (1 << 20) as f64 / seconds / 1e9;
    let told = |seconds: f64| {
        let (rate, times) = (rate(seconds), seconds / limit);
        format!("{rate:.1} GB/s ({times:.1} times one memcpy)")
    };
    let what = "identity batch plugin, 1 MiB batches of 1 KiB binaries, one core";
    report.line(what, "≥ 2 GB/s", told(ours), Some(rate(ours) >= 2.0));
    let what = "the same, written with the SDK for Rust, which builds its column anew, row by row";
    report.line(what, "", told(sdk), None);
}

/// The same Rust code in both worlds, on an int32 column.
fn record_over_batch(criterion: &mut Criterion, report: &mut Report) {
    let host = PluginHost::new().expect("a host");
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..RECORDS as i32));
    let batch = RecordBatch::try_from_iter([("n", column)]).expect("a batch");
    let mut chains = ["batch", "record"].map(|world| {
        let bytes = component(&format!("conformance/rust-{world}"));
        let transform = bound(&host, &bytes, spec(IDENTITY), &[]);
        chain(transform, &host, batch.schema())
    });
    let [batches, records] = &mut chains;
    let mut sides = [
        Side::timed("batch-world", || {
            drop(batches.apply(&batch).expect("transformed"))
        }),
        Side::timed("record-world", || {
            drop(records.apply(&batch).expect("transformed"))
        }),
    ];
    let times = by_turns(criterion, "identity a record", &mut sides);
    let [batch_world, record_world] = times[..] else {
        return;
    };
    let more = (record_world - batch_world) / RECORDS as f64 * 1e6;
    let what = "record world over batch world, per record";
    report.line(
        what,
        "≤ 1 µs more",
        format!("{more:.2} µs more"),
        Some(more <= 1.0),
    );
}
