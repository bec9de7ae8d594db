//! Arrow IPC: files and streams, told apart by their first bytes.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::record_batch::RecordBatch;

use super::shape::{Meter, Shaped, Shaper};
use super::{InputError, Options, Reader};

/// What an IPC file starts with; a stream doesn't.
const MAGIC: &[u8] = b"ARROW1";

/// What each message of a stream starts with, before its length.
const CONTINUATION: &[u8] = b"\xff\xff\xff\xff";

/// The largest schema that is believed: the reader reserves what a length says before it reads.
const MAX_SCHEMA_BYTES: i32 = 64 << 20;

/// Starts to read an IPC file or a stream in a file.
pub(super) fn open(path: &Path, options: &Options) -> Result<Box<dyn Reader>, InputError> {
    let failed = |reason: &dyn std::fmt::Display| InputError::file(path, reason);
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let head = head(&mut file).map_err(|error| failed(&error))?;
    let (file, count) = Counted::new(file);
    let mut file = BufReader::with_capacity(1 << 18, file);
    let name = path.display().to_string();
    if head.starts_with(MAGIC) {
        let reader = FileReader::try_new(file, None).map_err(|error| failed(&error))?;
        return shaped(name, &reader.schema(), reader, count, options);
    }
    check_stream(&head).map_err(|reason| failed(&reason))?;
    file.rewind().map_err(|error| failed(&error))?;
    let reader = StreamReader::try_new(file, None).map_err(|error| failed(&error))?;
    shaped(name, &reader.schema(), reader, count, options)
}

/// Starts to read a stream on standard input.
pub(super) fn open_stdin(options: &Options) -> Result<Box<dyn Reader>, InputError> {
    const NAME: &str = "standard input";
    let failed = |reason: &dyn std::fmt::Display| InputError::file(Path::new(NAME), reason);
    let (mut reader, count) = Counted::new(std::io::stdin());
    let head = head(&mut reader).map_err(|error| failed(&error))?;
    if head.starts_with(MAGIC) {
        return Err(failed(
            &"it is an Arrow IPC file, which cannot be read from a pipe; write a stream, or give the file's path",
        ));
    }
    check_stream(&head).map_err(|reason| failed(&reason))?;
    let reader = BufReader::with_capacity(1 << 18, Cursor::new(head).chain(reader));
    let reader = StreamReader::try_new(reader, None).map_err(|error| failed(&error))?;
    shaped(NAME.to_owned(), &reader.schema(), reader, count, options)
}

/// The first bytes, which tell the format; fewer where there are no more.
fn head(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(8).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether a stream can start so.
fn check_stream(head: &[u8]) -> Result<(), &'static str> {
    if head.is_empty() {
        return Err("it is empty; an Arrow IPC stream has a schema at least");
    }
    let length = head
        .strip_prefix(CONTINUATION)
        .and_then(|rest| rest.try_into().ok());
    match length.map(i32::from_le_bytes) {
        Some(1..=MAX_SCHEMA_BYTES) => Ok(()),
        _ => Err("it is neither an Arrow IPC file nor a stream"),
    }
}

fn shaped(
    name: String,
    schema: &Schema,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'static,
    count: Arc<AtomicU64>,
    options: &Options,
) -> Result<Box<dyn Reader>, InputError> {
    let shaper = Shaper::new(schema, &options.schema, options.ignore_unknown)
        .map_err(|reason| InputError::file(Path::new(&name), reason))?;
    Ok(Box::new(Shaped::new(
        name,
        batches,
        shaper,
        options.limits,
        Meter::Counter(count),
    )))
}

/// A reader that counts what is read.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    fn new(inner: R) -> (Self, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        (
            Self {
                inner,
                count: Arc::clone(&count),
            },
            count,
        )
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Array, BinaryArray, DictionaryArray, FixedSizeListArray, Float32Array, Int32Array,
        StringArray,
    };
    use arrow::datatypes::{DataType, Field, Int32Type};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
    use serde_json::json;

    use super::super::testing::{options, read};
    use super::*;

    fn batch() -> RecordBatch {
        let words: DictionaryArray<Int32Type> = ["a", "b", "a", "b", "a"].into_iter().collect();
        let vectors = FixedSizeListArray::try_new(
            Arc::new(Field::new("element", DataType::Float32, false)),
            2,
            Arc::new(Float32Array::from(
                (0..10).map(|n| n as f32).collect::<Vec<_>>(),
            )),
            None,
        )
        .unwrap();
        let bytes = BinaryArray::from_vec(vec![b"\x01"; 5]);
        RecordBatch::try_from_iter([
            ("v", Arc::new(vectors) as Arc<dyn Array>),
            ("s", Arc::new(words)),
            ("b", Arc::new(bytes)),
        ])
        .unwrap()
    }

    const COLUMNS: [&str; 3] = ["s:utf8", "b:binary", "v:vector[2]"];

    #[test]
    fn files_and_streams_are_told_apart_and_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        let batch = batch();
        let path = dir.path().join("rows.arrow");
        let compressed = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .unwrap();
        let file = File::create(&path).unwrap();
        let mut writer =
            FileWriter::try_new_with_options(file, &batch.schema(), compressed).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let (rows, error) = read(&path, &options(&COLUMNS));
        assert_eq!(error, None);
        assert_eq!(rows.len(), 5);
        assert_eq!(rows[4], json!({"s": "a", "b": "01", "v": [8.0, 9.0]}));

        let path = dir.path().join("stream.arrow");
        let mut writer =
            StreamWriter::try_new(File::create(&path).unwrap(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&path, &options(&COLUMNS)), (rows, None));
    }

    #[test]
    fn a_stream_that_breaks_off_delivers_its_whole_batches() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stream.arrows");
        let batch = RecordBatch::try_from_iter([
            (
                "n",
                Arc::new(Int32Array::from(vec![1; 100])) as Arc<dyn Array>,
            ),
            ("s", Arc::new(StringArray::from(vec!["x"; 100]))),
        ])
        .unwrap();
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.flush().unwrap();
        drop(writer);
        bytes.truncate(bytes.len() - 50);
        std::fs::write(&path, bytes).unwrap();
        let (rows, error) = read(&path, &options(&["n:int32", "s:utf8"]));
        assert_eq!(rows.len(), 100);
        assert!(error.unwrap().contains("row 101"));
    }

    #[test]
    fn what_is_no_arrow_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.arrow");
        for (content, reason) in [
            (
                &b"hello, this is not arrow"[..],
                "neither an Arrow IPC file nor a stream",
            ),
            (b"", "it is empty"),
            (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "neither"),
            (b"\xff\xff\xff\xff\x10\0\0\0cut", "rows.arrow"),
            (b"ARROW1\0\0", "rows.arrow"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path, &options(&["n:int32"])).1.unwrap();
            assert!(error.contains(reason), "{error}");
        }
    }
}
