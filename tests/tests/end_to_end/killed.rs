//! SIGKILL at random moments: every acknowledged record is in the lake exactly once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use alluvium_tests::{Store, counts, root};
use rand::Rng;
use serde_json::Value;

const MOMENTS: usize = 20;

fn create(store: &Store, more: &[&str]) {
    let columns = ["t", "--column", "id:int64", "--column", "text:utf8"];
    store.run("create", columns.iter().chain(more));
}

/// Lines of records with these ids.
fn records(ids: std::ops::Range<u64>) -> String {
    ids.map(|id| format!("{{\"id\": {id}, \"text\": \"record number {id}\"}}\n"))
        .collect()
}

/// Kills with SIGKILL, as `Child::kill` does, and waits.
fn kill(mut child: std::process::Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn pause(most: Duration) {
    std::thread::sleep(rand::rng().random_range(Duration::ZERO..most));
}

/// Reads the acknowledgements of an `ingest --json` as they come, and kills it soon after so many.
/// Gives the offsets that were acknowledged, as ranges.
fn ingest_and_kill(mut run: Command, after: usize) -> Vec<(u64, u64)> {
    let mut child = run
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"))
        .lines()
        .map_while(Result::ok);
    let mut output: Vec<_> = lines.by_ref().take(after).collect();
    pause(Duration::from_millis(20));
    kill(child);
    output.extend(lines);
    let acknowledged = output.iter().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        Some((line.get("from")?.as_u64()?, line.get("to")?.as_u64()?))
    });
    acknowledged.collect()
}

/// Everything in the lake, as (offset, id).
fn lake(store: &Store) -> Vec<(u64, u64)> {
    counts(store.path().join("lake/t.lance"), "id", &[])
}

/// The settled dead letters: offsets and ids.
fn dead_letters(store: &Store) -> Vec<(u64, u64)> {
    counts(store.path().join("lake/t.dead_letters.lance"), "id", &[])
}

fn ingest_killed_at_random_moments(durability: &str, background: &str) {
    let store = Store::new();
    create(
        &store,
        &["--durability", durability, "--freshness", background],
    );
    let mut next = 0;
    // offset -> id
    let mut acknowledged = BTreeMap::new();
    let mut kills_that_hit = 0;
    for _ in 0..MOMENTS {
        let first = next;
        next += 200_000;
        let input = store.file("records.jsonl", records(first..next));
        let mut run = store.command("ingest");
        run.args(["t", "--json", "--batch-rows", "500"]).arg(input);
        // Of 400 batches: counted, not timed, as a fast machine is done in half a second.
        let pieces = ingest_and_kill(run, rand::rng().random_range(0..200));
        let mut id = first;
        for (from, to) in &pieces {
            for offset in *from..*to {
                assert!(
                    acknowledged.insert(offset, id).is_none(),
                    "offset {offset} was given out twice"
                );
                id += 1;
            }
        }
        kills_that_hit += usize::from(id < next);
    }
    assert!(
        kills_that_hit > MOMENTS / 2,
        "most kills must come before the end: {kills_that_hit}"
    );
    assert!(!acknowledged.is_empty());
    store.run("tier", ["t"]);
    store.run("verify", ["t"]);
    let rows = lake(&store);
    let found: BTreeMap<u64, u64> = rows.iter().copied().collect();
    assert_eq!(found.len(), rows.len(), "an offset is in the lake twice");
    for (offset, id) in &acknowledged {
        assert_eq!(
            found.get(offset),
            Some(id),
            "offset {offset} was acknowledged"
        );
    }
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        (0..rows.len() as u64).collect::<Vec<_>>()
    );
}

#[test]
fn ingest_survives_being_killed_while_rows_are_buffered() {
    ingest_killed_at_random_moments("buffered", "1h");
}

#[test]
fn ingest_survives_being_killed_while_rows_are_synced_and_tiered_behind_it() {
    ingest_killed_at_random_moments("sync", "50ms");
}

/// Kills `tier` again and again, each time with a little more to do, and lets it end at last.
fn tier_killed_at_random_moments(store: &Store, most: Duration) {
    let more = store.file("more.jsonl", records(0..50));
    for _ in 0..MOMENTS {
        let mut run = store.command("tier");
        run.arg("t").stdout(Stdio::null()).stderr(Stdio::null());
        let child = run.spawn().expect("the command runs");
        pause(most);
        kill(child);
        store.run("ingest", ["t".as_ref(), more.as_os_str()]);
    }
    store.run("tier", ["t"]);
}

#[test]
fn tiering_survives_being_killed() {
    let store = Store::new();
    create(&store, &["--freshness", "1h"]);
    let input = store.file("records.jsonl", records(0..400_000));
    store.run("ingest", ["t".as_ref(), input.as_os_str()]);
    tier_killed_at_random_moments(&store, Duration::from_millis(600));
    store.run("verify", ["t"]);
    let offsets: Vec<u64> = lake(&store).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(
        offsets,
        (0..400_000 + 50 * MOMENTS as u64).collect::<Vec<_>>()
    );
}

