//! What `ingest` reads: each source becomes batches of the table's schema.

mod arrow_ipc;
mod cells;
mod csv;
mod directory;
mod guess;
mod jsonl;
mod parquet;
mod rows;
mod shape;

use std::fmt;
use std::path::{Path, PathBuf};

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;

pub(crate) use guess::schema_of;
pub(crate) use shape::batch_bytes;

/// How large a batch may grow: whichever limit is met first ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rows in a batch.
    pub(crate) rows: usize,
    /// Bytes in a batch; a single row may be larger.
    pub(crate) bytes: usize,
}

/// How the sources are read.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The table's schema, which every batch gets.
    pub(crate) schema: SchemaRef,
    /// How large a batch may grow.
    pub(crate) limits: Limits,
    /// Whether columns that the table doesn't have are passed over instead of refused.
    pub(crate) ignore_unknown: bool,
}

/// Why a source could not be read on, and where in it.
#[derive(Debug)]
pub(crate) struct InputError {
    /// The file, and the line or row in it.
    place: String,
    /// What is wrong there.
    reason: String,
}

impl InputError {
    /// Something wrong with a file as a whole.
    fn file(path: &Path, reason: impl fmt::Display) -> Self {
        Self {
            place: path.display().to_string(),
            reason: reason.to_string(),
        }
    }

    /// Something wrong with one line of a file, counted from 1.
    fn line(path: &Path, line: u64, reason: impl fmt::Display) -> Self {
        Self {
            place: format!("{}, line {line}", path.display()),
            reason: reason.to_string(),
        }
    }

    /// Something wrong with one row of a source, counted from 1.
    fn row(source: &str, row: u64, reason: impl fmt::Display) -> Self {
        Self {
            place: format!("{source}, row {row}"),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl std::error::Error for InputError {}

/// Batches of the table's schema, in the source's order. After an error there is nothing more;
/// the rows before it were handed out.
pub(crate) trait Reader: Iterator<Item = Result<RecordBatch, InputError>> {
    /// How many bytes of the source were read so far, for a progress bar.
    fn consumed(&self) -> u64;
}

/// Where rows come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// One JSON object a line.
    Jsonl(PathBuf),
    /// Comma-separated values with a header.
    Csv(PathBuf),
    /// A Parquet file.
    Parquet(PathBuf),
    /// An Arrow IPC file or stream.
    Arrow(PathBuf),
    /// An Arrow IPC stream on standard input.
    Stdin,
    /// A directory, each file one row.
    Directory(PathBuf),
}

impl Source {
    /// Finds out what a path holds, and whether it can fit the table at all, so that a mistake on
    /// the command line is told before anything is appended.
    pub(crate) fn find(path: &Path, options: &Options) -> Result<Self, InputError> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdin);
        }
        let metadata = std::fs::metadata(path)
            .map_err(|error| InputError::file(path, format!("cannot be read: {error}")))?;
        if metadata.is_dir() {
            directory::Plan::new(path, &options.schema)?;
            return Ok(Self::Directory(path.to_path_buf()));
        }
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let path = path.to_path_buf();
        match extension.as_str() {
            "jsonl" | "ndjson" => Ok(Self::Jsonl(path)),
            "csv" => Ok(Self::Csv(path)),
            "parquet" => Ok(Self::Parquet(path)),
            "arrow" | "arrows" | "feather" | "ipc" => Ok(Self::Arrow(path)),
            _ => Err(InputError::file(
                &path,
                "its extension tells no format; name a .jsonl, .ndjson, .csv, .parquet, .arrow, .arrows or .feather \
                 file, a directory whose files are the rows, or - for an Arrow IPC stream",
            )),
        }
    }

    /// The size in bytes, where it can be known beforehand.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Jsonl(path) | Self::Csv(path) | Self::Parquet(path) | Self::Arrow(path) => {
                let metadata = std::fs::metadata(path).ok()?;
                metadata.is_file().then_some(metadata.len())
            }
            Self::Stdin => None,
            Self::Directory(path) => directory::size(path),
        }
    }

    /// Starts to read.
    pub(crate) fn open(&self, options: &Options) -> Result<Box<dyn Reader>, InputError> {
        Ok(match self {
            Self::Jsonl(path) => Box::new(jsonl::open(path, options)?),
            Self::Csv(path) => Box::new(csv::open(path, options)?),
            Self::Parquet(path) => parquet::open(path, options)?,
            Self::Arrow(path) => arrow_ipc::open(path, options)?,
            Self::Stdin => arrow_ipc::open_stdin(options)?,
            Self::Directory(path) => Box::new(directory::open(path, options)?),
        })
    }
}

/// What the tests of the readers share.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::columns::{parse_column, schema};

    /// Options for a table of the given columns, three rows a batch.
    pub(super) fn options(columns: &[&str]) -> Options {
        let columns: Vec<_> = columns.iter().map(|c| parse_column(c).unwrap()).collect();
        Options {
            schema: schema(&columns).unwrap(),
            limits: Limits {
                rows: 3,
                bytes: 1 << 20,
            },
            ignore_unknown: false,
        }
    }

    /// Reads to the end: the rows as JSON objects, and the error that ended them.
    pub(super) fn drain(reader: &mut dyn Reader) -> (Vec<serde_json::Value>, Option<String>) {
        let mut rows = Vec::new();
        for batch in reader {
            match batch {
                Ok(batch) => {
                    let mut writer = ::arrow::json::WriterBuilder::new()
                        .with_explicit_nulls(true)
                        .build::<_, ::arrow::json::writer::LineDelimited>(Vec::new());
                    writer.write(&batch).unwrap();
                    writer.finish().unwrap();
                    for line in writer.into_inner().split(|b| *b == b'\n') {
                        if !line.is_empty() {
                            rows.push(serde_json::from_slice(line).unwrap());
                        }
                    }
                }
                Err(error) => return (rows, Some(error.to_string())),
            }
        }
        (rows, None)
    }

    /// Opens a path as the command does and reads it to the end.
    pub(super) fn read(path: &Path, options: &Options) -> (Vec<serde_json::Value>, Option<String>) {
        let opened = Source::find(path, options).and_then(|source| source.open(options));
        match opened {
            Ok(mut reader) => drain(reader.as_mut()),
            Err(error) => (Vec::new(), Some(error.to_string())),
        }
    }

    #[test]
    fn an_unknown_extension_is_refused_with_the_ones_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.txt");
        std::fs::write(&path, "x").unwrap();
        let error = read(&path, &options(&["a:utf8"])).1.unwrap();
        assert!(
            error.contains("rows.txt") && error.contains(".jsonl"),
            "{error}"
        );
        let error = read(&dir.path().join("none.csv"), &options(&["a:utf8"]))
            .1
            .unwrap();
        assert!(error.contains("No such file"), "{error}");
    }
}
