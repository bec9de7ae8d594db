//! A plugin's author tries it on files, without a store.

use std::fs;
use std::process::{Command, Output};

use alluvium_tests::{Store, command, root};
use serde_json::{Value, json};

fn plugin_run(place: &Store, arguments: &[&str]) -> Output {
    let mut run = Command::new(command());
    run.current_dir(place.directory.path());
    let run = run.args(["plugin", "run"]).args(arguments);
    run.output().expect("the command runs")
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// A whole photo and half of one.
fn photos() -> Store {
    let place = Store::new();
    let photo = fs::read(root().join("demo/photos/chelsea.png")).expect("a photo");
    place.file("photos/a.png", &photo);
    place.file("photos/b.png", &photo[..photo.len() / 2]);
    place
}

#[test]
fn rows_that_a_plugin_fails_on_are_told_and_the_others_shown() {
    let place = photos();
    let arguments = [
        "resize-image",
        "photos",
        "--json",
        "--config",
        r#"{"width": 32}"#,
    ];
    let arguments = [
        &arguments[..],
        &["--column", "path:utf8", "--column", "image:binary"],
    ]
    .concat();
    let output = plugin_run(&place, &arguments);
    let (rows, told) = said(&output);
    assert!(output.status.success(), "{told}");
    let rows: Vec<Value> = rows
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["path"], "a.png");
    assert_eq!(rows[0]["width"], 451);
    // Base64 of what begins as a JPEG does.
    assert!(
        rows[0]["image"]
            .as_str()
            .expect("bytes")
            .starts_with("/9j/"),
        "{rows:?}"
    );
    assert!(
        told.contains("row 2: ") && told.contains("2 rows read, 1 made, 1 failed"),
        "{told}"
    );

    let output = plugin_run(&place, &[&arguments[..], &["--strict"]].concat());
    assert_eq!(output.status.code(), Some(1), "{:?}", said(&output));
}

#[test]
fn a_result_is_written_to_a_file_that_can_be_the_next_input() {
    let place = Store::new();
    let lines = [
        json!({"text": "a cat", "n": 1}),
        json!({"text": null, "n": 2}),
        json!({"text": "深い学習", "n": 3}),
    ];
    place.file("notes.jsonl", lines.map(|l| l.to_string()).join("\n"));
    let model = root().join("plugins/embed-text/models/minilm-static-128");
    let assets = ["tokenizer.json", "model.safetensors", "config.json"]
        .map(|name| format!("{name}={}", model.join(name).display()));
    let assets = assets.iter().flat_map(|asset| ["--asset", asset.as_str()]);
    let assets: Vec<&str> = assets.collect();
    for result in ["vectors.parquet", "vectors.arrow"] {
        let arguments = [
            &["embed-text", "notes.jsonl", "--output", result][..],
            &assets,
        ]
        .concat();
        let output = plugin_run(&place, &arguments);
        assert!(output.status.success(), "{:?}", said(&output));
        let again = [&["embed-text", result, "--json"][..], &assets].concat();
        let output = plugin_run(&place, &again);
        let (rows, told) = said(&output);
        assert!(output.status.success(), "{told}");
        let rows: Vec<Value> = rows
            .lines()
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect();
        let numbers: Vec<_> = rows.iter().map(|row| row["n"].as_i64()).collect();
        assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
        assert_eq!(rows[0]["vector"].as_array().map(Vec::len), Some(128));
        assert_eq!(rows[1]["vector"], Value::Null);
    }
}

#[test]
fn what_cannot_be_run_is_told_in_one_line() {
    let place = photos();
    for (arguments, reason) in [
        (&["resize-image", "photos"][..], "--column"),
        (&["resize-image", "gone.jsonl"], "gone.jsonl"),
        (
            &["resize-image", "photos", "--column", "image:binary"],
            "width",
        ),
        (
            &[
                "resize-image",
                "photos",
                "--column",
                "image:binary",
                "--config",
                r#"{"width": 9}"#,
                "--output",
                "x.txt",
            ],
            "x.txt",
        ),
    ] {
        let output = plugin_run(&place, arguments);
        let (rows, told) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {told}");
        assert!(
            rows.is_empty() && told.contains(reason) && told.trim().lines().count() == 1,
            "{told}"
        );
    }
}

#[test]
fn the_environments_cache_keeps_what_stores_and_single_runs_compile() {
    let cache = tempfile::tempdir().expect("a directory");
    let shared = cache.path().join("plugins");
    let place = Store::new().env("ALLUVIUM_PLUGIN_CACHE", &shared.to_string_lossy());
    let kept = || {
        let entries = fs::read_dir(&shared).expect("a directory").map(|entry| {
            let name = entry.expect("a file").file_name();
            name.to_string_lossy().into_owned()
        });
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    };
    place.file("notes.jsonl", r#"{"text": "one two three"}"#);
    let mut run = Command::new(command());
    run.current_dir(place.directory.path())
        .env("ALLUVIUM_PLUGIN_CACHE", &shared)
        .args(["plugin", "run", "chunk-text", "notes.jsonl"]);
    let output = run.output().expect("the command runs");
    assert!(output.status.success(), "{:?}", said(&output));
    let after_run = kept();
    assert_eq!(after_run.len(), 2, "a plugin and the key: {after_run:?}");

    let transforms = "[[transform]]\nname = \"cut\"\nplugin = \"chunk-text\"\n";
    let transforms = place.file("transforms.toml", transforms);
    let transforms = transforms.to_string_lossy().into_owned();
    let table = [
        "notes",
        "--column",
        "text:utf8",
        "--transforms",
        &transforms,
    ];
    place.run("create", table);
    assert_eq!(kept(), after_run);
    assert!(!place.path().join("cache").exists());
}
