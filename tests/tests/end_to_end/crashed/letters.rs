//! Dead letters, while the process dies.

use alluvium_tests::{Place, S3Server, Store, counts, root};

use super::{ROUND, ROWS, create, die_in_rounds, die_with, points};

/// Every step of a retry: a commit to the lake, and one to the dataset of the letters.
const RETRY: [&str; 8] = [
    "commit: begins#1",
    "commit: manifest written#1",
    "commit: manifest named#1",
    "commit: ended#1",
    "commit: begins#2",
    "commit: manifest written#2",
    "commit: manifest named#2",
    "commit: ended#2",
];

/// The transform, with what becomes of a row that it fails on.
fn transforms(store: &Store, on_error: &str) -> String {
    let transforms = format!(
        "[[transform]]\nname = \"thumbnail\"\nplugin = \"resize-image\"\nconfig = {{ width = 16 }}\n\
         inputs = {{ image = \"image\" }}\noutputs = {{ image = \"thumbnail\" }}\non_error = \"{on_error}\"\n"
    );
    let file = store.file(&format!("{on_error}.toml"), transforms);
    file.display().to_string()
}

fn is_broken(id: u64) -> bool {
    id % 10 == 3
}

/// Makes a table of pictures; gives what appends rows, of which one in ten has none.
fn pictures<'a>(store: &'a Store, place: &Place) -> impl FnMut() -> u64 + 'a {
    let mut options = vec!["--column".to_owned(), "image:binary".to_owned()];
    options.extend(["--transforms".to_owned(), transforms(store, "dead-letter")]);
    options.extend(place.options.iter().cloned());
    create(store, &options);
    let photo = root().join("demo/photos/page.png").display().to_string();
    let mut next = 0;
    move || {
        let lines = (next..next + ROWS).map(|id| {
            let image = match is_broken(id) {
                true => "bm8gaW1hZ2U=".to_owned(),
                false => format!("@{photo}"),
            };
            serde_json::json!({"id": id, "text": "", "image": image}).to_string()
        });
        let input = store.file("rows.jsonl", lines.collect::<Vec<_>>().join("\n"));
        store.run("ingest", ["t".as_ref(), input.as_os_str()]);
        next += ROWS;
        next
    }
}

fn keeps_each_letter_once(store: &Store, place: &Place) {
    let mut append = pictures(store, place);
    let mut next = 0;
    die_in_rounds(store, &points(place, &ROUND), || next = append());
    let found = counts(&place.lake, "id", &place.reads_with);
    let sound = (0..next).filter(|id| !is_broken(*id));
    assert_eq!(found, sound.map(|id| (id, id)).collect::<Vec<_>>());
    assert_eq!(store.status("t")["dead_letters"], next / 10);
}

#[test]
fn with_dead_letters_dying_at_any_step_of_a_round_keeps_each_once() {
    let store = Store::new();
    keeps_each_letter_once(&store, &Place::on_disk(&store));
}

#[test]
fn on_s3_with_dead_letters_dying_at_any_step_of_a_round_keeps_each_once() {
    let server = S3Server::start();
    keeps_each_letter_once(&server.store(), &Place::on_s3(&server, "letters"));
}

fn lets_each_letter_in_once(store: &Store, place: &Place) {
    let mut append = pictures(store, place);
    let mut next = 0;
    let set = |on_error: &str| {
        let file = transforms(store, on_error);
        store.run("transforms set", ["t".to_owned(), file]);
    };
    for point in points(place, &RETRY) {
        set("dead-letter");
        append();
        store.run("tier", ["t"]);
        set("null");
        die_with(store, "dead-letters retry", &[], point);
        // The next process finds what became of it, whatever it is for.
        next = append();
        store.run("tier", ["t"]);
        store.run("dead-letters retry", ["t"]);
        assert_eq!(store.status("t")["dead_letters"], 0, "{point}");
    }
    store.run("verify", ["t"]);
    let found = counts(&place.lake, "id", &place.reads_with);
    assert_eq!(found, (0..next).map(|id| (id, id)).collect::<Vec<_>>());
}

#[test]
fn dying_at_any_step_of_a_retry_lets_each_dead_letter_in_once() {
    let store = Store::new();
    lets_each_letter_in_once(&store, &Place::on_disk(&store));
}

#[test]
fn on_s3_dying_at_any_step_of_a_retry_lets_each_dead_letter_in_once() {
    let server = S3Server::start();
    lets_each_letter_in_once(&server.store(), &Place::on_s3(&server, "retried"));
}
