//! Alterations, while the process dies.

use alluvium_tests::{Place, S3Server, Store, python};

use super::{ROWS, create, die_with, points};

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

/// Alters a table once for each point, dying there, with rows that are tiered before and rows that are not. Gives how many
/// rows there are, and how often it was altered.
fn die_altering(store: &Store, place: &Place) -> (u64, usize) {
    let points = points(place, &ALTERATION);
    let mut options = place.options.clone();
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
fn assert_altered(place: &Place, rows: u64, turns: usize) {
    let (lake, options) = (place.lake.as_str(), &place.reads_with);
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
    let place = Place::on_disk(&store);
    let (rows, turns) = die_altering(&store, &place);
    assert_altered(&place, rows, turns);
}

#[test]
fn on_s3_dying_at_any_step_of_an_alteration_leaves_the_columns_of_before_or_of_after() {
    let server = S3Server::start();
    let place = Place::on_s3(&server, "altered");
    let (rows, turns) = die_altering(&server.store(), &place);
    assert_altered(&place, rows, turns);
}
