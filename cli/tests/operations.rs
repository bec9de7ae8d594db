//! What keeps a store going: maintenance, indices, metrics, an orderly end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use common::{Bench, signal};

/// A table whose every round is a fragment of its own, and how its rows are added.
fn append(bench: &Bench, n: u32) {
    bench.write("rows.jsonl", format!("{{\"n\": {n}}}\n"));
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    bench.ok(&["tier", "s"]);
}

#[test]
fn maintain_merges_fragments_and_says_so() {
    let bench = Bench::new();
    bench.ok(&[
        "create",
        "s",
        "t",
        "--column",
        "n:int64",
        "--merge-at",
        "2",
        "--no-maintenance",
    ]);
    (0..3).for_each(|n| append(&bench, n));
    let told = bench.ok(&["maintain", "s"]);
    assert!(told.starts_with("t: 3 fragments merged"), "{told}");
    assert!(told.contains("3 rows in 1 fragments"), "{told}");
    assert_eq!(bench.status()["maintenance"]["fragments"], 1);
    assert!(bench.ok(&["verify", "s"]).contains("sound"));
}

#[test]
fn indices_are_listed_and_dropped_by_their_names() {
    let bench = Bench::with_table(&["n:int64", "text:utf8"]);
    assert!(
        bench
            .ok(&["index", "list", "s", "t"])
            .contains("no indices")
    );
    bench.ok(&["index", "create", "s", "t", "n"]);
    bench.ok(&["index", "create", "s", "t", "text", "--kind", "full_text"]);
    let told = bench.fails(1, &["index", "create", "s", "t", "n", "--kind", "ivf_pq"]);
    assert!(told.contains("Int64"), "{told}");
    bench.fails(2, &["index", "create", "s", "t", "n", "--kind", "rtree"]);
    let listed = bench.ok(&["index", "list", "s", "t"]);
    assert!(
        listed.contains("n_auto") && listed.contains("text_full_text"),
        "{listed}"
    );
    assert!(listed.contains("not built yet"), "{listed}");
    bench.ok(&["index", "drop", "s", "t", "n_auto"]);
    let told = bench.fails(1, &["index", "drop", "s", "t", "n_auto"]);
    assert!(told.contains("text_full_text"), "{told}");
}

#[test]
fn a_secret_is_not_written_into_the_store_unless_that_is_asked_for() {
    let bench = Bench::new();
    let create = [
        "create",
        "s",
        "t",
        "--column",
        "n:int64",
        "--storage-option",
        "secret_access_key=hunter2",
    ];
    let told = bench.fails(1, &create);
    assert!(told.contains("env:") && !told.contains("hunter2"), "{told}");
    let allowed: Vec<_> = create.into_iter().chain(["--secrets-in-clear"]).collect();
    bench.ok(&allowed);
}

#[test]
fn run_serves_metrics_on_loopback_and_drains_what_waits_when_it_is_stopped() {
    let bench = Bench::new();
    bench.ok(&[
        "create",
        "s",
        "t",
        "--column",
        "n:int64",
        "--freshness",
        "1h",
    ]);
    bench.write("rows.jsonl", "{\"n\": 1}\n{\"n\": 2}\n");
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    let told = bench.fails(1, &["run", "s", "--metrics", "0.0.0.0:0"]);
    assert!(told.contains("loopback"), "{told}");

    let mut runner = bench.spawn(&["run", "s", "--metrics", "127.0.0.1:0", "--drain"]);
    let mut lines = BufReader::new(runner.stdout.take().unwrap()).lines();
    let address = lines.by_ref().map(Result::unwrap);
    let address =
        address.filter_map(|line| line.strip_prefix("metrics: http://").map(str::to_owned));
    let address = address
        .map(|line| line.trim_end_matches("/metrics").to_owned())
        .next()
        .unwrap();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let answer = get("/metrics");
        if answer.contains("alluvium_lag_rows{table=\"t\"} 2") {
            assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"));
            break;
        }
        assert!(std::time::Instant::now() < until, "{answer}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(get("/").contains("404"));
    signal(&runner, "TERM");
    assert!(
        lines
            .map(Result::unwrap)
            .last()
            .unwrap()
            .starts_with("stopped")
    );
    assert!(runner.wait().unwrap().success());
    assert_eq!(bench.status()["rows_tiered"], 2);
}
