//! Files that batches are added to: Arrow IPC and Parquet.
//!
//! Neither is readable before its footer is there, which is not measured: both are given more than they keep.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Mutex;

use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::lane::{Lane, Opening, Promise};
use crate::samples::Sample;

/// A writer, and its file to sync beside it.
struct Shared<W> {
    writer: Mutex<W>,
    file: File,
    sync: bool,
}

impl<W> Shared<W> {
    fn open(opening: &Opening<'_>, make: impl FnOnce(File) -> W) -> Self {
        let file = File::create_new(opening.directory.join("file")).expect("a file");
        Self {
            writer: Mutex::new(make(file.try_clone().expect("a descriptor"))),
            file,
            sync: opening.promise == Promise::Power,
        }
    }

    /// Writes under the lock, syncs beside it.
    fn append(&self, write: impl FnOnce(&mut W)) {
        write(&mut *self.writer.lock().expect("the writer"));
        if self.sync {
            self.file.sync_data().expect("synced");
        }
    }
}

pub(super) fn open_ipc(opening: &Opening<'_>) -> Box<dyn Lane> {
    Box::new(Shared::open(opening, |file| {
        FileWriter::try_new(BufWriter::new(file), &opening.samples.schema).expect("a writer")
    }))
}

impl Lane for Shared<FileWriter<BufWriter<File>>> {
    fn append(&self, _producer: usize, sample: &Sample) {
        self.append(|writer| {
            writer.write(&sample.batch).expect("written");
            writer.get_mut().flush().expect("flushed");
        });
    }
}

/// A row group for each batch, as plain as Parquet can be.
pub(super) fn open_parquet(opening: &Opening<'_>) -> Box<dyn Lane> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    Box::new(Shared::open(opening, |file| {
        let schema = opening.samples.schema.clone();
        ArrowWriter::try_new(file, schema, Some(properties)).expect("a writer")
    }))
}

impl Lane for Shared<ArrowWriter<File>> {
    fn append(&self, _producer: usize, sample: &Sample) {
        self.append(|writer| {
            writer.write(&sample.batch).expect("written");
            writer.flush().expect("a row group");
            writer.sync().expect("flushed");
        });
    }
}
