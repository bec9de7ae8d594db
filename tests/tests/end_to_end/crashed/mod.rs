//! The process dies between any two steps of a round or of maintenance: what was appended is settled exactly once.
//!
//! Where [`killed`](super::killed) is random, this is exhaustive: every point that the engine names (`crash.rs`) is died at.

mod alterations;
mod backfills;
mod letters;

use std::os::unix::process::ExitStatusExt;

use alluvium_tests::{Place, S3Server, Store, counts};

const SIGABRT: i32 = 6;
const ROWS: u64 = 20;

/// Every step of a round. Those of the manifest are of local lakes; on S3 the PUT is the commit.
const ROUND: [&str; 9] = [
    "round: rows made",
    "round: rows written",
    "commit: begins",
    "commit: manifest written",
    "commit: manifest named",
    "commit: ended",
    "round: committed",
    "round: log released",
    "round: staged log released",
];

/// Every step of maintenance.
const MAINTENANCE: [&str; 9] = [
    "index: committed",
    "merge: written",
    "commit: manifest written",
    "commit: manifest named",
    "merge: committed",
    "cleanup: checkpoint written",
    "cleanup: versions removed",
    "round: rows written",
    "cleanup: garbage removed",
];

/// A table whose every round is merged, and of which nothing old is kept.
fn create(store: &Store, more: &[String]) {
    let options = [
        "t",
        "--column",
        "id:int64",
        "--column",
        "text:utf8",
        "--freshness",
        "1h",
        "--merge-at",
        "2",
        "--keep-versions",
        "1",
        "--keep-versions-for",
        "0s",
        "--orphans-after",
        "0s",
        "--no-maintenance",
    ];
    let options = options.iter().map(|option| (*option).to_owned());
    store.run("create", options.chain(more.iter().cloned()));
}

/// Runs a subcommand that dies at a point.
fn die(store: &Store, subcommand: &str, point: &str) {
    die_with(store, subcommand, &[], point);
}

fn die_with(store: &Store, subcommand: &str, arguments: &[String], point: &str) {
    let mut run = store.command(subcommand);
    let run = run.arg("t").args(arguments);
    let output = run.env("ALLUVIUM_CRASH_AT", point).output();
    let output = output.expect("the command runs");
    let signal = output.status.signal();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        signal,
        Some(SIGABRT),
        "{subcommand} did not pass {point:?}: {said}"
    );
}

/// Dies at each point of a round in turn, each time with more rows on their way, and ends each round at last.
fn die_in_rounds(store: &Store, points: &[&str], mut append: impl FnMut()) {
    for point in points {
        append();
        die(store, "tier", point);
        store.run("tier", ["t"]);
    }
    store.run("verify", ["t"]);
}

/// Those of the points that a lake at a place passes.
fn points(place: &Place, points: &[&'static str]) -> Vec<&'static str> {
    let of_disk = |point: &str| point.starts_with("commit: manifest");
    let points = points.iter().copied();
    points
        .filter(|point| place.is_local || !of_disk(point))
        .collect()
}

/// Appends rows with the next ids.
fn appender(store: &Store) -> impl FnMut(u64) + '_ {
    let mut next = 0;
    move |rows| {
        let lines =
            (next..next + rows).map(|id| format!("{{\"id\": {id}, \"text\": \"record {id}\"}}\n"));
        let input = store.file("rows.jsonl", lines.collect::<String>());
        store.run("ingest", ["t".as_ref(), input.as_os_str()]);
        next += rows;
    }
}

/// Dies at every step of rounds and of maintenance; gives how many rows were appended.
fn die_everywhere(store: &Store, place: &Place) -> u64 {
    create(store, &place.options);
    let mut append = appender(store);
    append(5000);
    let round: Vec<_> = points(place, &ROUND)
        .into_iter()
        .filter(|point| !point.contains("staged"))
        .collect();
    die_in_rounds(store, &round, || append(ROWS));
    store.run("index create", ["t", "id", "--kind", "btree"]);
    let mut appended = 5000 + ROWS * round.len() as u64;
    for point in points(place, &MAINTENANCE) {
        // Two fragments that no index has yet, so that there is something to merge.
        for _ in 0..2 {
            store.run("tier", ["t"]);
            append(ROWS);
        }
        appended += 2 * ROWS;
        if point.starts_with("round") {
            die(store, "tier", point);
            continue;
        }
        store.run("tier", ["t"]);
        die(store, "maintain", point);
        store.run("maintain", ["t"]);
    }
    store.run("tier", ["t"]);
    store.run("maintain", ["t"]);
    store.run("verify", ["t"]);
    appended
}

fn assert_all_there(place: &Place, rows: u64) {
    let found = counts(&place.lake, "id", &place.reads_with);
    assert_eq!(found, (0..rows).map(|n| (n, n)).collect::<Vec<_>>());
}

#[test]
fn on_disk_dying_at_any_step_loses_and_doubles_nothing() {
    let store = Store::new();
    let place = Place::on_disk(&store);
    let rows = die_everywhere(&store, &place);
    assert_all_there(&place, rows);
    let status = store.status("t");
    let indexed = &status["indices"][0];
    assert_eq!(indexed["segments"], 1, "{status}");
    assert_eq!(status["maintenance"]["orphan_bytes"], 0, "{status}");
}

#[test]
fn on_s3_dying_at_any_step_loses_and_doubles_nothing() {
    let server = S3Server::start();
    let place = Place::on_s3(&server, "crashed");
    let rows = die_everywhere(&server.store(), &place);
    assert_all_there(&place, rows);
}
