//! Transforms beside the same code outside of the sandbox, and beside peers.
//!
//! Both sides of a ratio take turns, and the quarter of the samples that was fastest counts: what else a machine does
//! only ever adds to a time. Criterion has the spread of every side.

mod embed;
mod guests;
mod identity;
#[path = "../arrow-udf/inputs.rs"]
mod inputs;
mod latency;
#[path = "../../benches/summary/machine.rs"]
mod machine;
mod peer;
mod pictures;
mod report;
mod udf;

use std::path::PathBuf;

use criterion::Criterion;
use report::Report;

/// Where `make plugins` put the components.
fn plugins() -> PathBuf {
    std::env::var_os("ALLUVIUM_PLUGIN_PATH").map_or_else(|| "target/plugins".into(), PathBuf::from)
}

/// A part of the benchmark, by its name.
type Lane = (&'static str, fn(&mut Criterion, &mut Report));

const LANES: [Lane; 5] = [
    ("identity", identity::measure),
    ("pictures", pictures::measure),
    ("embed", embed::measure),
    ("udf", udf::measure),
    ("latency", latency::measure),
];

/// `ALLUVIUM_BENCH_LANE` names one part to run alone, which leaves the results in the repository as they are.
fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut report = Report::default();
    let only = std::env::var("ALLUVIUM_BENCH_LANE").ok();
    for (name, measure) in LANES {
        if only.as_deref().is_none_or(|only| only == name) {
            measure(&mut criterion, &mut report);
        }
    }
    criterion.final_summary();
    if only.is_none() {
        report.write();
    }
}
