//! Transforms beside the same code outside of the sandbox, and beside peers.
//!
//! Both sides of a ratio take turns, and the quarter of the samples that was fastest counts: what else a machine does
//! only ever adds to a time. Criterion has the spread of every side.

mod embed;
mod guests;
mod identity;
mod latency;
#[path = "../../benches/summary/machine.rs"]
mod machine;
mod pictures;
mod report;

use std::path::PathBuf;

use criterion::Criterion;
use report::Report;

/// Where `make plugins` put the components.
fn plugins() -> PathBuf {
    std::env::var_os("ALLUVIUM_PLUGIN_PATH").map_or_else(|| "target/plugins".into(), PathBuf::from)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut report = Report::default();
    identity::measure(&mut criterion, &mut report);
    pictures::measure(&mut criterion, &mut report);
    embed::measure(&mut criterion, &mut report);
    latency::measure(&mut report);
    criterion.final_summary();
    report.write();
}
