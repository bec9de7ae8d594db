//! Peak resident memory while a backlog is drained.

use alluvium::{Durability, TableOptions};
use alluvium_benches::images;

use crate::manual;

const SMALL_BATCHES: u64 = 512;
const LARGE_BATCHES: u64 = 8192;

/// A number of `/proc/self/status`, in MiB.
pub(crate) fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<f64>().ok())
        .expect("a number")
        / 1024.0
}

/// What draining so many batches of 1 MiB adds at its peak, and the peak itself, in MiB.
fn drain(batches: u64) -> (f64, f64) {
    let schema = images(10, 0).schema();
    let (_directory, store) = manual();
    let options = TableOptions::new(schema).durability(Durability::Buffered);
    let table = store.create_table("t", options).expect("a table");
    for seed in 0..batches {
        let _ = table.append(&images(10, seed)).expect("appended");
    }
    let before = status("VmRSS:");
    // Forgets the peak so far (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak is reset");
    table.flush_to_lake().expect("tiered");
    let peak = status("VmHWM:");
    (peak - before, peak)
}

/// Names how many batches a process of its own drains, for its peak to be its own.
const BATCHES: &str = "ALLUVIUM_BENCH_BATCHES";

/// [`drain`] in a process of its own: what an earlier one left in the heap is no part of its peak.
fn drain_apart(batches: u64) -> (f64, f64) {
    let exe = std::env::current_exe().expect("this program");
    let mut command = std::process::Command::new(exe);
    command
        .env("ALLUVIUM_BENCH_LANE", "memory")
        .env(BATCHES, batches.to_string());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    let numbers: Vec<f64> = last
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    match numbers.as_slice() {
        [added, peak] => (*added, *peak),
        _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

pub(crate) fn peak() {
    if let Some(batches) = std::env::var(BATCHES).ok().and_then(|n| n.parse().ok()) {
        let (added, peak) = drain(batches);
        println!("{added} {peak}");
        return;
    }
    let (small, small_peak) = drain_apart(SMALL_BATCHES);
    let (large, large_peak) = drain_apart(LARGE_BATCHES);
    println!(
        "| peak RSS, draining {LARGE_BATCHES} MiB over {SMALL_BATCHES} MiB | {:.2} ({large_peak:.0} MiB over {small_peak:.0} MiB) |",
        large_peak / small_peak
    );
    println!("| of it added by draining | {large:.0} MiB and {small:.0} MiB |");
}
