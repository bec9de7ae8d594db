//! How a new lake lays out its rows: blobs, thresholds, the version of the file format.

use arrow_array::{BinaryArray, LargeBinaryArray};

use super::*;

fn pictures(range: std::ops::Range<i32>, images: Vec<Option<Vec<u8>>>) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(range));
    let images: ArrayRef = Arc::new(BinaryArray::from_iter(images));
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int32, false),
        Field::new("image", DataType::Binary, true),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![numbers, images]).unwrap()
}

/// Nothing, nothing in it, in the data file, in a file with others, in a file of its own.
fn of_all_sizes() -> Vec<Option<Vec<u8>>> {
    let of = |bytes: usize| (0..bytes).map(|at| (at * 7 + bytes) as u8).collect();
    vec![
        None,
        Some(vec![]),
        Some(of(100)),
        Some(of(100 << 10)),
        Some(of(5 << 20)),
    ]
}

fn binaries(fixture: &Fixture, column: &str) -> Vec<Option<Vec<u8>>> {
    let arrays = fixture.lake(column);
    let each = arrays.iter().flat_map(|array| {
        let binaries = arrow_cast::cast(array, &DataType::LargeBinary).unwrap();
        let binaries: &LargeBinaryArray = binaries.as_binary();
        binaries
            .iter()
            .map(|b| b.map(<[u8]>::to_vec))
            .collect::<Vec<_>>()
    });
    each.collect()
}

/// The files below the lake's data directory with an ending, and their bytes.
fn files(fixture: &Fixture, ending: &str) -> (usize, u64) {
    fn below(directory: &Path, ending: &str) -> (usize, u64) {
        let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        entries.fold((0, 0), |(count, bytes), entry| {
            let path = entry.path();
            let (more, more_bytes) = match path.is_dir() {
                true => below(&path, ending),
                false if path.extension().is_some_and(|e| e == ending) => {
                    (1, entry.metadata().unwrap().len())
                }
                false => (0, 0),
            };
            (count + more, bytes + more_bytes)
        })
    }
    below(&fixture.path().join("lake/t.lance/data"), ending)
}

#[test]
fn blobs_of_every_size_read_as_the_binaries_that_were_appended_also_once_merged() {
    let mut fixture = Fixture::new();
    let options = TableOptions::new(pictures(0..1, vec![None]).schema()).blob_columns(["image"]);
    let policy = Maintenance::default().merge_at(2).keep_versions(1);
    let policy = policy
        .keep_versions_for(std::time::Duration::ZERO)
        .orphans_after(std::time::Duration::ZERO);
    let table = fixture.create(options.maintenance(policy));
    let mut expected = Vec::new();
    for round in 0..3 {
        let first = round * 5;
        let _ = table
            .append(&pictures(first..first + 5, of_all_sizes()))
            .unwrap();
        table.flush_to_lake().unwrap();
        expected.extend(of_all_sizes());
    }
    assert_eq!(binaries(&fixture, "image"), expected);
    let (data_files, bytes) = files(&fixture, "lance");
    assert!(data_files == 3 && bytes < 64 << 10, "{data_files} {bytes}");
    let (_, outside) = files(&fixture, "blob");
    assert!(outside > 3 * (5 << 20), "{outside}");
    table.maintain().unwrap();
    assert_eq!(table.status().unwrap().maintenance.compactions, 1);
    let table = fixture.reopen();
    assert_eq!(binaries(&fixture, "image"), expected);
    table.maintain().unwrap();
    let (_, after) = files(&fixture, "blob");
    assert!(
        after < outside + (1 << 20),
        "{after} bytes of blobs are left of {outside}"
    );
    assert_healthy(&table);
}

#[test]
fn a_threshold_alone_makes_blobs_of_every_binary_that_is_large_enough() {
    let mut fixture = Fixture::new();
    let options = TableOptions::new(pictures(0..1, vec![None]).schema()).blobs_above(1000);
    let table = fixture.create(options);
    let images = vec![Some(vec![1; 999]), Some(vec![2; 1000])];
    let _ = table.append(&pictures(0..2, images.clone())).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(binaries(&fixture, "image"), images);
    assert_eq!(files(&fixture, "blob"), (1, 1000));
    let added = add("more", DataType::LargeBinary);
    table.alter(&[added]).unwrap();
    let more: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values([vec![3u8; 5000]]));
    let image: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"x"]));
    let n: ArrayRef = Arc::new(Int32Array::from(vec![2]));
    let rows = RecordBatch::try_from_iter([("n", n), ("image", image), ("more", more)]);
    let _ = table.append(&rows.unwrap()).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(
        binaries(&fixture, "more"),
        [None, None, Some(vec![3; 5000])]
    );
    assert_eq!(files(&fixture, "blob"), (2, 6000));
    assert_healthy(&table);
}

#[test]
fn a_lake_that_is_there_keeps_its_layout_whatever_a_table_asks_for() {
    let folder = TempDir::new().unwrap();
    let uri = folder.path().join("shared.lance").display().to_string();
    let schema = pictures(0..1, vec![None]).schema();
    let options = || TableOptions::new(Arc::clone(&schema)).lake(&uri);
    let mut first = Fixture::new();
    let table = first.create(options().blobs_above(10));
    let _ = table
        .append(&pictures(0..1, vec![Some(vec![7; 100])]))
        .unwrap();
    table.flush_to_lake().unwrap();
    let mut second = Fixture::new();
    let table = second.create(options().bucket(1));
    let _ = table
        .append(&pictures(0..1, vec![Some(vec![8; 100])]))
        .unwrap();
    table.flush_to_lake().unwrap();
    let mut images = binaries(&second, "image");
    images.sort();
    assert_eq!(images, [Some(vec![7; 100]), Some(vec![8; 100])]);
}

#[test]
fn a_lake_is_written_in_the_version_that_was_asked_for() {
    for version in ["2.0", "2.1", "2.2"] {
        let mut fixture = Fixture::new();
        let schema = pictures(0..1, vec![None]).schema();
        let table = fixture.create(TableOptions::new(schema).storage_version(version));
        let _ = table
            .append(&pictures(0..1, vec![Some(vec![1; 10])]))
            .unwrap();
        table.flush_to_lake().unwrap();
        assert_eq!(binaries(&fixture, "image"), [Some(vec![1; 10])]);
        assert_eq!(version_of(&fixture), version);
        assert_healthy(&table);
    }
}

/// The last bytes of a data file: the version's two numbers, and the magic (Lance's file format).
fn version_of(fixture: &Fixture) -> String {
    let data = fixture.path().join("lake/t.lance/data");
    let file = std::fs::read_dir(data).unwrap().next().unwrap().unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    let [major, _, minor, _, b'L', b'A', b'N', b'C'] = bytes[bytes.len() - 8..] else {
        panic!("not a data file of Lance");
    };
    // 2.0 says of itself that it is 0.3.
    match (major, minor) {
        (0, 3) => "2.0".to_owned(),
        (major, minor) => format!("{major}.{minor}"),
    }
}

#[test]
fn a_layout_that_cannot_be_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    let store = manual(&fixture.path());
    let schema = pictures(0..1, vec![None]).schema();
    let options = || TableOptions::new(Arc::clone(&schema));
    for (options, reason) in [
        (options().storage_version("2.1").blobs_above(1), "2.2"),
        (options().storage_version("7"), "none of 2.0, 2.1, 2.2, 2.3"),
        (options().blob_columns(["photo"]), "no such column"),
        (options().blob_columns(["n"]), "Int32"),
    ] {
        let refused = store.create_table("t", options).unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    assert!(store.table_names().unwrap().is_empty());
}
