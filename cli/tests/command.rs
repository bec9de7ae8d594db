//! The command as a person meets it: its help, its errors and its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};

use common::{Bench, signal};
use serde_json::json;

#[test]
fn the_help_of_every_command_teaches_by_an_example() {
    let bench = Bench::new();
    for command in [
        "create",
        "ingest",
        "tier",
        "run",
        "status",
        "verify",
        "dead-letters",
        "query",
        "search",
        "bench",
    ] {
        let help = bench.ok(&[command, "--help"]);
        assert!(
            help.contains("Example") && help.contains(&format!("alluvium {command}")),
            "{help}"
        );
    }
    for [command, verb] in [
        ["plugin", "check"],
        ["plugin", "run"],
        ["transforms", "show"],
        ["transforms", "set"],
        ["dead-letters", "retry"],
        ["dead-letters", "drop"],
    ] {
        let help = bench.ok(&[command, verb, "--help"]);
        assert!(help.contains(&format!("alluvium {command} {verb}")));
    }
    assert!(bench.ok(&["--version"]).starts_with("alluvium "));
}

#[test]
fn a_wrong_command_line_exits_with_2_and_a_failure_with_1() {
    let bench = Bench::with_table(&["n:int64"]);
    bench.fails(2, &[]);
    bench.fails(2, &["ingest", "s", "t"]);
    bench.fails(2, &["dead-letters"]);
    bench.fails(2, &["dead-letters", "s"]);
    // Everything is only dropped when it is said so.
    bench.fails(2, &["dead-letters", "drop", "s", "t"]);
    bench.fails(2, &["query", "s", "SELECT 1", "--json", "--csv"]);
    let error = bench.fails(2, &["create", "s", "u", "--column", "n:string"]);
    assert!(error.contains("no type \"string\""), "{error}");
    bench.fails(
        2,
        &[
            "create",
            "s",
            "u",
            "--column",
            "n:int64",
            "--freshness",
            "30",
        ],
    );
    for args in [
        &["create", "s", "t", "--column", "n:int64"][..],
        &[
            "create", "s", "u", "--column", "n:int64", "--column", "n:utf8",
        ],
        &[
            "create",
            "s",
            "u",
            "--column",
            "n:int64",
            "--transforms",
            "gone.toml",
        ],
        &["ingest", "s", "u", "x.csv"],
        &["ingest", "nowhere", "t", "x.csv"],
        &["status", "nowhere"],
        &["status", "s", "u"],
        &["tier", "nowhere"],
        &["dead-letters", "s", "u"],
        &["dead-letters", "retry", "s", "u"],
        &["dead-letters", "drop", "s", "u", "--all"],
        &["query", "s", "SELECT nothing FROM t"],
        &["query", "s", "SELEKT"],
        &["plugin", "check", "gone.wasm"],
    ] {
        let error = bench.fails(1, args);
        assert!(error.starts_with("alluvium: "), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
    }
    assert!(!bench.path("nowhere").exists(), "only create makes a store");
}

#[test]
fn a_second_writer_is_told_who_holds_the_store_and_readers_work_beside_it() {
    let bench = Bench::with_table(&["n:int64"]);
    bench.write("rows.jsonl", "{\"n\": 1}\n");
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    let mut writer = bench.spawn(&["run", "s"]);
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("settling 1 table"), "{line}");

    let error = bench.fails(1, &["ingest", "s", "t", "rows.jsonl"]);
    assert!(
        error.contains(&format!("process {}", writer.id())),
        "{error}"
    );
    assert_eq!(bench.status()["rows_committed"], 1);
    bench.ok(&["verify", "s"]);
    bench.ok(&["dead-letters", "s", "t", "--json"]);

    signal(&writer, "TERM");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.last().unwrap().starts_with("stopped"), "{rest:?}");
    assert!(writer.wait().unwrap().success());
}

