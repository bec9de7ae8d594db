//! The main job, end to end: a folder of photos becomes transformed, searchable Lance rows that pylance reads.

use std::fs;

use alluvium_tests::{BUCKET, S3Server, Store, python, root};
use serde_json::{Value, json};

/// Captions of the photos; those that `golden.json` has give the vectors to expect.
const CAPTIONS: [(&str, &str); 10] = [
    ("astronaut.png", "a photo of a cat"),
    ("brick.png", "Ünïcödé naïve café — déjà vu"),
    ("broken.png", "a photo that was cut off"),
    ("camera.png", "深い学習 and 機械学習"),
    ("chelsea.png", "kitten sleeping on a sofa"),
    ("coffee.png", "espresso in a white cup on a wooden table"),
    ("hubble_deep_field.jpg", "distant galaxies in deep space"),
    ("page.png", "emoji 🚀 rocket 🐈 cat"),
    ("retina.jpg", ""),
    (
        "rocket.jpg",
        "A rocket lifts off from the launch pad at night",
    ),
];

/// Puts the photos, a truncated one among them, and their captions beside the store.
fn photos(store: &Store) -> String {
    let demo = root().join("demo/photos");
    for (name, _) in CAPTIONS.iter().filter(|(name, _)| *name != "broken.png") {
        store.file(
            &format!("photos/{name}"),
            fs::read(demo.join(name)).expect("a photo"),
        );
    }
    let whole = fs::read(demo.join("chelsea.png")).expect("a photo");
    store.file("photos/broken.png", &whole[..whole.len() / 2]);
    let lines = CAPTIONS.iter().map(|(name, caption)| {
        json!({"path": name, "caption": caption, "image": format!("@photos/{name}")}).to_string()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    let captions: serde_json::Map<String, Value> = CAPTIONS
        .iter()
        .map(|(name, caption)| ((*name).to_owned(), json!(caption)))
        .collect();
    store.file("captions.json", Value::Object(captions).to_string());
    store.file("photos.jsonl", lines).display().to_string()
}

/// The whole river, with these extra options at creation; gives the lake as pylance wants it.
fn flow(store: &Store, create: &[String], lake: &str, lake_options: &[String]) {
    let input = photos(store);
    let transforms = root().join("demo/transforms.toml").display().to_string();
    let mut arguments = vec!["photos".to_owned(), "--transforms".to_owned(), transforms];
    for column in ["path:utf8", "caption:utf8", "image:binary"] {
        arguments.extend(["--column".to_owned(), column.to_owned()]);
    }
    arguments.extend_from_slice(create);
    store.run("create", &arguments);
    store.run("ingest", ["photos", &input]);
    store.run("tier", ["photos"]);

    let directory = store.directory.path();
    let at = |name: &str| directory.join(name).display().to_string();
    let golden = root().join("plugins/embed-text/models/minilm-static-128/golden.json");
    let golden = golden.display().to_string();
    let mut arguments = vec![lake, "", "", &golden, "broken.png"];
    let (folder, captions) = (at("photos"), at("captions.json"));
    arguments[1] = &folder;
    arguments[2] = &captions;
    arguments.extend(lake_options.iter().map(String::as_str));
    let said = python("check_photos.py", &arguments);
    assert!(said.starts_with("9 photos, 8 golden vectors"), "{said}");

    let letters: Value = store
        .run("dead-letters", ["photos", "--json"])
        .lines()
        .next()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .expect("a dead letter");
    let letter = letters
        .as_array()
        .and_then(|all| all.first().cloned())
        .unwrap_or(letters);
    assert_eq!(letter["path"], "broken.png");
    assert_eq!(letter["__transform"], "thumbnail");
    assert!(
        letter["__error"].as_str().is_some_and(|e| !e.is_empty()),
        "{letter}"
    );

    let status = store.status("photos");
    assert_eq!(status["rows_committed"], 10);
    assert_eq!(status["rows_tiered"], 10);
    assert_eq!(status["dead_letters"], 1);
    assert_eq!(status["last_error"], Value::Null);
    store.run("verify", ["photos"]);

    // The letter fails again, as nothing was mended; then it is dropped.
    let said = store.run("dead-letters retry", ["photos", "--transform", "thumbnail"]);
    assert!(
        said.contains("1 dead letter retried") && said.contains("1 failed again"),
        "{said}"
    );
    let letters = store.number("SELECT count(*) FROM \"photos.dead_letters\"");
    assert_eq!(letters, 1);
    store.run("verify", ["photos"]);
    let said = store.run("dead-letters drop", ["photos", "--all"]);
    assert!(said.contains("1 dead letter dropped"), "{said}");
    let status = store.status("photos");
    assert_eq!(
        (&status["dead_letters"], &status["dropped"]),
        (&json!(0), &json!(1))
    );
    store.run("verify", ["photos"]);
}

#[test]
fn photos_become_rows_of_a_local_lake_that_pylance_reads() {
    let store = Store::new();
    let lake = store.path().join("lake/photos.lance").display().to_string();
    flow(&store, &[], &lake, &[]);
    let found = store.run(
        "search",
        [
            "photos",
            "a cat",
            "--column",
            "embedding",
            "-k",
            "1",
            "--json",
        ],
    );
    assert!(
        found.contains("\"path\":\"astronaut.png\""),
        "captioned 'a photo of a cat': {found}"
    );
}

#[test]
fn photos_become_rows_of_a_lake_on_s3_that_pylance_reads() {
    let server = S3Server::start();
    let store = server.store();
    let lake = format!("s3://{BUCKET}/photos.lance");
    let mut create = vec!["--lake".to_owned(), lake.clone()];
    create.extend(server.create_options());
    flow(&store, &create, &lake, &server.reader_options());
    let table =
        fs::read_to_string(store.path().join("tables/photos/table.json")).expect("table.json");
    assert!(
        !table.contains("testsecret1234"),
        "a secret given as env: is not stored"
    );
}

#[test]
fn a_lake_that_cannot_be_reached_is_told_at_creation_in_one_line() {
    let server = S3Server::start();
    let store = Store::new();
    let create = |lake: &str, secret: &str| {
        let mut arguments = vec![
            "photos".to_owned(),
            "--column".to_owned(),
            "n:int64".to_owned(),
            "--secrets-in-clear".to_owned(),
        ];
        arguments.extend(["--lake".to_owned(), lake.to_owned()]);
        for (name, value) in server.options() {
            let value = if name == "secret_access_key" {
                secret
            } else {
                &value
            };
            arguments.extend(["--storage-option".to_owned(), format!("{name}={value}")]);
        }
        let output = store.try_run("create", &arguments);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    for (lake, secret, advice) in [
        (
            "s3://lake/t.lance",
            "hunter2",
            "check those among the storage options",
        ),
        (
            "s3://nowhere/t.lance",
            "testsecret1234",
            "there is no such bucket; create it",
        ),
    ] {
        let error = create(lake, secret);
        assert!(
            error.contains(lake) && error.trim().lines().count() == 1,
            "{error}"
        );
        assert!(error.contains(advice), "{error}");
        assert!(!error.contains(secret), "the secret is not shown: {error}");
    }
}
