//! The store behind a lake goes away under load, and comes back.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alluvium_tests::{BUCKET, S3Server, Store, cache, counts, root};
use serde_json::Value;

const BATCHES: u64 = 400;
const ROWS: u64 = 50;

fn until(store: &Store, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let status = store.status("t");
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "not yet {what}: {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Appends for ten seconds or so, settling in the background as a host does: what makes the rows, and what appends them.
fn ingest(store: &Store) -> [Child; 2] {
    let mut stream = Command::new(cache().join("venv/bin/python"))
        .arg(root().join("tests/python/stream.py"))
        .args([BATCHES.to_string(), ROWS.to_string(), "0.025".to_owned()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut ingest = store.command("ingest");
    let output = stream.stdout.take().expect("a pipe");
    let ingest = ingest.args(["t", "-"]).stdin(output).stdout(Stdio::null());
    let ingest = ingest.stderr(Stdio::null()).spawn();
    [stream, ingest.expect("the command runs")]
}

#[test]
fn an_s3_server_that_is_killed_twice_under_load_costs_nothing_but_freshness() {
    let mut server = S3Server::start();
    let store = server.store();
    let lake = format!("s3://{BUCKET}/outage.lance");
    let mut create: Vec<String> = [
        "t",
        "--column",
        "id:int64",
        "--lake",
        &lake,
        "--freshness",
        "200ms",
        "--merge-at",
        "2",
        "--storage-option",
        "client_retry_timeout=1",
    ]
    .map(str::to_owned)
    .into();
    create.extend(server.create_options());
    store.run("create", &create);
    let appending = ingest(&store);
    for _ in 0..2 {
        let before = until(&store, "settled", |status| {
            status["rows_tiered"].as_u64() > Some(0)
        });
        server.stop();
        let down = until(&store, "told", |status| status["last_error"] != Value::Null);
        let committed = |status: &Value| status["rows_committed"].as_u64();
        assert!(
            committed(&down) >= committed(&before),
            "appends go on: {down}"
        );
        server.start_again();
    }
    for mut process in appending {
        let ended = process.wait().expect("it ends");
        assert!(ended.success(), "appends never noticed: {ended}");
    }
    let mut runner = store
        .command("run")
        .stdout(Stdio::null())
        .spawn()
        .expect("the command runs");
    let status = until(&store, "settled", |status| {
        status["rows_tiered"] == BATCHES * ROWS
    });
    let _ = runner.kill();
    let _ = runner.wait();
    assert_eq!(status["rows_committed"], BATCHES * ROWS);
    store.run("verify", ["t"]);
    assert_eq!(
        counts(&lake, "id", &server.reader_options()),
        (0..BATCHES * ROWS).map(|n| (n, n)).collect::<Vec<_>>()
    );
}