#[test]
fn run_settles_rows_by_their_freshness() {
    let bench = Bench::new();
    bench.ok(&[
        "create",
        "s",
        "t",
        "--column",
        "n:int64",
        "--freshness",
        "100ms",
        "--durability",
        "interval=20ms",
    ]);
    bench.write("rows.jsonl", "{\"n\": 1}\n{\"n\": 2}\n");
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    let mut runner = bench.spawn(&["run", "s"]);
    for _ in 0..300 {
        if bench.status()["rows_tiered"] == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    signal(&runner, "INT");
    assert!(runner.wait().unwrap().success());
    assert_eq!(bench.status()["rows_tiered"], 2);
    assert!(bench.ok(&["verify", "s", "t"]).contains("sound"));
}

#[test]
fn a_reader_that_leaves_early_ends_the_command_quietly() {
    let bench = Bench::with_table(&["n:int64"]);
    let mut rows = String::new();
    for n in 0..50_000 {
        writeln!(rows, "{{\"n\": {n}}}").unwrap();
    }
    bench.write("rows.jsonl", rows);
    // The rows are appended though nobody reads the acknowledgements.
    let mut child = bench.spawn(&[
        "ingest",
        "s",
        "t",
        "rows.jsonl",
        "--json",
        "--batch-rows",
        "100",
    ]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    assert_eq!(bench.status()["rows_committed"], 50_000);

    bench.ok(&["tier", "s"]);
    for form in ["--json", "--csv"] {
        let mut child = bench.spawn(&["query", "s", "SELECT * FROM t", form]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{form}");
        assert!(output.status.success(), "{form}");
    }
}

#[test]
fn a_long_table_is_printed_in_parts_of_one_width() {
    let bench = Bench::with_table(&["n:int64"]);
    let rows: String = (0..2500).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    bench.write("rows.jsonl", rows);
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    bench.ok(&["tier", "s"]);
    let text = bench.ok(&["query", "s", "SELECT n, n * 1000 AS m FROM t ORDER BY n"]);
    assert_eq!(
        text.lines().filter(|line| line.ends_with(" m")).count(),
        1,
        "one header"
    );
    assert!(text.contains("2499000") && text.ends_with("2,500 rows\n"));
    let empty = bench.ok(&["query", "s", "SELECT n FROM t WHERE n < 0"]);
    assert!(
        empty.starts_with(" n\n") && empty.ends_with("0 rows\n"),
        "{empty}"
    );
    assert_eq!(
        bench.ok(&["query", "s", "SELECT n FROM t WHERE n < 0", "--csv"]),
        "n\n"
    );
}

#[test]
fn damage_is_found_by_verify_which_then_fails() {
    let bench = Bench::with_table(&["s:utf8"]);
    let rows: String = (0..100)
        .map(|n| format!("{{\"s\": \"the text of row {n}\"}}\n"))
        .collect();
    bench.write("rows.jsonl", rows);
    bench.ok(&["ingest", "s", "t", "rows.jsonl", "--batch-rows", "10"]);
    let raw = bench.path("s/tables/t/raw");
    let segment = std::fs::read_dir(raw)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = bytes
        .windows(16)
        .position(|w| w == b"the text of row ")
        .unwrap();
    bytes[place] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let output = bench.run(&["verify", "s", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("alluvium: "), "{error}");
}

#[test]
fn what_is_no_plugin_is_refused_with_the_reason() {
    let bench = Bench::new();
    bench.write("p.wasm", b"\0asm\x01\0\0\0");
    let error = bench.fails(1, &["plugin", "check", "p.wasm"]);
    assert!(error.contains("core WebAssembly module"), "{error}");
    bench.write("p.wasm", "text");
    assert!(
        bench
            .fails(1, &["plugin", "check", "p.wasm"])
            .contains("not WebAssembly")
    );
    let error = bench.fails(2, &["plugin", "check", "p.wasm", "--config", "[]"]);
    assert!(error.contains("JSON object"), "{error}");
}

#[test]
fn an_empty_table_has_a_status() {
    let bench = Bench::with_table(&["n:int64"]);
    let status = bench.status();
    for number in [
        "rows_committed",
        "rows_durable",
        "rows_tiered",
        "lag_rows",
        "dead_letters",
        "filtered",
        "dropped",
    ] {
        assert_eq!(status[number], json!(0), "{number}");
    }
    assert_eq!(status["last_error"], json!(null));
    assert_eq!(bench.json(&["status", "s", "--json"]).len(), 1);
}
