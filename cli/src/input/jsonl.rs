//! JSON Lines: one object a line.
//!
//! In a binary column a string that starts with `@` names a file, from the JSONL file's directory
//! on; any other is base64, which has no `@` in its alphabet, so that nothing needs escaping.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::cells::{Cell, Value};
use super::rows::{RowBuilder, RowSource, Rows};
use super::{InputError, Options};
use crate::columns::Kind;

/// The longest line that is read, so that a file without line ends cannot fill the memory.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// The mark that some editors put before UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The lines of a JSONL file.
pub(super) struct Lines {
    path: PathBuf,
    base: PathBuf,
    reader: BufReader<File>,
    columns: Vec<(String, Kind, bool)>,
    index: HashMap<String, usize>,
    ignore_unknown: bool,
    buffer: Vec<u8>,
    line: u64,
    consumed: u64,
}

/// Starts to read a JSONL file.
pub(super) fn open(path: &Path, options: &Options) -> Result<Rows<Lines>, InputError> {
    let file = File::open(path).map_err(|error| InputError::file(path, error))?;
    let mut columns = Vec::new();
    let mut index = HashMap::new();
    for (position, field) in options.schema.fields().iter().enumerate() {
        let kind = Kind::of(field.data_type()).ok_or_else(|| {
            InputError::file(
                path,
                format!("column {:?} cannot be read from JSON", field.name()),
            )
        })?;
        columns.push((field.name().clone(), kind, field.is_nullable()));
        index.insert(field.name().clone(), position);
    }
    let lines = Lines {
        path: path.to_path_buf(),
        base: path.parent().unwrap_or(Path::new("")).to_path_buf(),
        reader: BufReader::with_capacity(1 << 18, file),
        columns,
        index,
        ignore_unknown: options.ignore_unknown,
        buffer: Vec::new(),
        line: 0,
        consumed: 0,
    };
    Rows::new(lines, &options.schema, options.limits)
}

impl Lines {
    /// Reads the next line that is not blank into the buffer; false at the end.
    fn read_line(&mut self) -> Result<bool, InputError> {
        loop {
            self.buffer.clear();
            let read = (&mut self.reader)
                .take(MAX_LINE_BYTES + 1)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|error| InputError::line(&self.path, self.line + 1, error))?;
            if read == 0 {
                return Ok(false);
            }
            self.line += 1;
            self.consumed += read as u64;
            if read as u64 > MAX_LINE_BYTES {
                let reason = "the line is longer than 256 MiB; name large values as \"@file\"";
                return Err(InputError::line(&self.path, self.line, reason));
            }
            if self.line == 1 && self.buffer.starts_with(BOM) {
                self.buffer.drain(..BOM.len());
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The values of the line in the buffer, one a column.
    fn values(&self) -> Result<Vec<Value<'_>>, String> {
        let mut cells: Vec<Option<Cell<'_>>> = Vec::new();
        cells.resize_with(self.columns.len(), || None);
        let mut json = serde_json::Deserializer::from_slice(&self.buffer);
        let row = Row {
            index: &self.index,
            ignore_unknown: self.ignore_unknown,
            cells: &mut cells,
        };
        row.deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| explain(&error))?;

        let mut values = Vec::with_capacity(cells.len());
        for (cell, (name, kind, nullable)) in cells.into_iter().zip(&self.columns) {
            let missing = cell.is_none();
            let value = cell
                .unwrap_or(Cell::Null)
                .into_value(*kind, &self.base)
                .map_err(|reason| format!("column {name:?}: {reason}"))?;
            if value == Value::Null && !nullable {
                let what = if missing { "is missing" } else { "is null" };
                return Err(format!("column {name:?} {what}, and the table requires it"));
            }
            values.push(value);
        }
        Ok(values)
    }
}

impl RowSource for Lines {
    fn next_row(&mut self, rows: &mut RowBuilder) -> Result<bool, InputError> {
        if !self.read_line()? {
            return Ok(false);
        }
        let values = self
            .values()
            .map_err(|reason| InputError::line(&self.path, self.line, reason))?;
        rows.push(&values);
        Ok(true)
    }

    fn consumed(&self) -> u64 {
        self.consumed
    }

    fn error(&self, reason: String) -> InputError {
        InputError::file(&self.path, reason)
    }
}

/// serde_json counts lines from the buffer's start, which is always line 1: only its column tells
/// something.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&suffix) {
        Some(reason) if error.is_data() => reason.to_owned(),
        Some(reason) => format!("{reason} at character {}", error.column()),
        None => text,
    }
}

/// Sorts the members of one object into the columns' places.
struct Row<'s, 'de> {
    index: &'s HashMap<String, usize>,
    ignore_unknown: bool,
    cells: &'s mut [Option<Cell<'de>>],
}

