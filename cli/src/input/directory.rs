//! A directory: each file in it, however deep, is one row.

use std::fs;
use std::path::{Path, PathBuf};

use std::borrow::Cow;

use arrow::datatypes::SchemaRef;

use super::cells::{Value, read_file};
use super::rows::{RowBuilder, RowSource, Rows};
use super::{InputError, Options};
use crate::columns::Kind;

/// The column that gets a file's path.
const PATH_COLUMN: &str = "path";

/// Which columns the files fill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    columns: usize,
    bytes: usize,
    path: Option<usize>,
}

impl Plan {
    /// Finds the table's one binary column and its `path`; every other column must be nullable.
    pub(super) fn new(directory: &Path, schema: &SchemaRef) -> Result<Self, InputError> {
        let wrong = |reason: String| {
            Err(InputError::file(
                directory,
                format!("a directory's files are rows of bytes, but {reason}"),
            ))
        };
        let mut binary = Vec::new();
        let mut path = None;
        for (index, field) in schema.fields().iter().enumerate() {
            match Kind::of(field.data_type()) {
                Some(Kind::Binary) => binary.push(index),
                Some(Kind::Utf8) if field.name() == PATH_COLUMN => path = Some(index),
                _ if !field.is_nullable() => {
                    return wrong(format!(
                        "column {:?} may not be null and no file can fill it; make it nullable, or ingest a .jsonl \
                         file that names the files as \"@file\"",
                        field.name()
                    ));
                }
                _ => {}
            }
        }
        match binary.as_slice() {
            [bytes] => Ok(Self {
                columns: schema.fields().len(),
                bytes: *bytes,
                path,
            }),
            [] => wrong("the table has no binary column to hold them".to_owned()),
            _ => wrong(format!(
                "the table has {} binary columns, and which of them holds the bytes is not clear; ingest a .jsonl \
                 file that names the files as \"@file\"",
                binary.len()
            )),
        }
    }
}

/// Starts to read a directory.
pub(super) fn open(directory: &Path, options: &Options) -> Result<Rows<Files>, InputError> {
    let files = Files {
        plan: Plan::new(directory, &options.schema)?,
        root: directory.to_path_buf(),
        walk: Walk::new(directory)?,
        consumed: 0,
    };
    Rows::new(files, &options.schema, options.limits)
}

/// The bytes in all the files, or nothing where they can't be counted.
pub(super) fn size(directory: &Path) -> Option<u64> {
    let mut total = 0;
    for path in Walk::new(directory).ok()? {
        total += fs::metadata(path.ok()?).ok()?.len();
    }
    Some(total)
}

/// The files of a directory as rows.
pub(super) struct Files {
    plan: Plan,
    root: PathBuf,
    walk: Walk,
    consumed: u64,
}

impl RowSource for Files {
    fn next_row(&mut self, rows: &mut RowBuilder) -> Result<bool, InputError> {
        let Some(path) = self.walk.next().transpose()? else {
            return Ok(false);
        };
        let mut values = vec![Value::Null; self.plan.columns];
        if let Some(value) = self.plan.path.and_then(|place| values.get_mut(place)) {
            *value = Value::Text(Cow::Owned(relative(&self.root, &path)?));
        }
        let bytes = read_file(&path).map_err(|error| InputError::file(&path, error))?;
        self.consumed += bytes.len() as u64;
        if let Some(value) = values.get_mut(self.plan.bytes) {
            *value = Value::Bytes(bytes);
        }
        rows.push(&values);
        Ok(true)
    }

    fn consumed(&self) -> u64 {
        self.consumed
    }

    fn error(&self, reason: String) -> InputError {
        InputError::file(&self.root, reason)
    }
}

/// A file's path from the directory on, its parts joined by `/` on every system.
fn relative(root: &Path, path: &Path) -> Result<String, InputError> {
    let mut parts = Vec::new();
    for part in path.strip_prefix(root).unwrap_or(path).components() {
        let part = part.as_os_str().to_str().ok_or_else(|| {
            InputError::file(
                path,
                "its name is not UTF-8, and column \"path\" holds text only; rename it",
            )
        })?;
        parts.push(part);
    }
    Ok(parts.join("/"))
}

/// The files under a directory, sorted by name, directories in their place among them. What is
/// hidden is skipped, and so are links to directories, which may lead in a circle.
struct Walk {
    /// What is still to be visited, the next one last.
    waiting: Vec<PathBuf>,
}

impl Walk {
    fn new(directory: &Path) -> Result<Self, InputError> {
        let mut walk = Self {
            waiting: Vec::new(),
        };
        walk.enter(directory)?;
        Ok(walk)
    }

    fn enter(&mut self, directory: &Path) -> Result<(), InputError> {
        let failed = |error| InputError::file(directory, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.waiting
            .extend(names.into_iter().map(|name| directory.join(name)));
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(path) = self.waiting.pop() {
            let kind =
                fs::symlink_metadata(&path).and_then(|link| Ok((link, fs::metadata(&path)?)));
            let (link, target) = match kind {
                Ok(found) => found,
                Err(error) => return Some(Err(InputError::file(&path, error))),
            };
            if target.is_file() {
                return Some(Ok(path));
            }
            if link.is_dir() {
                if let Err(error) = self.enter(&path) {
                    return Some(Err(error));
                }
            } else {
                tracing::warn!(path = %path.display(), "skipped: neither a file nor a directory of its own");
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{options, read};

    #[test]
    fn nested_files_come_sorted_with_their_paths_and_hidden_ones_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["b/c", ".git"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for (file, bytes) in [
            ("z.bin", "\u{1}"),
            ("a.bin", "\u{2}"),
            ("b/c/d.bin", "\u{3}"),
            ("b/.hidden", "x"),
            (".git/x", "x"),
        ] {
            std::fs::write(dir.path().join(file), bytes).unwrap();
        }
        // A circle must not be walked forever.
        std::os::unix::fs::symlink(dir.path(), dir.path().join("b/circle")).unwrap();
        let (rows, error) = read(
            dir.path(),
            &options(&["image:binary", "path:utf8", "note:utf8?"]),
        );
        assert_eq!(error, None);
        assert_eq!(
            rows,
            [
                json!({"image": "02", "path": "a.bin", "note": null}),
                json!({"image": "03", "path": "b/c/d.bin", "note": null}),
                json!({"image": "01", "path": "z.bin", "note": null}),
            ]
        );
        assert_eq!(super::size(dir.path()), Some(3));
    }

    #[test]
    fn a_table_that_files_cannot_fill_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (columns, reason) in [
            (&["path:utf8"][..], "no binary column"),
            (&["a:binary", "b:binary?"][..], "2 binary columns"),
            (
                &["a:binary", "caption:utf8"][..],
                "column \"caption\" may not be null",
            ),
        ] {
            let error = read(dir.path(), &options(columns)).1.unwrap();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_broken_link_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "x").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("b")).unwrap();
        let (rows, error) = read(dir.path(), &options(&["image:binary"]));
        assert_eq!(rows.len(), 1);
        assert!(error.unwrap().contains("/b: No such file"));
    }
}
