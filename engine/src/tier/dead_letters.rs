//! The dead-letter log: records that a transform could not take, with the reason, in the columns of their table.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use uuid::Uuid;

use crate::catalog::{FIRST_SCHEMA_ID, extended, timestamp_field};
use crate::error::{Error, Result};
use crate::log::{Durability, Log, LogKind, LogOptions};
use crate::tier::lake::OFFSET_COLUMN;
use crate::transform::RowFailure;

/// Dead letters are few: their segments are small.
const SEGMENT_BYTES: u64 = 4 << 20;

/// A table's dead letters.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    log: Log,
    schema: SchemaRef,
}

impl DeadLetters {
    /// Opens the log for appending; `tiered` is the first offset whose round is not in the lake. Dead letters
    /// from there on are of a round that did not end, which will make them again: they are cut.
    pub(crate) fn open(
        directory: &Path,
        table_id: Uuid,
        table_schema: &Schema,
        tiered: u64,
    ) -> Result<Self> {
        let schema = dead_letter_schema(table_schema);
        let options = options(directory, table_id);
        let keep = match options.directory.exists() {
            true => {
                let log = Log::open_read_only(options.clone())?;
                // Damage must be told before anything behind it is cut.
                log.check_tail()?;
                settled(&log, &schema, tiered)?.0
            }
            false => 0,
        };
        Ok(Self {
            log: Log::open(options, FIRST_SCHEMA_ID, Some(keep))?,
            schema,
        })
    }

    /// Appends the failed rows of a batch whose rows have these offsets and times.
    pub(crate) fn append(
        &self,
        rows: &RecordBatch,
        offsets: &[i64],
        timestamps_us: &[i64],
        failures: &[RowFailure],
    ) -> Result<()> {
        if failures.is_empty() {
            return Ok(());
        }
        let indices = UInt32Array::from_iter_values(failures.iter().map(|f| f.row));
        let failed =
            take_record_batch(rows, &indices).map_err(Error::arrow("pick the dead letters"))?;
        let pick = |values: &[i64]| {
            let picked = failures.iter().map(|f| values.get(f.row as usize).copied());
            picked.map(Option::unwrap_or_default).collect::<Vec<_>>()
        };
        let text = |of: fn(&RowFailure) -> &str| {
            Arc::new(StringArray::from_iter_values(failures.iter().map(of))) as ArrayRef
        };
        let mut columns = failed.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(pick(offsets))));
        let times = TimestampMicrosecondArray::from(pick(timestamps_us));
        columns.push(Arc::new(times.with_timezone("UTC")));
        columns.push(text(|f| &f.transform));
        columns.push(text(|f| &f.plugin_sha256));
        columns.push(text(|f| &f.message));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(Error::arrow("build the dead letters"))?;
        self.log.append(&batch, FIRST_SCHEMA_ID, None).map(drop)
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.log.sync_through(self.log.committed())
    }
}

/// Reads the dead letters whose rounds are in the lake, oldest first.
pub(crate) fn read(
    directory: &Path,
    table_id: Uuid,
    table_schema: &Schema,
    tiered: u64,
) -> Result<Vec<RecordBatch>> {
    let options = options(directory, table_id);
    if !options.directory.exists() {
        return Ok(Vec::new());
    }
    let schema = dead_letter_schema(table_schema);
    let log = Log::open_read_only(options)?;
    settled(&log, &schema, tiered).map(|(_, batches)| batches)
}

/// The dead letters of rows below `tiered`, and the offset behind the last. A frame is all of one round.
fn settled(log: &Log, schema: &SchemaRef, tiered: u64) -> Result<(u64, Vec<RecordBatch>)> {
    let mut end = log.first_offset();
    let mut reader = log.read_from(end);
    let mut batches = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        let batch = frame.batch(Arc::clone(schema))?;
        let offsets = batch.column_by_name(OFFSET_COLUMN);
        let last = offsets.and_then(|c| c.as_primitive::<Int64Type>().values().last());
        if last.is_none_or(|last| *last as u64 >= tiered) {
            break;
        }
        end = frame.header.end_offset;
        batches.push(batch);
    }
    Ok((end, batches))
}

/// How the dead letters of the table in a directory are kept.
fn options(directory: &Path, table_id: Uuid) -> LogOptions {
    let table = directory.file_name().unwrap_or_default().to_string_lossy();
    LogOptions {
        segment_bytes: SEGMENT_BYTES,
        durability: Durability::Buffered,
        ..LogOptions::new(
            &directory.join(LogKind::Dead.directory()),
            &table,
            table_id,
            LogKind::Dead,
        )
    }
}

/// The table's columns, then where the record came from and why it failed.
fn dead_letter_schema(table_schema: &Schema) -> SchemaRef {
    let own = [
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
        timestamp_field(),
        Field::new("__transform", DataType::Utf8, false),
        Field::new("__plugin", DataType::Utf8, false),
        Field::new("__error", DataType::Utf8, false),
    ];
    extended(table_schema, own)
}
