//! The dead-letter log: records that a transform could not take, with the reason, in the columns of their table.

use std::ops::Range;
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

use crate::catalog::{extended, timestamp_field};
use crate::error::{Error, Result};
use crate::log::{Durability, Log, LogKind, LogOptions, LogReader};
use crate::schemas::Schemas;
use crate::tier::lake::OFFSET_COLUMN;
use crate::transform::RowFailure;

pub(crate) const TRANSFORM_COLUMN: &str = "__transform";
pub(crate) const PLUGIN_COLUMN: &str = "__plugin";
pub(crate) const ERROR_COLUMN: &str = "__error";
/// Dead letters are few: their segments are small.
const SEGMENT_BYTES: u64 = 4 << 20;

/// A table's log of dead letters, open for appending.
#[derive(Debug)]
pub(crate) struct DeadLetterLog {
    log: Log,
    schemas: Arc<Schemas>,
}

impl DeadLetterLog {
    /// Opens the log for appending; `tiered` is the first offset whose round is not in the lake. Dead letters
    /// from there on are of a round that did not end, which will make them again: they are cut.
    pub(crate) fn open(
        directory: &Path,
        table_id: Uuid,
        table_schemas: &Schemas,
        tiered: u64,
    ) -> Result<Self> {
        let schemas = Arc::new(table_schemas.map(letter_schema));
        let options = options(directory, table_id);
        let keep = match options.directory.exists() {
            true => {
                let log = Log::open_read_only(options.clone())?;
                // Damage must be told before anything behind it is cut.
                log.check_tail()?;
                let mut letters = Letters::new(&log, &schemas, log.first_offset(), 0..tiered);
                for letter in &mut letters {
                    letter?;
                }
                letters.end
            }
            false => 0,
        };
        Ok(Self {
            log: Log::open(options, schemas.newest_id(), Some(keep))?,
            schemas,
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
        let letters = letters_of(
            self.schemas.newest(),
            rows,
            offsets,
            timestamps_us,
            failures,
        )?;
        let schema_id = self.schemas.newest_id();
        self.log.append(&letters, schema_id, None).map(drop)
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.log.sync_through(self.log.committed())
    }

    /// The letters of rows in a range of the table's offsets, from an offset of the log itself on, or from its first.
    pub(crate) fn letters(&self, from: Option<u64>, rows: Range<u64>) -> Letters {
        let from = from.unwrap_or_else(|| self.log.first_offset());
        Letters::new(&self.log, &self.schemas, from, rows)
    }

    /// How many letters there are of rows in a range of the table's offsets.
    pub(crate) fn count(&self, rows: Range<u64>) -> Result<u64> {
        let letters = self.letters(None, rows);
        letters.map(|batch| Ok(batch?.num_rows() as u64)).sum()
    }

    /// The log's own offset behind its last letter.
    pub(crate) fn end(&self) -> u64 {
        self.log.committed()
    }

    /// Whether there is no letter in the log.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.first_offset() == self.log.committed()
    }

    /// Lets go of the letters below an offset of the log itself.
    pub(crate) fn release(&self, settled: u64) -> Result<()> {
        self.log.release(settled)
    }
}

/// Dead letters of a log, oldest first: those of rows in a range of the table's offsets. An iterator of batches.
pub(crate) struct Letters {
    reader: LogReader,
    /// Those of the table, with what letters have besides.
    schemas: Arc<Schemas>,
    rows: Range<u64>,
    /// The log's own offset behind the last letter that was looked at.
    pub(crate) end: u64,
    is_over: bool,
}

impl Letters {
    fn new(log: &Log, schemas: &Arc<Schemas>, from: u64, rows: Range<u64>) -> Self {
        Self {
            reader: log.read_from(from),
            schemas: Arc::clone(schemas),
            rows,
            end: from,
            is_over: false,
        }
    }

    /// The same without those of rows below an offset.
    pub(crate) fn starting_at(mut self, offset: u64) -> Self {
        self.rows.start = offset;
        self
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(frame) = self.reader.next_frame()? {
            let batch = frame.batch(Arc::clone(self.schemas.of(&frame)?))?;
            let offsets = batch.column_by_name(OFFSET_COLUMN);
            let offsets = offsets.and_then(|c| c.as_primitive_opt::<Int64Type>());
            let offsets = offsets.map(|c| c.values().as_ref()).unwrap_or_default();
            // A frame is all of one round.
            if offsets
                .last()
                .is_none_or(|last| *last as u64 >= self.rows.end)
            {
                return Ok(None);
            }
            self.end = frame.header.end_offset;
            let before = offsets.partition_point(|offset| (*offset as u64) < self.rows.start);
            if before < offsets.len() {
                let batch = batch.slice(before, offsets.len() - before);
                let id = frame.header.schema_id;
                return match id == self.schemas.newest_id() {
                    true => Ok(Some(batch)),
                    false => self
                        .schemas
                        .adapt(&batch, id, self.schemas.newest())
                        .map(Some),
                };
            }
        }
        Ok(None)
    }
}

impl Iterator for Letters {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.read().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Reads a log of dead letters beside its writer; none when there is none.
pub(crate) fn read(
    directory: &Path,
    table_id: Uuid,
    table_schemas: &Schemas,
    rows: Range<u64>,
) -> Result<Option<Letters>> {
    let options = options(directory, table_id);
    if !options.directory.exists() {
        return Ok(None);
    }
    let schemas = Arc::new(table_schemas.map(letter_schema));
    let log = Log::open_read_only(options)?;
    Ok(Some(Letters::new(&log, &schemas, log.first_offset(), rows)))
}

/// The failed rows of a batch whose rows have these offsets and times, as dead letters.
pub(crate) fn letters_of(
    schema: &SchemaRef,
    rows: &RecordBatch,
    offsets: &[i64],
    timestamps_us: &[i64],
    failures: &[RowFailure],
) -> Result<RecordBatch> {
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
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(Error::arrow("build the dead letters"))
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
pub(crate) fn letter_schema(table_schema: &Schema) -> SchemaRef {
    let own = [
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
        timestamp_field(),
        Field::new(TRANSFORM_COLUMN, DataType::Utf8, false),
        Field::new(PLUGIN_COLUMN, DataType::Utf8, false),
        Field::new(ERROR_COLUMN, DataType::Utf8, false),
    ];
    extended(table_schema, own)
}
