//! Backfills, while the process dies.

use alluvium_tests::{Place, S3Server, Store};

use super::{ROWS, appender, assert_all_there, create, die_with, points};

/// Every step of a backfill.
const BACKFILL: [&str; 6] = [
    "backfill: written#1",
    "commit: manifest written#1",
    "commit: manifest named#1",
    "backfill: committed#1",
    "backfill: written#2",
    "commit: ended#1",
];

/// Dies at every step of a backfill of three fragments, goes on, and reads what it made.
fn leaves_what_was_made(store: &Store, place: &Place) {
    create(store, &place.options);
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
    let transform = ["redact".to_owned()];
    for point in points(place, &BACKFILL) {
        die_with(store, "transforms backfill", &transform, point);
        store.run("verify", ["t"]);
    }
    store.run("transforms backfill", ["t", "redact"]);
    let made = alluvium_tests::rows(&place.lake, "safe", &place.reads_with);
    let expected = (0..rounds * ROWS).map(|id| (id, format!("record {id}").into()));
    assert_eq!(made, expected.collect::<Vec<_>>());
    let told = store.run("transforms made-by", ["t"]);
    assert!(told.contains("100.0 %"), "{told}");
    store.run("maintain", ["t"]);
    assert_all_there(place, rounds * ROWS);
}

#[test]
fn dying_at_any_step_of_a_backfill_leaves_each_row_with_what_was_made_of_it() {
    let store = Store::new();
    leaves_what_was_made(&store, &Place::on_disk(&store));
}

#[test]
fn on_s3_dying_at_any_step_of_a_backfill_leaves_each_row_with_what_was_made_of_it() {
    let server = S3Server::start();
    leaves_what_was_made(&server.store(), &Place::on_s3(&server, "backfilled"));
}
