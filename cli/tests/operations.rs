//! What keeps a store going: maintenance, indices, metrics, an orderly end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::io::{BufRead, BufReader, ErrorKind, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use common::{Bench, signal};
use serde_json::{Value, json};

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

/// `alluvium run` on the store `s`.
struct Runner {
    child: Child,
    /// What it prints.
    lines: Lines<BufReader<ChildStdout>>,
    /// What it warns of.
    warnings: Receiver<String>,
}

impl Runner {
    /// Starts it, and waits until it settles.
    fn start(bench: &Bench, args: &[&str]) -> Self {
        let mut child = bench.spawn(&[&["run", "s"], args].concat());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("settling"));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, warnings) = channel();
        spawn(move || {
            stderr
                .lines()
                .try_for_each(|line| sender.send(line.unwrap()))
        });
        Self {
            child,
            lines,
            warnings,
        }
    }

    /// The next line of what it prints.
    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Waits for a warning that has all of these parts.
    fn warning(&self, parts: &[&str]) {
        let mut warnings = std::iter::from_fn(|| self.warnings.recv_timeout(PATIENCE).ok());
        let is_it = |line: String| parts.iter().all(|part| line.contains(part));
        assert!(warnings.any(is_it), "{parts:?}");
    }

    /// Asks it to stop; how long that took.
    fn stop(mut self) -> Duration {
        let asked = Instant::now();
        signal(&self.child, "TERM");
        let last = self.lines.map(Result::unwrap).last().unwrap();
        assert!(last.starts_with("stopped"), "{last}");
        assert!(self.child.wait().unwrap().success());
        asked.elapsed()
    }
}

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Changes a table's file behind the command's back.
fn edit(bench: &Bench, table: &str, change: impl FnOnce(&mut Value)) {
    let path = format!("s/tables/{table}/table.json");
    let text = std::fs::read(bench.path(&path)).unwrap();
    let mut meta: Value = serde_json::from_slice(&text).unwrap();
    change(&mut meta);
    bench.write(&path, meta.to_string());
}

/// Lets a table's rows be settled once they are that old.
fn hasten(bench: &Bench, table: &str, seconds: u64) {
    edit(bench, table, |meta| {
        meta["settings"]["freshness"] = json!({"secs": seconds, "nanos": 0});
    });
}

/// Puts the lake of table `t` on S3, whose server takes connections and never answers.
fn silence(bench: &Bench) -> TcpListener {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    edit(bench, "t", |meta| {
        meta["lake"] = json!("s3://bucket/t.lance");
        meta["storage_options"] = json!({
            "endpoint": format!("http://{}", server.local_addr().unwrap()),
            "allow_http": "true",
            "region": "us-east-1",
            "access_key_id": "key",
            "secret_access_key": "secret",
        });
    });
    server
}

/// Makes a table whose rows are settled when it is told to, and gives it some.
fn create_with_rows(bench: &Bench, table: &str) {
    let options = ["--segment-size", "64KiB", "--freshness", "1h"];
    let create = ["create", "s", table, "--column", "n:int64"];
    bench.ok(&[&create[..], &options].concat());
    let rows = (0..20_000).map(|n| format!("{{\"n\": {n}}}\n"));
    bench.write("rows.jsonl", rows.collect::<String>());
    bench.ok(&["ingest", "s", table, "rows.jsonl"]);
}

#[test]
fn run_does_not_ask_the_lake_of_a_table_that_has_nothing_to_settle() {
    let bench = Bench::with_table(&["n:int64"]);
    let server = silence(&bench);
    server.set_nonblocking(true).unwrap();
    let runner = Runner::start(&bench, &[]);
    // Long enough for it to look at the table more than once.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    runner.stop();
}

#[test]
fn run_stops_at_once_though_a_lake_does_not_answer() {
    let bench = Bench::new();
    create_with_rows(&bench, "t");
    hasten(&bench, "t", 0);
    let server = silence(&bench);
    let runner = Runner::start(&bench, &[]);
    let _round = server.accept().unwrap();
    let took = runner.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_table_that_is_damaged_keeps_run_from_no_other() {
    let bench = Bench::new();
    for table in ["bad", "good"] {
        create_with_rows(&bench, table);
    }
    let segment = bench.path("s/tables/bad/raw/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    // The header of its first rows, behind the roll call.
    bytes[4160..8192].fill(1);
    std::fs::write(&segment, bytes).unwrap();
    // It is settled after the other one was looked at.
    hasten(&bench, "good", 2);
    let mut runner = Runner::start(&bench, &[]);
    runner.warning(&["table=\"bad\"", "is damaged"]);
    let told = runner.line();
    assert!(told.starts_with("good: 20,000 rows settled"), "{told}");
    runner.stop();
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

    let mut runner = Runner::start(&bench, &["--metrics", "127.0.0.1:0", "--drain"]);
    let line = runner.line();
    let address = line.strip_prefix("metrics: http://").unwrap();
    let address = address.trim_end_matches("/metrics").to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let until = Instant::now() + PATIENCE;
    let answer = loop {
        let answer = get("/metrics");
        if answer.contains("alluvium_lag_rows{table=\"t\"} 2") {
            break answer;
        }
        assert!(Instant::now() < until, "{answer}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"));
    let backlog = "alluvium_backlog_bytes{table=\"t\",log=\"raw\"} ";
    let backlog = answer.lines().find_map(|line| line.strip_prefix(backlog));
    assert_ne!(backlog.unwrap(), "0", "{answer}");
    assert!(get("/").contains("404"));
    runner.stop();
    assert_eq!(bench.status()["rows_tiered"], 2);
}
