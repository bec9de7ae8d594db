//! Comma-separated values, with the columns' names in the first line.
//!
//! An empty field is null, save in a utf8 column that may not be null, where it is an empty text.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::cells::{Value, from_text};
use super::rows::{RowBuilder, RowSource, Rows};
use super::{InputError, Options};
use crate::columns::Kind;

/// A column of the table and where the file has it.
struct Column {
    name: String,
    kind: Kind,
    nullable: bool,
    place: Option<usize>,
}

/// The records of a CSV file.
pub(super) struct Records {
    path: PathBuf,
    base: PathBuf,
    reader: Reader<File>,
    columns: Vec<Column>,
    record: StringRecord,
}

/// Starts to read a CSV file.
pub(super) fn open(path: &Path, options: &Options) -> Result<Rows<Records>, InputError> {
    let file = File::open(path).map_err(|error| InputError::file(path, error))?;
    let mut reader = ReaderBuilder::new()
        .buffer_capacity(1 << 18)
        .from_reader(file);
    let header = reader
        .headers()
        .map_err(|error| InputError::line(path, 1, error))?
        .clone();
    let wrong = |reason: String| InputError::line(path, 1, reason);

    let mut columns = Vec::new();
    for field in options.schema.fields() {
        let name = field.name().clone();
        let mut places = header
            .iter()
            .enumerate()
            .filter(|(_, title)| *title == name);
        let place = places.next().map(|(place, _)| place);
        if places.next().is_some() {
            return Err(wrong(format!("column {name:?} is there twice")));
        }
        if place.is_none() && !field.is_nullable() {
            return Err(wrong(format!(
                "column {name:?} is missing, and the table requires it"
            )));
        }
        let kind = Kind::of(field.data_type())
            .ok_or_else(|| wrong(format!("column {name:?} cannot be read from CSV")))?;
        columns.push(Column {
            name,
            kind,
            nullable: field.is_nullable(),
            place,
        });
    }
    if !options.ignore_unknown {
        let unknown = header
            .iter()
            .find(|title| columns.iter().all(|c| c.name != **title));
        if let Some(title) = unknown {
            return Err(wrong(format!(
                "the table has no column {title:?}; --ignore-unknown passes over it"
            )));
        }
    }
    let records = Records {
        path: path.to_path_buf(),
        base: path.parent().unwrap_or(Path::new("")).to_path_buf(),
        reader,
        columns,
        record: StringRecord::new(),
    };
    Rows::new(records, &options.schema, options.limits)
}

impl Records {
    /// The values of the record that was read last.
    fn values(&self) -> Result<Vec<Value<'_>>, String> {
        let mut values = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let text = column
                .place
                .and_then(|place| self.record.get(place))
                .unwrap_or_default();
            let empty_text = column.kind == Kind::Utf8 && !column.nullable;
            let value = if text.is_empty() && !empty_text {
                Value::Null
            } else {
                from_text(text, column.kind, &self.base)
                    .map_err(|reason| format!("column {:?}: {reason}", column.name))?
            };
            if value == Value::Null && !column.nullable {
                return Err(format!(
                    "column {:?} is empty, and the table requires it",
                    column.name
                ));
            }
            values.push(value);
        }
        Ok(values)
    }

    /// An error of the record that starts at a byte of the file.
    fn wrong(&self, byte: u64, reason: impl std::fmt::Display) -> InputError {
        match line_at(&self.path, byte) {
            Ok(line) => InputError::line(&self.path, line, reason),
            Err(_) => InputError::file(&self.path, reason),
        }
    }
}

/// The line on which the record at a byte starts. Counted anew for the message: the parser's own
/// count is one behind in files with CR LF, and does not see the blank lines before a record.
fn line_at(path: &Path, byte: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut line = 1;
    let mut before = reader.by_ref().take(byte);
    loop {
        let chunk = before.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        line += chunk.iter().filter(|b| **b == b'\n').count() as u64;
        let read = chunk.len();
        before.consume(read);
    }
    for byte in reader.bytes() {
        match byte? {
            b'\n' => line += 1,
            b'\r' => {}
            _ => break,
        }
    }
    Ok(line)
}

