//! The schema of a file that no table's schema is known for.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use ::arrow::csv::reader::Format;
use ::arrow::datatypes::SchemaRef;
use ::arrow::ipc::reader::{FileReader, StreamReader};
use ::arrow::json::reader::infer_json_schema_from_seekable;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::InputError;

/// How many rows of a text are looked at.
const ROWS: usize = 1000;

/// The schema that a file says it has, or that the first rows of a text seem to have.
pub(crate) fn schema_of(path: &Path) -> Result<SchemaRef, InputError> {
    let failed = |reason: &dyn std::fmt::Display| InputError::file(path, reason);
    let unknown =
        || failed(&"its columns cannot be told beforehand; name them with --column NAME:TYPE");
    if path.as_os_str() == "-" || path.is_dir() {
        return Err(unknown());
    }
    let file = File::open(path).map_err(|error| failed(&error))?;
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    match extension.to_lowercase().as_str() {
        "parquet" => ParquetRecordBatchReaderBuilder::try_new(file)
            .map(|builder| Arc::clone(builder.schema()))
            .map_err(|error| failed(&error)),
        "arrow" | "arrows" | "feather" | "ipc" => match FileReader::try_new(&file, None) {
            Ok(reader) => Ok(reader.schema()),
            Err(_) => {
                let file = File::open(path).map_err(|error| failed(&error))?;
                StreamReader::try_new(BufReader::new(file), None)
                    .map(|reader| reader.schema())
                    .map_err(|error| failed(&error))
            }
        },
        "jsonl" | "ndjson" => infer_json_schema_from_seekable(BufReader::new(file), Some(ROWS))
            .map(|(schema, _)| Arc::new(schema))
            .map_err(|error| failed(&error)),
        "csv" => Format::default()
            .with_header(true)
            .infer_schema(file, Some(ROWS))
            .map(|(schema, _)| Arc::new(schema))
            .map_err(|error| failed(&error)),
        _ => Err(unknown()),
    }
}
