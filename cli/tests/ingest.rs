//! Rows go in by the command, whatever they come as, and nothing before a mistake is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use common::{Bench, signal};
use serde_json::json;

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let names: Vec<String> = range.clone().map(|n| format!("name {n}")).collect();
    RecordBatch::try_from_iter([
        (
            "n",
            Arc::new(Int64Array::from_iter_values(range)) as ArrayRef,
        ),
        ("name", Arc::new(StringArray::from(names))),
    ])
    .unwrap()
}

#[test]
fn jsonl_goes_through_the_log_into_the_lake_and_back() {
    let bench = Bench::with_table(&["n:int64", "data:binary?", "v:vector[2]?"]);
    bench.write("files/a.bin", b"\x00\xff");
    bench.write(
        "rows.jsonl",
        "{\"n\": 1, \"data\": \"@files/a.bin\", \"v\": [1, 2]}\n{\"n\": 2, \"data\": \"AAE=\"}\n{\"n\": 3}\n",
    );
    let lines = bench.json(&[
        "ingest",
        "s",
        "t",
        "rows.jsonl",
        "--json",
        "--batch-rows",
        "2",
    ]);
    assert_eq!(lines[0], json!({"from": 0, "to": 2}));
    assert_eq!(lines[1], json!({"from": 2, "to": 3}));
    assert_eq!(lines[2]["rows"], 3);
    assert_eq!(lines.len(), 3);

    let status = bench.status();
    assert_eq!(
        (&status["rows_committed"], &status["rows_durable"]),
        (&json!(3), &json!(3))
    );
    let text = bench.ok(&["tier", "s"]);
    assert!(text.contains("t: "), "{text}");
    let status = bench.status();
    assert_eq!(
        (&status["rows_tiered"], &status["lag_rows"]),
        (&json!(3), &json!(0))
    );
    assert!(status["lake_version"].is_u64());

    let rows = bench.json(&[
        "query",
        "s",
        "SELECT n, data, v, __offset FROM t ORDER BY n",
        "--json",
    ]);
    assert_eq!(
        rows,
        [
            json!({"n": 1, "data": "AP8=", "v": [1.0, 2.0], "__offset": 0}),
            json!({"n": 2, "data": "AAE=", "v": null, "__offset": 1}),
            json!({"n": 3, "data": null, "v": null, "__offset": 2}),
        ]
    );
    let csv = bench.ok(&["query", "s", "SELECT n, data, v FROM t ORDER BY n", "--csv"]);
    assert_eq!(csv, "n,data,v\n1,AP8=,\"[1.0, 2.0]\"\n2,AAE=,\n3,,\n");
    let table = bench.ok(&["query", "s", "SELECT * FROM t ORDER BY n"]);
    assert!(
        table.contains("<2 bytes>") && table.ends_with("3 rows\n"),
        "{table}"
    );
    assert!(bench.ok(&["verify", "s"]).contains("t: sound"));
    assert!(
        bench
            .ok(&["dead-letters", "s", "t"])
            .contains("no dead letters")
    );
    assert!(bench.ok(&["status", "s"]).contains("committed"));
}

#[test]
fn csv_that_was_printed_can_be_ingested_again() {
    let bench = Bench::with_table(&[
        "n:int64",
        "data:binary?",
        "v:vector[2]?",
        "t:timestamp",
        "s:utf8?",
    ]);
    bench.write(
        "rows.jsonl",
        "{\"n\": 1, \"data\": \"AAE=\", \"v\": [0.25, -2], \"t\": \"2026-01-02T03:04:05.678Z\", \"s\": \"a, \\\"b\\\"\\nc\"}\n{\"n\": 2, \"t\": 7}\n",
    );
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    bench.ok(&["tier", "s", "t"]);
    let csv = bench.ok(&[
        "query",
        "s",
        "SELECT n, data, v, t, s FROM t WHERE __offset < 2 ORDER BY n",
        "--csv",
    ]);
    bench.write("rows.csv", csv);
    bench.ok(&["ingest", "s", "t", "rows.csv"]);
    bench.ok(&["tier", "s", "t"]);
    let rows = bench.json(&[
        "query",
        "s",
        "SELECT n, data, v, t, s FROM t ORDER BY __offset",
        "--json",
    ]);
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[0], &rows[1]), (&rows[2], &rows[3]));
}

#[test]
fn a_directory_of_files_becomes_rows_with_their_paths() {
    let bench = Bench::with_table(&["path:utf8", "image:binary"]);
    bench.write("photos/b/2.jpg", "two");
    bench.write("photos/1.jpg", "one");
    bench.write("photos/.hidden", "x");
    let text = bench.ok(&["ingest", "s", "t", "photos"]);
    assert!(
        text.starts_with("2 rows (") && text.contains("; offsets 0..2\n"),
        "{text}"
    );
    assert!(text.contains("alluvium tier s t"), "{text}");
    bench.ok(&["tier", "s"]);
    let rows = bench.json(&[
        "query",
        "s",
        "SELECT path, image FROM t ORDER BY path",
        "--json",
    ]);
    assert_eq!(
        rows,
        [
            json!({"path": "1.jpg", "image": "b25l"}),
            json!({"path": "b/2.jpg", "image": "dHdv"})
        ]
    );
}

