//! pylance, DuckDB and LanceDB read a lake while it is written, merged, indexed and cleaned.

use alluvium_tests::{Place, S3Server, Store, python};

fn readers_see_every_row_once(store: &Store, place: &Place) {
    let columns = [
        "t",
        "--column",
        "id:int64",
        "--freshness",
        "50ms",
        "--merge-at",
        "2",
        "--keep-versions-for",
        "20s",
    ];
    let columns = columns.map(str::to_owned);
    store.run("create", columns.iter().chain(&place.options));
    store.run("index create", ["t", "id", "--kind", "btree"]);
    store.run("tier", ["t"]);
    let stop = store.directory.path().join("stop");
    let mut arguments = vec![place.lake.clone(), stop.display().to_string()];
    arguments.extend(place.reads_with.iter().cloned());
    let reading = std::thread::spawn(move || {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        python("readers.py", &arguments)
    });
    for step in 0..8_u64 {
        let ids = (step * 2000..(step + 1) * 2000).map(|id| format!("{{\"id\": {id}}}\n"));
        let input = store.file("rows.jsonl", ids.collect::<String>());
        store.run(
            "ingest",
            ["t", "--batch-rows", "100", &input.display().to_string()],
        );
        store.run("tier", ["t"]);
        store.run("maintain", ["t"]);
    }
    std::fs::write(stop, "").expect("a file");
    let said = reading.join().expect("the readers agree");
    assert!(said.contains("16000 rows at last"), "{said}");
    let status = store.status("t");
    assert!(
        status["indices"][0]["indexed_rows"].as_u64() > Some(0),
        "{status}"
    );
    store.run("verify", ["t"]);
}

#[test]
fn readers_in_python_see_every_row_once_while_the_lake_is_written_and_maintained() {
    let store = Store::new();
    readers_see_every_row_once(&store, &Place::on_disk(&store));
}

#[test]
fn on_s3_readers_in_python_see_every_row_once_while_the_lake_is_written_and_maintained() {
    let server = S3Server::start();
    readers_see_every_row_once(&server.store(), &Place::on_s3(&server, "read"));
}
