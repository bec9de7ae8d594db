//! The process dies between any two steps of a round or of maintenance: what was appended is settled exactly once.
//!
//! Where [`killed`](super::killed) is random, this is exhaustive: every point that the engine names (`crash.rs`) is died at.

use std::os::unix::process::ExitStatusExt;

use alluvium_tests::{BUCKET, S3Server, Store, counts, python, root};

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

/// Every step of an alteration: of its three commits each that of the manifest is died at.
const ALTERATION: [&str; 12] = [
    "alter: begins",
    "alter: written down",
    "commit: manifest written#1",
    "commit: manifest named#1",
    "alter: columns cast",
    "commit: manifest written#2",
    "commit: manifest named#2",
    "alter: columns added",
    "commit: manifest written#3",
    "commit: manifest named#3",
    "alter: lake altered",
    "alter: ended",
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

fn is_local(point: &str) -> bool {
    point.starts_with("commit: manifest")
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
fn die_everywhere(store: &Store, on_disk: bool) -> u64 {
    let at = |points: &[&'static str]| -> Vec<&'static str> {
        let points = points.iter().filter(|point| on_disk || !is_local(point));
        points.copied().collect()
    };
    let mut append = appender(store);
    append(5000);
    let round: Vec<_> = at(&ROUND)
        .into_iter()
        .filter(|point| !point.contains("staged"))
        .collect();
    die_in_rounds(store, &round, || append(ROWS));
    store.run("index create", ["t", "id", "--kind", "btree"]);
    let mut appended = 5000 + ROWS * round.len() as u64;
    for point in at(&MAINTENANCE) {
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

fn assert_all_there(lake: &str, options: &[String], rows: u64) {
    let found = counts(lake, "id", options);
    assert_eq!(found, (0..rows).map(|n| (n, n)).collect::<Vec<_>>());
}

#[test]
fn on_disk_dying_at_any_step_loses_and_doubles_nothing() {
    let store = Store::new();
    create(&store, &[]);
    let rows = die_everywhere(&store, true);
    let lake = store.path().join("lake/t.lance").display().to_string();
    assert_all_there(&lake, &[], rows);
    let status = store.status("t");
    let indexed = &status["indices"][0];
    assert_eq!(indexed["segments"], 1, "{status}");
    assert_eq!(status["maintenance"]["orphan_bytes"], 0, "{status}");
}

#[test]
fn on_s3_dying_at_any_step_loses_and_doubles_nothing() {
    let server = S3Server::start();
    let store = server.store();
    let lake = format!("s3://{BUCKET}/crashed.lance");
    let mut more = vec!["--lake".to_owned(), lake.clone()];
    more.extend(server.create_options());
    create(&store, &more);
    let rows = die_everywhere(&store, false);
    assert_all_there(&lake, &server.reader_options(), rows);
}

#[test]
fn with_dead_letters_dying_at_any_step_of_a_round_keeps_each_once() {
    let store = Store::new();
    let transforms = "[[transform]]\nname = \"thumbnail\"\nplugin = \"resize-image\"\nconfig = { width = 16 }\n\
         inputs = { image = \"image\" }\noutputs = { image = \"thumbnail\" }\n";
    let transforms = store
        .file("transforms.toml", transforms)
        .display()
        .to_string();
    create(
        &store,
        &[
            "--column".into(),
            "image:binary".into(),
            "--transforms".into(),
            transforms,
        ],
    );
    let photo = root().join("demo/photos/page.png").display().to_string();
    let is_broken = |id: u64| id % 10 == 3;
    let mut next = 0;
    die_in_rounds(&store, &ROUND, || {
        let lines = (next..next + ROWS).map(|id| {
            let image = if is_broken(id) {
                "bm8gaW1hZ2U=".to_owned()
            } else {
                format!("@{photo}")
            };
            serde_json::json!({"id": id, "text": "", "image": image}).to_string()
        });
        let input = store.file("rows.jsonl", lines.collect::<Vec<_>>().join("\n"));
        store.run("ingest", ["t".as_ref(), input.as_os_str()]);
        next += ROWS;
    });
    let found = counts(store.path().join("lake/t.lance"), "id", &[]);
    let expected: Vec<_> = (0..next)
        .filter(|id| !is_broken(*id))
        .map(|id| (id, id))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(store.status("t")["dead_letters"], next / 10);
}

/// Alters a table once for each point, dying there, with rows that are tiered before and rows that are not. Gives how many
/// rows there are, and how often it was altered.
fn die_altering(store: &Store, more: &[String], on_disk: bool) -> (u64, usize) {
    let points = ALTERATION
        .iter()
        .filter(|point| on_disk || !is_local(point));
    let points: Vec<_> = points.collect();
    let mut options = more.to_vec();
    for turn in 0..points.len() {
        options.extend(["--column".to_owned(), format!("wide{turn}:int32")]);
        options.extend(["--column".to_owned(), format!("old{turn}:utf8?")]);
    }
    create(store, &options);
    let mut next = 0;
    let mut append = |turns: usize| {
        let lines = (next..next + ROWS).map(|id| {
            let mut row = serde_json::json!({"id": id, "text": ""});
            for turn in 0..turns {
                row[format!("wide{turn}")] = id.into();
                row[format!("old{turn}")] = "old".into();
                row[format!("new{turn}")] = "new".into();
            }
            row.to_string()
        });
        let input = store.file("rows.jsonl", lines.collect::<Vec<_>>().join("\n"));
        let arguments = ["t".as_ref(), input.as_os_str(), "--ignore-unknown".as_ref()];
        store.run("ingest", arguments);
        next += ROWS;
    };
    for (turn, point) in points.iter().enumerate() {
        append(points.len());
        store.run("tier", ["t"]);
        append(points.len());
        let arguments = [
            format!("--widen=wide{turn}:int64"),
            format!("--add=new{turn}:utf8?"),
            format!("--drop=old{turn}"),
        ];
        die_with(store, "alter", &arguments, point);
        // Nothing was written down yet: the columns are the old ones.
        if point.starts_with("alter: begins") {
            store.run("alter", ["t".to_owned()].iter().chain(&arguments));
        }
        append(points.len());
        store.run("tier", ["t"]);
        store.run("verify", ["t"]);
    }
    (next, points.len())
}

/// The lake has the columns of after, whoever reads it.
fn assert_altered(lake: &str, options: &[String], rows: u64, turns: usize) {
    let read = |column: &str| alluvium_tests::rows(lake, column, options);
    let ids: Vec<_> = (0..rows).map(|id| (id, id.into())).collect();
    for turn in 0..turns {
        assert_eq!(read(&format!("wide{turn}")), ids);
        let added = (3 * turn as u64 + 2) * ROWS;
        for (offset, value) in read(&format!("new{turn}")) {
            assert_eq!(value.is_string(), offset >= added, "{turn}: {offset}");
        }
    }
    let arguments = std::iter::once(lake).chain(options.iter().map(String::as_str));
    let columns = python("columns.py", &arguments.collect::<Vec<_>>());
    let columns: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&columns).expect("JSON");
    assert!(
        columns.keys().all(|name| !name.starts_with("old")),
        "{columns:?}"
    );
    let mut wide = columns.iter().filter(|(name, _)| name.starts_with("wide"));
    assert!(wide.all(|(_, kind)| kind == "int64"), "{columns:?}");
}

#[test]
fn on_disk_dying_at_any_step_of_an_alteration_leaves_the_columns_of_before_or_of_after() {
    let store = Store::new();
    let (rows, turns) = die_altering(&store, &[], true);
    let lake = store.path().join("lake/t.lance").display().to_string();
    assert_altered(&lake, &[], rows, turns);
}

#[test]
fn on_s3_dying_at_any_step_of_an_alteration_leaves_the_columns_of_before_or_of_after() {
    let server = S3Server::start();
    let store = server.store();
    let lake = format!("s3://{BUCKET}/altered.lance");
    let mut more = vec!["--lake".to_owned(), lake.clone()];
    more.extend(server.create_options());
    let (rows, turns) = die_altering(&store, &more, false);
    assert_altered(&lake, &server.reader_options(), rows, turns);
}

/// Dies at every step of a backfill of three fragments, goes on, and reads what it made.
#[test]
fn dying_at_any_step_of_a_backfill_leaves_each_row_with_what_was_made_of_it() {
    let store = Store::new();
    create(&store, &[]);
    let transforms = "[[transform]]\nname = \"redact\"\nplugin = \"redact\"\n\
         inputs = { text = \"text\" }\noutputs = { text = \"safe\" }\n";
    let transforms = store.file("transforms.toml", transforms);
    let mut append = appender(&store);
    let rounds = 3;
    for _ in 0..rounds {
        append(ROWS);
        store.run("tier", ["t"]);
    }
    store.run("transforms set", ["t".as_ref(), transforms.as_os_str()]);
    let points = [
        "backfill: written#1",
        "commit: manifest written#1",
        "commit: manifest named#1",
        "backfill: committed#1",
        "backfill: written#2",
        "commit: ended#1",
    ];
    let lake = store.path().join("lake/t.lance").display().to_string();
    let transform = ["redact".to_owned()];
    for point in points {
        die_with(&store, "transforms backfill", &transform, point);
        store.run("verify", ["t"]);
    }
    store.run("transforms backfill", ["t", "redact"]);
    let made = alluvium_tests::rows(&lake, "safe", &[]);
    let expected = (0..rounds * ROWS).map(|id| (id, format!("record {id}").into()));
    assert_eq!(made, expected.collect::<Vec<_>>());
    let told = store.run("transforms made-by", ["t"]);
    assert!(told.contains("100.0 %"), "{told}");
    store.run("maintain", ["t"]);
    assert_all_there(&lake, &[], rounds * ROWS);
}