#[test]
fn a_bad_line_is_named_and_everything_before_it_is_kept() {
    let bench = Bench::with_table(&["n:int64"]);
    bench.write(
        "rows.jsonl",
        "{\"n\": 1}\n{\"n\": 2}\n{\"n\": oops}\n{\"n\": 4}\n",
    );
    let error = bench.fails(1, &["ingest", "s", "t", "rows.jsonl"]);
    assert!(
        error.starts_with("alluvium: rows.jsonl, line 3: "),
        "{error}"
    );
    assert!(
        error.contains("the 2 rows before it are kept (offsets 0..2)"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    let status = bench.status();
    assert_eq!(
        (&status["rows_committed"], &status["rows_durable"]),
        (&json!(2), &json!(2))
    );
}

#[test]
fn a_path_that_is_wrong_is_told_before_anything_is_appended() {
    let bench = Bench::with_table(&["n:int64"]);
    bench.write("rows.jsonl", "{\"n\": 1}\n");
    bench.write("photos/a.jpg", "x");
    for path in ["gone.jsonl", "photos"] {
        let error = bench.fails(1, &["ingest", "s", "t", "rows.jsonl", path]);
        assert!(error.contains(path), "{error}");
        assert_eq!(bench.status()["rows_committed"], 0);
    }
}

#[test]
fn what_was_acknowledged_from_a_stream_survives_a_kill() {
    let bench = Bench::with_table(&["name:utf8?", "n:int64"]);
    let mut child = bench
        .command(&["ingest", "s", "t", "-", "--json"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let batch = numbers(0..10);
    let mut writer = StreamWriter::try_new(child.stdin.take().unwrap(), &batch.schema()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for from in [0, 10, 20] {
        writer.write(&numbers(from..from + 10)).unwrap();
        writer.get_mut().flush().unwrap();
        // The line comes while the stream is still open: nobody has to end it to be told.
        let line: serde_json::Value =
            serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line, json!({"from": from, "to": from + 10}));
    }
    signal(&child, "KILL");
    child.wait().unwrap();
    bench.ok(&["tier", "s"]);
    let rows = bench.json(&[
        "query",
        "s",
        "SELECT count(*) AS c, sum(n) AS s FROM t",
        "--json",
    ]);
    assert_eq!(rows, [json!({"c": 30, "s": 435})]);
}

#[test]
fn an_interrupt_keeps_what_was_appended() {
    let bench = Bench::with_table(&["name:utf8?", "n:int64"]);
    let mut child = bench
        .command(&["ingest", "s", "t", "-", "--json"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let batch = numbers(0..10);
    let mut writer = StreamWriter::try_new(child.stdin.take().unwrap(), &batch.schema()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    writer.write(&batch).unwrap();
    writer.get_mut().flush().unwrap();
    lines.next().unwrap().unwrap();
    signal(&child, "INT");
    // The command may have stopped before it sees these.
    let _ = writer
        .write(&batch)
        .and_then(|()| Ok(writer.get_mut().flush()?));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let rows = bench.status()["rows_durable"].as_u64().unwrap();
    assert!([10, 20].contains(&rows), "{rows}");
    let kept = format!("interrupted; the {rows} rows before it are kept (offsets 0..{rows})");
    assert!(error.contains(&kept), "{error}");
}

#[test]
fn the_nearest_vectors_are_found_nearest_first() {
    let bench = Bench::with_table(&["name:utf8", "v:vector[2]"]);
    bench.write(
        "rows.jsonl",
        "{\"name\": \"east\", \"v\": [1, 0]}\n{\"name\": \"north\", \"v\": [0, 1]}\n{\"name\": \"west\", \"v\": [-1, 0]}\n",
    );
    bench.ok(&["ingest", "s", "t", "rows.jsonl"]);
    bench.ok(&["tier", "s"]);
    let search = [
        "search", "s", "t", "--column", "v", "--vector", "[1, 0.1]", "--show", "name", "-k", "2",
    ];
    let rows = bench.json(&[&search[..], &["--json"]].concat());
    assert_eq!(
        (&rows[0]["name"], &rows[1]["name"]),
        (&json!("east"), &json!("north"))
    );
    assert_eq!(rows.len(), 2);
    assert!(bench.ok(&search).contains("_distance"));
    let error = bench.fails(1, &["search", "s", "t", "text", "--column", "v"]);
    assert!(error.contains("no transform makes it"), "{error}");
    bench.fails(
        1,
        &["search", "s", "t", "--column", "name", "--vector", "[1]"],
    );
    bench.fails(2, &["search", "s", "t", "--column", "v"]);
}
