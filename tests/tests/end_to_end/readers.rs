//! pylance, DuckDB and LanceDB read a lake while it is written, merged, indexed and cleaned.

use alluvium_tests::{Store, python};

#[test]
fn readers_in_python_see_every_row_once_while_the_lake_is_written_and_maintained() {
    let store = Store::new();
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
    store.run("create", columns);
    store.run("index create", ["t", "id", "--kind", "btree"]);
    store.run("tier", ["t"]);
    let lake = store.path().join("lake/t.lance").display().to_string();
    let stop = store.directory.path().join("stop");
    let name = stop.display().to_string();
    let reading = std::thread::spawn(move || python("readers.py", &[&lake, &name]));
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
