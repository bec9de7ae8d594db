//! One round: rows of the log, and what was staged of them, become rows of the lake and dead letters.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take;

use crate::error::{Error, Result};
use crate::log::{Frame, Log};
use crate::pipeline::raw_rows::{Cut, Piece};
use crate::pipeline::staged::generation_of;
use crate::pipeline::{RawRows, StagedLog, StagedRows};
use crate::schemas::widened;
use crate::shape::Shape;
use crate::tier::dead_letters::log::DeadLetterLog;
use crate::tier::lake::{Progress, bytes_of};

/// What is handed to the lake's writer at a time, if it comes in smaller pieces.
pub(crate) const GATHER: Cut = Cut {
    rows_max: 65_536,
    bytes_max: 4 << 20,
    joined_bytes: 2 << 20,
};

/// What turns a table's log rows into lake rows.
pub(crate) struct RoundInput<'a> {
    pub(crate) raw: &'a Log,
    /// What the transforms made; `None` for a table that never had any.
    pub(crate) staged: Option<&'a StagedLog>,
    pub(crate) shape: &'a Shape,
    pub(crate) bucket: i32,
    pub(crate) dead: &'a DeadLetterLog,
}

/// What a round, or a part of one, did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    /// Where it ended, and what became of its rows.
    pub(crate) done: Progress,
    /// The transforms that made all of the rows.
    pub(crate) generation: u16,
}

impl RoundInput<'_> {
    /// Reads the logs from one offset to another, to where the transforms became others, or to where it is when
    /// `stop` says so, and hands the lake's rows to `sink`, which says whether it wants more. Dead letters are durable
    /// when this returns.
    pub(crate) fn run(
        &self,
        range: Range<u64>,
        stop: &dyn Fn() -> bool,
        sink: impl FnMut(RecordBatch) -> bool,
    ) -> Result<Settled> {
        let mut gathered = Gathered::new(sink, stop, Arc::clone(&self.shape.lake_schema));
        let settled = match self.staged {
            Some(staged) => self.settle_staged(staged, range, &mut gathered)?,
            None => self.settle_raw(range, &mut gathered)?,
        };
        gathered.flush()?;
        self.dead.sync()?;
        Ok(settled)
    }

    /// The rows of a table without transforms.
    fn settle_raw(
        &self,
        Range {
            start: from,
            end: until,
        }: Range<u64>,
        gathered: &mut Gathered<'_, impl FnMut(RecordBatch) -> bool>,
    ) -> Result<Settled> {
        let mut done = Progress::beginning_at(from);
        let mut raw = RawRows::new(self.raw, Arc::clone(&self.shape.schemas), from);
        while done.to < until && gathered.wants_more {
            let cut = Cut {
                rows_max: GATHER.rows_max.min(until - done.to),
                ..GATHER
            };
            let Some(piece) = raw.next(cut)? else {
                raw.check()?;
                break;
            };
            done.to = piece.offsets.end;
            done.rows += piece.rows.num_rows() as u64;
            let source = SourceRows::of(&piece);
            gathered.add(lake_rows(self.shape, self.bucket, source, None)?)?;
        }
        Ok(Settled {
            done,
            generation: self.shape.generation(),
        })
    }

    /// What transforms of one generation made.
    fn settle_staged(
        &self,
        staged: &StagedLog,
        Range {
            start: from,
            end: until,
        }: Range<u64>,
        gathered: &mut Gathered<'_, impl FnMut(RecordBatch) -> bool>,
    ) -> Result<Settled> {
        let mut done = Progress::beginning_at(from);
        let mut raw = RawRows::new(self.raw, Arc::clone(&self.shape.schemas), from);
        let mut reader = staged.read_from(from).passing();
        let mut generation = None;
        while done.to < until && gathered.wants_more {
            let Some(frame) = reader.next_frame()? else {
                break;
            };
            let made_by = generation_of(frame.header.schema_id);
            if generation.is_some_and(|before| before != made_by) {
                break;
            }
            generation = Some(made_by);
            let rows = self.staged_rows(&frame, made_by, done.to)?;
            let piece = raw.take_until(frame.header.end_offset)?;
            self.count(&piece, &rows, &mut done)?;
            let made = (&rows.made, rows.origin.as_deref());
            let source = SourceRows::of(&piece);
            gathered.add(lake_rows(self.shape, self.bucket, source, Some(made))?)?;
        }
        Ok(Settled {
            done,
            generation: generation.unwrap_or_else(|| self.shape.generation()),
        })
    }

    /// What a frame says of the rows from an offset on.
    fn staged_rows(&self, frame: &Frame, generation: u16, from: u64) -> Result<StagedRows> {
        let made = self.shape.made(generation).ok_or_else(|| {
            let what = format!("generation {generation} of the table's transforms");
            Error::invalid(
                what,
                "made staged rows, and the table's file doesn't know it",
            )
        })?;
        let rows = StagedLog::rows(frame, made)?;
        let behind = from.saturating_sub(frame.header.base_offset);
        Ok(rows.behind(u32::try_from(behind).unwrap_or(u32::MAX)))
    }

    /// Writes the dead letters of a piece, and counts what became of its rows.
    fn count(&self, piece: &Piece, rows: &StagedRows, done: &mut Progress) -> Result<()> {
        let failures = &rows.failures;
        let offsets = offsets_of(piece);
        self.dead
            .append(&piece.rows, &offsets, &piece.timestamps_us, failures)?;
        done.to = piece.offsets.end;
        done.dead += failures.len() as u64;
        done.filtered += rows.filtered(piece.rows.num_rows() as u64);
        done.rows += rows.made.num_rows() as u64;
        Ok(())
    }
}

