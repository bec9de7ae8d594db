//! Measuring one's own disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Bench, signal};
use serde_json::Value;

/// The names in a directory, hidden ones too, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn positive(value: &Value) -> f64 {
    let number = value.as_f64().unwrap_or_default();
    assert!(number > 0.0, "{value}");
    number
}

#[test]
fn every_figure_is_there_and_nothing_is_left_behind() {
    let bench = Bench::new();
    for (durability, operation) in [
        ("sync", "raw pwrite and fdatasync"),
        ("buffered", "raw pwrite"),
    ] {
        let report = bench
            .json(&[
                "bench",
                "new/store",
                "--seconds",
                "1",
                "--batch",
                "4KiB",
                "--producers",
                "3",
                "--durability",
                durability,
                "--json",
            ])
            .remove(0);
        assert_eq!(report["durability"], durability);
        assert_eq!(report["producers"], 3);
        assert_eq!(report["batch_bytes"], 4096);
        assert_eq!(report["batch_rows"], 128);
        assert_eq!(report["segment_bytes"], 128 << 20);
        assert_eq!(report["raw"]["operation"], operation);
        positive(&report["turns"]);
        positive(&report["machine"]["cores"]);
        for lane in ["alluvium", "raw"] {
            figures(&report[lane]);
        }
        let share = &report["share"];
        assert!(positive(&share["least"]) <= positive(&share["most"]));
        positive(&share["overall"]);
        assert_eq!(names(&bench.path(".")), [""; 0]);
    }
}

/// Checks that a lane's figures fit each other.
fn figures(lane: &Value) {
    let appends = positive(&lane["appends"]);
    assert_eq!(positive(&lane["rows"]), appends * 128.0);
    assert_eq!(positive(&lane["bytes"]), appends * 4096.0);
    let rate = appends / positive(&lane["seconds"]);
    for (name, each) in [("appends", 1.0), ("rows", 128.0), ("bytes", 4096.0)] {
        let found = positive(&lane[format!("{name}_per_second")]);
        assert!((found / (rate * each) - 1.0).abs() < 1e-6, "{lane}");
    }
    let latency = ["p50", "p90", "p99", "p999", "max"].map(|q| positive(&lane["latency_us"][q]));
    assert!(latency.is_sorted(), "{lane}");
}

#[test]
fn a_person_reads_a_table_and_the_share_of_the_limit() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("empty")).unwrap();
    let text = bench.ok(&[
        "bench",
        "empty",
        "--seconds",
        "1",
        "--batch",
        "64KB",
        "--durability",
        "interval=50ms",
    ]);
    for part in [
        "durability interval=50ms, 1 producer",
        "raw pwrite",
        "throughput",
        "/s",
        "latency p99.9",
        "Alluvium writes ",
        "from turn to turn",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(names(&bench.path("empty")), [""; 0]);
}

#[test]
fn a_store_that_is_there_keeps_its_rows_and_is_sound() {
    let bench = Bench::with_table(&["n:int64"]);
    bench.write("rows.jsonl", "{\"n\": 1}\n{\"n\": 2}\n");
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    bench.ok(&["tier", "s"]);
    let before = (names(&bench.path("s")), bench.status());
    bench.ok(&["bench", "s", "--seconds", "1", "--batch", "1KiB"]);
    assert_eq!((names(&bench.path("s")), bench.status()), before);
    assert!(bench.ok(&["verify", "s"]).contains("sound"));
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    assert_eq!(bench.status()["rows_committed"], 4);
}

#[test]
fn being_stopped_leaves_nothing_behind() {
    let bench = Bench::with_table(&["n:int64"]);
    let before = names(&bench.path("s"));
    for (directory, name) in [("s", "INT"), ("gone", "TERM")] {
        let running = bench.spawn(&["bench", directory, "--seconds", "600"]);
        let since = Instant::now();
        let started = || {
            std::fs::read_dir(bench.path(directory)).is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|entry| entry.path().join("store").is_dir())
            })
        };
        while !started() {
            assert!(since.elapsed() < Duration::from_secs(60), "it never began");
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&running, name);
        let output = running.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("interrupted"), "{error}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(names(&bench.path("s")), before);
    assert!(!bench.path("gone").exists());
}

#[test]
fn arguments_that_cannot_be_are_refused_with_the_reason() {
    let bench = Bench::new();
    for (option, value, reason) in [
        ("--batch", "1023", "between 1KiB and 1GiB"),
        ("--batch", "2GiB", "between 1KiB and 1GiB"),
        ("--batch", "large", "64KiB"),
        ("--producers", "0", "1..=1024"),
        ("--producers", "1025", "1..=1024"),
        ("--seconds", "0", "1..=86400"),
        ("--durability", "fast", "buffered, interval"),
    ] {
        let error = bench.fails(2, &["bench", "d", option, value]);
        assert!(error.contains(reason), "{error}");
    }
    assert!(!bench.path("d").exists());
}

#[test]
fn a_place_that_cannot_be_written_to_is_refused() {
    let bench = Bench::new();
    bench.write("file", "kept");
    let error = bench.fails(1, &["bench", "file"]);
    assert!(error.contains("file is not a directory"), "{error}");
    // Not even root can make a directory there.
    for directory in ["/proc", "/proc/new"] {
        let error = bench.fails(1, &["bench", directory]);
        assert!(
            error.contains(&format!("cannot write in {directory}")),
            "{error}"
        );
    }
}
