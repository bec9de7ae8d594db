//! Many engines tier into one dataset, each under its bucket.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use alluvium_tests::{BUCKET, S3Server, Store, counts};
use serde_json::Value;

const ENGINES: u64 = 4;
const STEPS: u64 = 5;
const ROWS: u64 = 200;

/// A store of its own, as on a machine of its own, with a table in the shared lake.
fn engine(bucket: u64, lake: &str, server: &S3Server) -> Store {
    let store = server.store();
    let bucket = bucket.to_string();
    let mut arguments = vec![
        "t",
        "--column",
        "id:int64",
        "--lake",
        lake,
        "--bucket",
        &bucket,
        "--freshness",
        "200ms",
        "--merge-at",
        "4",
        "--keep-versions-for",
        "30s",
    ];
    let options = server.create_options();
    arguments.extend(options.iter().map(String::as_str));
    store.run("create", arguments);
    store
}

fn append(store: &Store, step: u64) {
    let ids = (step * ROWS..(step + 1) * ROWS).map(|id| format!("{{\"id\": {id}}}\n"));
    let input = store.file("rows.jsonl", ids.collect::<String>());
    store.run("ingest", ["t".as_ref(), input.as_os_str()]);
}

fn run(store: &Store) -> Child {
    let mut run = store.command("run");
    let run = run.stdout(Stdio::null()).stderr(Stdio::null());
    run.spawn().expect("the command runs")
}

fn until_settled(store: &Store, rows: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let status = store.status("t");
        if status["rows_tiered"] == rows {
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn four_engines_tier_into_one_lake_on_s3_and_each_goes_on_where_it_was() {
    let server = S3Server::start();
    let lake = format!("s3://{BUCKET}/fleet.lance");
    let stores: Vec<Store> = (0..ENGINES)
        .map(|bucket| engine(bucket, &lake, &server))
        .collect();
    for step in 0..STEPS {
        stores.iter().for_each(|store| append(store, step));
        // All at once; each is killed when its rows are settled, or in the middle of something.
        let engines: Vec<Child> = stores.iter().map(run).collect();
        for (number, (store, mut engine)) in stores.iter().zip(engines).enumerate() {
            if (number as u64 + step).is_multiple_of(2) {
                until_settled(store, (step + 1) * ROWS);
            }
            let _ = engine.kill();
            let _ = engine.wait();
        }
    }
    for store in &stores {
        store.run("tier", ["t"]);
        store.run("verify", ["t"]);
    }
    let mut rows = counts(&lake, "__bucket", &server.reader_options());
    rows.sort_unstable();
    let expected =
        (0..STEPS * ROWS).flat_map(|offset| (0..ENGINES).map(move |bucket| (offset, bucket)));
    assert_eq!(rows, expected.collect::<Vec<_>>());
    let maintenance = &stores[0].status("t")["maintenance"];
    assert_eq!(maintenance["last_error"], Value::Null, "{maintenance}");
}

#[test]
fn an_engine_that_takes_the_bucket_of_another_is_refused() {
    let first = Store::new();
    let lake = first
        .directory
        .path()
        .join("shared.lance")
        .display()
        .to_string();
    let create = ["t", "--column", "id:int64", "--lake", &lake];
    first.run("create", create);
    append(&first, 0);
    first.run("tier", ["t"]);
    let second = Store::new();
    let output = second.try_run("create", create);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.contains("another bucket"),
        "{told}"
    );
    second.run("create", create.iter().chain(&["--bucket", "1"]));
}
