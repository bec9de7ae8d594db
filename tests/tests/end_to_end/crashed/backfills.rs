//! Backfills, while the process dies.

use alluvium_tests::{BUCKET, S3Server, Store};

use super::{ROWS, appender, assert_all_there, create, die_with, is_local};

/// Dies at every step of a backfill of three fragments, goes on, and reads what it made.
fn leaves_what_was_made(store: &Store, lake: &str, options: &[String], reads_with: &[String]) {
    create(store, options);
    let transforms = "[[transform]]\nname = \"redact\"\nplugin = \"redact\"\n\
         inputs = { text = \"text\" }\noutputs = { text = \"safe\" }\n";
    let transforms = store.file("transforms.toml", transforms);
    let mut append = appender(store);
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
    let on_disk = options.is_empty();
    let points = points
        .into_iter()
        .filter(|point| on_disk || !is_local(point));
    let transform = ["redact".to_owned()];
    for point in points {
        die_with(store, "transforms backfill", &transform, point);
        store.run("verify", ["t"]);
    }
    store.run("transforms backfill", ["t", "redact"]);
    let made = alluvium_tests::rows(lake, "safe", reads_with);
    let expected = (0..rounds * ROWS).map(|id| (id, format!("record {id}").into()));
    assert_eq!(made, expected.collect::<Vec<_>>());
    let told = store.run("transforms made-by", ["t"]);
    assert!(told.contains("100.0 %"), "{told}");
    store.run("maintain", ["t"]);
    assert_all_there(lake, reads_with, rounds * ROWS);
}

#[test]
fn dying_at_any_step_of_a_backfill_leaves_each_row_with_what_was_made_of_it() {
    let store = Store::new();
    let lake = store.path().join("lake/t.lance").display().to_string();
    leaves_what_was_made(&store, &lake, &[], &[]);
}

#[test]
fn on_s3_dying_at_any_step_of_a_backfill_leaves_each_row_with_what_was_made_of_it() {
    let server = S3Server::start();
    let lake = format!("s3://{BUCKET}/backfilled.lance");
    let mut options = vec!["--lake".to_owned(), lake.clone()];
    options.extend(server.create_options());
    leaves_what_was_made(&server.store(), &lake, &options, &server.reader_options());
}