/// Rows of a table, with where they stood in its log.
pub(crate) struct SourceRows<'a> {
    pub(crate) rows: &'a RecordBatch,
    pub(crate) offsets: Vec<i64>,
    pub(crate) timestamps_us: Vec<i64>,
}

impl<'a> SourceRows<'a> {
    fn of(piece: &'a Piece) -> Self {
        Self {
            rows: &piece.rows,
            offsets: offsets_of(piece),
            timestamps_us: piece.timestamps_us.clone(),
        }
    }
}

/// The lake's rows: what was made, what passed through, nulls for what neither has, and the lake's own columns. Of each made
/// row `origin` says which row of the source it came from; without it they are one to one.
pub(crate) fn lake_rows(
    shape: &Shape,
    bucket: i32,
    source: SourceRows<'_>,
    made: Option<(&RecordBatch, Option<&[u32]>)>,
) -> Result<RecordBatch> {
    let origin = made.and_then(|(_, origin)| origin);
    let origin = origin.map(|origin| UInt32Array::from(origin.to_vec()));
    let rows = made.map_or(source.rows.num_rows(), |(made, _)| made.num_rows());
    let gather = |column: &dyn Array| match &origin {
        Some(origin) => take(column, origin, None).map_err(Error::arrow("trace rows")),
        None => Ok(column.slice(0, column.len())),
    };
    let own = 3;
    let fields = shape.lake_schema.fields();
    let columns = fields.iter().take(fields.len() - own).map(|field| {
        let made = made.and_then(|(made, _)| made.column_by_name(field.name()));
        match (made, source.rows.column_by_name(field.name())) {
            // Transforms of an earlier generation may have made a narrower one.
            (Some(made), _) => widened(made, field.data_type()),
            (None, Some(passed)) => gather(passed),
            (None, None) => Ok(new_null_array(field.data_type(), rows)),
        }
    });
    let mut columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let times = TimestampMicrosecondArray::from(source.timestamps_us);
    columns.push(Arc::new(Int32Array::from_value(bucket, rows)));
    columns.push(gather(&Int64Array::from(source.offsets))?);
    columns.push(gather(&times.with_timezone("UTC"))?);
    RecordBatch::try_new(Arc::clone(&shape.lake_schema), columns)
        .map_err(Error::arrow("build the lake's rows"))
}

fn offsets_of(piece: &Piece) -> Vec<i64> {
    piece.offsets.clone().map(|offset| offset as i64).collect()
}

/// Joins small batches before they go to the lake's writer.
struct Gathered<'a, S> {
    sink: S,
    stop: &'a dyn Fn() -> bool,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: u64,
    bytes: u64,
    /// Whether neither the writer nor whoever stops rounds has had enough.
    wants_more: bool,
}

impl<'a, S: FnMut(RecordBatch) -> bool> Gathered<'a, S> {
    fn new(sink: S, stop: &'a dyn Fn() -> bool, schema: SchemaRef) -> Self {
        Self {
            sink,
            stop,
            schema,
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
            wants_more: true,
        }
    }

    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let bytes = bytes_of(&batch)?;
        // A large one goes alone: together they might be more than an array can hold.
        if self.bytes + bytes > GATHER.joined_bytes {
            self.flush()?;
        }
        self.rows += batch.num_rows() as u64;
        self.bytes += bytes;
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        if self.rows >= GATHER.rows_max || self.bytes >= GATHER.joined_bytes {
            self.flush()?;
        }
        self.wants_more = self.wants_more && !(self.stop)();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.batches);
        (self.rows, self.bytes) = (0, 0);
        let joined = match batches.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => {
                concat_batches(&self.schema, many).map_err(Error::arrow("gather small batches"))?
            }
        };
        self.wants_more = (self.sink)(joined) && self.wants_more;
        Ok(())
    }
}
