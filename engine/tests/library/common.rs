//! What the tests of the library share.

use std::path::Path;
use std::sync::Arc;

use alluvium::{Store, StoreOptions, Table};
use arrow_array::{Int64Array, RecordBatch};

/// Rows of one column, "n".
pub(crate) fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let column = Int64Array::from_iter_values(range);
    RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap()
}

/// A store that tiers when it is asked to.
pub(crate) fn manual(path: &Path) -> Store {
    StoreOptions::new().tiering(false).open(path).unwrap()
}

pub(crate) fn assert_healthy(table: &Table) {
    let report = table.verify().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// Copies a directory and what is in it.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let there = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_directory(&path, &there),
            false => drop(std::fs::copy(&path, &there).unwrap()),
        }
    }
}