#[test]
fn tiering_with_transforms_and_dead_letters_survives_being_killed() {
    let store = Store::new();
    let model = root().join("plugins/embed-text/models/minilm-static-128");
    let photo = root().join("demo/photos/page.png").display().to_string();
    let transforms = format!(
        "[[transform]]\nname = \"thumbnail\"\nplugin = \"resize-image\"\nconfig = {{ width = 16 }}\n\
         inputs = {{ image = \"image\" }}\noutputs = {{ image = \"thumbnail\" }}\n\
         [[transform]]\nname = \"embedding\"\nplugin = \"embed-text\"\ninputs = {{ text = \"text\" }}\noutputs = {{ vector = \"embedding\" }}\n\
         [transform.assets]\n\"tokenizer.json\" = \"{0}/tokenizer.json\"\n\"model.safetensors\" = \"{0}/model.safetensors\"\n\"config.json\" = \"{0}/config.json\"\n",
        model.display()
    );
    let transforms = store
        .file("transforms.toml", transforms)
        .display()
        .to_string();
    create(
        &store,
        &[
            "--column",
            "image:binary",
            "--transforms",
            &transforms,
            "--freshness",
            "1h",
        ],
    );
    const ROWS: u64 = 400;
    let is_broken = |id: u64| id % 10 == 3;
    let lines = (0..ROWS).map(|id| {
        let image = if is_broken(id) {
            "bm8gaW1hZ2U=".to_owned()
        } else {
            format!("@{photo}")
        };
        serde_json::json!({"id": id, "text": format!("record {id}"), "image": image}).to_string()
    });
    let input = store.file("records.jsonl", lines.collect::<Vec<_>>().join("\n"));
    store.run("ingest", ["t".as_ref(), input.as_os_str()]);
    for _ in 0..MOMENTS {
        let mut run = store.command("tier");
        let child = run
            .arg("t")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command runs");
        pause(Duration::from_secs(4));
        kill(child);
    }
    store.run("tier", ["t"]);
    store.run("verify", ["t"]);
    let ids: Vec<u64> = lake(&store).into_iter().map(|(_, id)| id).collect();
    assert_eq!(
        ids,
        (0..ROWS).filter(|id| !is_broken(*id)).collect::<Vec<_>>()
    );
    let status = store.status("t");
    assert_eq!(
        status["dead_letters"],
        ROWS / 10,
        "each once, however often its round was begun"
    );
    let broken: Vec<u64> = dead_letters(&store).into_iter().map(|(o, _)| o).collect();
    assert_eq!(
        broken,
        (0..ROWS).filter(|id| is_broken(*id)).collect::<Vec<_>>()
    );
}

#[test]
fn retrying_dead_letters_survives_being_killed() {
    let store = Store::new();
    let transforms = |on_error: &str| {
        format!(
            "[[transform]]\nname = \"thumbnail\"\nplugin = \"resize-image\"\nconfig = {{ width = 16 }}\n\
             inputs = {{ image = \"image\" }}\noutputs = {{ image = \"thumbnail\" }}\non_error = \"{on_error}\"\n"
        )
    };
    let strict = store.file("strict.toml", transforms("dead-letter"));
    let lenient = store.file("lenient.toml", transforms("null"));
    let strict = strict.display().to_string();
    let more = ["--column", "image:binary", "--freshness", "1h"];
    create(&store, &[&more[..], &["--transforms", &strict]].concat());
    const ROWS: u64 = 160;
    let line = |id| format!("{{\"id\": {id}, \"text\": \"x\", \"image\": \"bm8gaW1hZ2U=\"}}\n");
    let input = store.file("records.jsonl", (0..ROWS).map(line).collect::<String>());
    store.run("ingest", ["t".as_ref(), input.as_os_str()]);
    store.run("tier", ["t"]);
    assert_eq!(dead_letters(&store).len() as u64, ROWS);
    store.run("transforms set", ["t".as_ref(), lenient.as_os_str()]);
    let mut moved = 0;
    for moment in 1..=MOMENTS as u64 {
        let mut run = store.command("dead-letters retry");
        run.args(["t", "--limit", "7"]);
        let child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        // Ever longer, as a busy machine takes its time.
        pause(Duration::from_millis(100 * moment));
        kill(child.expect("the command runs"));
        store.run("verify", ["t"]);
        let left = store.status("t")["dead_letters"].as_u64().expect("a count");
        moved += u64::from(left < ROWS);
    }
    assert!(moved > 0, "no retry got anywhere before it was killed");
    store.run("dead-letters retry", ["t"]);
    store.run("verify", ["t"]);
    let offsets: Vec<u64> = lake(&store).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..ROWS).collect::<Vec<_>>());
    assert_eq!(dead_letters(&store), []);
}
