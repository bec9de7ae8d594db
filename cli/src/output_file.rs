//! A file of rows: Parquet or Arrow IPC, by its ending.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use tempfile::NamedTempFile;

use crate::failure::{Failure, Outcome};

/// A file that has its name once it is whole.
pub(crate) struct OutputFile {
    path: PathBuf,
    file: NamedTempFile,
    writer: Writer,
}

enum Writer {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<File>>),
}

impl OutputFile {
    /// Begins a file beside the one that it will take the place of.
    pub(crate) fn create(path: &Path, schema: &SchemaRef) -> Outcome<Self> {
        let failed = |error: &dyn std::error::Error| cannot_write(path, error);
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
        let file = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")));
        let file = file.map_err(|error| failed(&error))?;
        let writer = Writer::new(path, file.reopen().map_err(|error| failed(&error))?, schema)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            writer,
        })
    }

    /// Writes a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Outcome {
        let failed = |error: &dyn std::error::Error| cannot_write(&self.path, error);
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(batch).map_err(|error| failed(&error)),
            Writer::Arrow(writer) => writer.write(batch).map_err(|error| failed(&error)),
        }
    }

    /// Ends the file and gives it its name.
    pub(crate) fn finish(self) -> Outcome {
        let Self { path, file, writer } = self;
        let failed = |error: &dyn std::error::Error| cannot_write(&path, error);
        match writer {
            Writer::Parquet(writer) => writer.close().map(drop).map_err(|error| failed(&error))?,
            Writer::Arrow(mut writer) => writer.finish().map_err(|error| failed(&error))?,
        }
        file.persist(&path)
            .map(drop)
            .map_err(|error| failed(&error.error))
    }
}

impl Writer {
    fn new(path: &Path, file: File, schema: &Schema) -> Outcome<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        match ending.to_lowercase().as_str() {
            "parquet" => ArrowWriter::try_new(file, schema.clone().into(), None)
                .map(|writer| Self::Parquet(Box::new(writer)))
                .map_err(|error| cannot_write(path, &error)),
            "arrow" | "feather" | "ipc" => FileWriter::try_new(file, schema)
                .map(|writer| Self::Arrow(Box::new(writer)))
                .map_err(|error| cannot_write(path, &error)),
            _ => Err(Failure::new(format!(
                "{}: its extension tells no format; name a .parquet or .arrow file, or print with --json or --csv",
                path.display()
            ))),
        }
    }
}

fn cannot_write(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::of(format_args!("cannot write {}", path.display()), error)
}