impl RowSource for Records {
    fn next_row(&mut self, rows: &mut RowBuilder) -> Result<bool, InputError> {
        let byte = self.reader.position().byte();
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                return Err(match error.kind() {
                    ErrorKind::Utf8 { err, .. } => {
                        self.wrong(byte, format!("field {} is not UTF-8", err.field() + 1))
                    }
                    ErrorKind::UnequalLengths {
                        expected_len, len, ..
                    } => self.wrong(
                        byte,
                        format!("the record has {len} fields, the header {expected_len}"),
                    ),
                    _ => self.wrong(byte, error),
                });
            }
        }
        let values = self.values().map_err(|reason| self.wrong(byte, reason))?;
        rows.push(&values);
        Ok(true)
    }

    fn consumed(&self) -> u64 {
        self.reader.position().byte()
    }

    fn error(&self, reason: String) -> InputError {
        InputError::file(&self.path, reason)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{options, read};

    fn write(dir: &tempfile::TempDir, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = dir.path().join("rows.csv");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn nulls_quotes_and_every_type_are_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.bin"), b"\x07").unwrap();
        let path = write(
            &dir,
            "\u{feff}s,n,t,v,b,must\r\n\"a, \"\"b\"\"\r\nc\",1,2026-01-02T03:04:05Z,\"[1, 2]\",@a.bin,\r\n,,,,,x\r\n",
        );
        let options = options(&[
            "must:utf8",
            "n:int64?",
            "s:utf8?",
            "t:timestamp?",
            "v:vector[2]?",
            "b:binary?",
            "gone:bool?",
        ]);
        let (rows, error) = read(&path, &options);
        assert_eq!(error, None);
        assert_eq!(
            rows,
            [
                json!({"must": "", "n": 1, "s": "a, \"b\"\r\nc", "t": "2026-01-02T03:04:05Z", "v": [1.0, 2.0], "b": "07", "gone": null}),
                json!({"must": "x", "n": null, "s": null, "t": null, "v": null, "b": null, "gone": null}),
            ]
        );
    }

    #[test]
    fn a_bad_record_is_named_by_the_line_it_starts_on() {
        let dir = tempfile::tempdir().unwrap();
        for end in ["\n", "\r\n"] {
            for (bad, reason) in [
                ("x,y", "column \"n\": \"x\" is no int32"),
                ("1", "1 fields, the header 2"),
                (",y", "column \"n\" is empty"),
                ("99999999999,y", "out of range"),
            ] {
                let lines = [
                    "n,s", "1,\"two", "lines\"", "", "2,b", "3,c", "4,d", bad, "5,e",
                ];
                let path = write(&dir, lines.join(end));
                let (rows, error) = read(&path, &options(&["n:int32", "s:utf8"]));
                let error = error.unwrap();
                assert_eq!(rows.len(), 4, "{error}");
                assert!(error.contains("rows.csv, line 8: "), "{end:?} {error}");
                assert!(error.contains(reason), "{error}");
            }
        }
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(&dir, "n,other\n1,2\n");
        let error = read(&path, &options(&["n:int32"])).1.unwrap();
        assert!(
            error.contains("line 1: the table has no column \"other\""),
            "{error}"
        );
        let error = read(&path, &options(&["n:int32", "other:int32", "m:bool"]))
            .1
            .unwrap();
        assert!(error.contains("column \"m\" is missing"), "{error}");
        let path = write(&dir, "n,n\n1,2\n");
        let error = read(&path, &options(&["n:int32"])).1.unwrap();
        assert!(error.contains("there twice"), "{error}");
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_of_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(&dir, b"s\na\n\xff\n");
        let (rows, error) = read(&path, &options(&["s:utf8"]));
        assert_eq!(rows.len(), 1);
        assert!(error.unwrap().contains("line 3: field 1 is not UTF-8"));
    }
}