impl<'de> DeserializeSeed<'de> for Row<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(Cell::Text(name)) = object.next_key::<Cell<'de>>()? {
            let place = self
                .index
                .get(name.as_ref())
                .and_then(|place| self.cells.get_mut(*place));
            match place {
                Some(Some(_)) => {
                    return Err(A::Error::custom(format_args!(
                        "column {name:?} is given twice"
                    )));
                }
                Some(place) => *place = Some(object.next_value()?),
                None if self.ignore_unknown => {
                    object.next_value::<IgnoredAny>()?;
                }
                None => {
                    return Err(A::Error::custom(format_args!(
                        "the table has no column {name:?}; --ignore-unknown passes over it"
                    )));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{options, read};

    /// Writes a JSONL file beside the others in a directory.
    fn write(dir: &tempfile::TempDir, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = dir.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn every_type_is_read_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(
            &dir,
            "\u{feff}{\"s\": \"h\\u00e9\", \"b\": true, \"i\": -1, \"l\": 5, \"f\": 0.5, \"d\": 2, \"t\": \"2026-01-02T03:04:05Z\", \"v\": [1, 2]}\r\n\n{\"b\": false, \"i\": 2, \"l\": 3, \"f\": 1, \"d\": 1e300, \"t\": 0, \"v\": [0.5, -1]}",
        );
        let options = options(&[
            "b:bool",
            "i:int32",
            "l:int64",
            "f:float32",
            "d:float64",
            "s:utf8?",
            "t:timestamp",
            "v:vector[2]",
        ]);
        let (rows, error) = read(&path, &options);
        assert_eq!(error, None);
        assert_eq!(
            rows,
            [
                json!({"b": true, "i": -1, "l": 5, "f": 0.5, "d": 2.0, "s": "hé", "t": "2026-01-02T03:04:05Z", "v": [1.0, 2.0]}),
                json!({"b": false, "i": 2, "l": 3, "f": 1.0, "d": 1e300, "s": null, "t": "1970-01-01T00:00:00Z", "v": [0.5, -1.0]}),
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named_and_the_rows_before_it_are_delivered() {
        let dir = tempfile::tempdir().unwrap();
        for (bad, reason) in [
            ("{\"n\": 1", "EOF"),
            ("{\"n\": \"x\"}", "column \"n\": a string is no int32"),
            ("{\"n\": 3000000000}", "out of range"),
            ("{\"m\": 1}", "no column \"m\""),
            ("{\"n\": 1, \"n\": 2}", "given twice"),
            ("{\"n\": null}", "is null"),
            ("{}", "is missing"),
            ("[1]", "one JSON object a line"),
            ("{\"n\": 1} {\"n\": 2}", "trailing"),
        ] {
            let good = "{\"n\": 1}\n{\"n\": 2}\n\n{\"n\": 3}\n{\"n\": 4}\n";
            let path = write(&dir, format!("{good}{bad}\n{{\"n\": 5}}\n"));
            let (rows, error) = read(&path, &options(&["n:int32"]));
            let error = error.unwrap();
            assert_eq!(rows.len(), 4, "{bad}: {error}");
            assert!(error.contains("rows.jsonl, line 6: "), "{bad}: {error}");
            assert!(error.contains(reason), "{bad}: {error}");
            assert!(!error.contains("line 1 "), "{error}");
        }
    }

    #[test]
    fn invalid_utf8_is_an_error_of_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(&dir, b"{\"s\": \"a\"}\n{\"s\": \"\xff\"}\n");
        let (rows, error) = read(&path, &options(&["s:utf8"]));
        assert_eq!(rows.len(), 1);
        assert!(error.unwrap().contains("line 2"));
    }

    #[test]
    fn bytes_come_from_files_beside_the_jsonl_and_from_base64() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a.bin"), b"\x00\x01").unwrap();
        let path = write(
            &dir,
            "{\"b\": \"@sub/a.bin\"}\n{\"b\": \"AAE=\"}\n{\"b\": \"@gone.bin\"}\n",
        );
        let (rows, error) = read(&path, &options(&["b:binary"]));
        // arrow-json writes bytes as hexadecimal.
        assert_eq!(rows, [json!({"b": "0001"}), json!({"b": "0001"})]);
        let error = error.unwrap();
        assert!(
            error.contains("line 3") && error.contains("\"gone.bin\": No such file"),
            "{error}"
        );
    }

    #[test]
    fn unknown_columns_are_passed_over_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(&dir, "{\"x\": {\"y\": [1]}, \"n\": 1}\n");
        let mut options = options(&["n:int32"]);
        options.ignore_unknown = true;
        assert_eq!(read(&path, &options), (vec![json!({"n": 1})], None));
    }

    #[test]
    fn a_batch_ends_at_its_rows_or_its_bytes() {
        use super::super::Source;
        let dir = tempfile::tempdir().unwrap();
        let path = write(&dir, "{\"s\": \"0123456789\"}\n".repeat(10));
        let mut options = options(&["s:utf8"]);
        let sizes = |options: &super::Options| -> Vec<usize> {
            let source = Source::find(&path, options).unwrap();
            source
                .open(options)
                .unwrap()
                .map(|batch| batch.unwrap().num_rows())
                .collect()
        };
        assert_eq!(sizes(&options), [3, 3, 3, 1]);
        options.limits.bytes = 20;
        assert_eq!(sizes(&options), [2, 2, 2, 2, 2]);
    }
}
