//! What a table does when nobody looks: how its commits, files and memory grow, what appends feel of tiering, how fresh it
//! is kept. Not Criterion: each lane is one long run, told as a row of `benches/results/tiering.md`.
//!
//! `ALLUVIUM_BENCH_LANE=latency|files|memory|appends|freshness` runs one alone; `soak` runs only when it is named.

mod appends;
mod freshness;
mod growth;
mod memory;
mod soak;

use std::time::Duration;

use alluvium::{Maintenance, Store, StoreOptions, TableOptions};
use tempfile::TempDir;

/// A store with background work.
fn store() -> (TempDir, Store) {
    let directory = TempDir::new().expect("a directory");
    let store = Store::open(directory.path().join("store")).expect("a store");
    (directory, store)
}

/// A store in which rounds are asked for.
fn manual() -> (TempDir, Store) {
    let directory = TempDir::new().expect("a directory");
    let options = StoreOptions::new().tiering(false);
    let store = options.open(directory.path().join("store"));
    (directory, store.expect("a store"))
}

/// Maintenance that has something to do in a run of minutes.
fn hurried(options: TableOptions) -> TableOptions {
    let policy = Maintenance::default()
        .every(Duration::from_millis(200))
        .keep_versions(10)
        .keep_versions_for(Duration::ZERO);
    options.maintenance(policy)
}

/// A share of sorted samples.
fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = (samples.len() as f64 * share) as usize;
    samples[index.min(samples.len() - 1)]
}

fn main() {
    println!("| what | measured |\n|---|---|");
    let wanted = std::env::var("ALLUVIUM_BENCH_LANE").ok();
    let lanes: [(&str, fn()); 5] = [
        ("latency", growth::latency),
        ("files", growth::files),
        ("memory", memory::peak),
        ("appends", appends::beside_tiering),
        ("freshness", freshness::kept),
    ];
    for (name, lane) in lanes {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            lane();
        }
    }
    if wanted.as_deref() == Some("soak") {
        soak::run();
    }
}
