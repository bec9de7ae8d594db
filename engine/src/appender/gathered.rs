//! Rows and small batches that wait to be written, in the order in which they were given.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::ByteViewType;
use arrow_array::{Array, ArrayRef, GenericByteViewArray, RecordBatch};
use arrow_data::ArrayData;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat_batches;

use crate::error::Result;
use crate::rows::{RowBuilder, Value};

/// Of more small batches than these one is made, as an array of its own takes more than a narrow row does.
const PIECES_MAX: usize = 256;
/// Of more buffers behind views than these one is made, as each is padded in a frame.
const VIEW_BUFFERS_MAX: usize = 16;

/// What was given and is not on its way to the log yet.
#[derive(Debug)]
pub(super) struct Gathered {
    schema: SchemaRef,
    /// Batches, each after what was given before it.
    pieces: Vec<RecordBatch>,
    /// How many of the first pieces were made of many.
    merged: usize,
    pieces_bytes: usize,
    /// The rows that were given after the last piece.
    rows: RowBuilder,
    /// When the first of them was given.
    pub(super) oldest: Option<Instant>,
    /// When to try again what could not be written; until it is written nothing more is taken.
    pub(super) retry_at: Option<Instant>,
    pub(super) is_thread_running: bool,
    pub(super) stop: bool,
}

impl Gathered {
    pub(super) fn new(table: &str, schema: SchemaRef) -> Self {
        Self {
            rows: RowBuilder::new(table, schema.clone()),
            schema,
            pieces: Vec::new(),
            merged: 0,
            pieces_bytes: 0,
            oldest: None,
            retry_at: None,
            is_thread_running: false,
            stop: false,
        }
    }

    /// About how many bytes of a frame are gathered.
    pub(super) fn bytes(&self) -> usize {
        self.pieces_bytes + self.rows.bytes()
    }

    pub(super) fn push_row(&mut self, cells: &[Value<'_>]) -> Result<()> {
        self.rows.push(cells)
    }

    /// Adds a batch of this schema.
    pub(super) fn push_batch(&mut self, batch: RecordBatch, bytes: usize) -> Result<()> {
        self.end_rows()?;
        self.pieces.push(batch);
        self.pieces_bytes += bytes;
        if self.pieces.len() - self.merged >= PIECES_MAX {
            let small = self.pieces.split_off(self.merged);
            self.pieces.extend(joined(&self.schema, small));
            self.merged = self.pieces.len();
        }
        Ok(())
    }

    /// Makes a piece of the rows, so that a batch can follow.
    fn end_rows(&mut self) -> Result<()> {
        if self.rows.rows() > 0 {
            self.pieces_bytes += self.rows.bytes();
            self.pieces.push(self.rows.finish()?);
        }
        Ok(())
    }

    /// Takes all that is gathered, to be [`joined`].
    pub(super) fn take(&mut self) -> Result<Vec<RecordBatch>> {
        self.end_rows()?;
        self.oldest = None;
        self.pieces_bytes = 0;
        self.merged = 0;
        Ok(std::mem::take(&mut self.pieces))
    }
}

/// One batch of many; should they not fit into one, as they are.
pub(super) fn joined(schema: &SchemaRef, pieces: Vec<RecordBatch>) -> Vec<RecordBatch> {
    if pieces.len() < 2 {
        return pieces;
    }
    let batch = concat_batches(schema, &pieces).ok();
    let batch = batch.and_then(|batch| joinable(schema, &batch));
    batch.map_or(pieces, |batch| vec![batch])
}

/// A batch with this very schema and no more buffers than it needs, if it can be joined with others.
pub(super) fn joinable(schema: &SchemaRef, batch: &RecordBatch) -> Option<RecordBatch> {
    let columns = batch.columns().iter().map(without_slack).collect();
    RecordBatch::try_new(schema.clone(), columns).ok()
}

/// Views that show little of their buffers, or have many, get one of their own: all would be written.
fn without_slack(column: &ArrayRef) -> ArrayRef {
    let gathered = match column.data_type() {
        DataType::Utf8View => gathered_views(column.as_string_view()),
        DataType::BinaryView => gathered_views(column.as_binary_view()),
        _ => None,
    };
    gathered.unwrap_or_else(|| Arc::clone(column))
}

fn gathered_views<T: ByteViewType>(views: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let buffers = views.data_buffers();
    let bytes: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    let is_slack = buffers.len() > VIEW_BUFFERS_MAX || bytes > 2 * views.total_buffer_bytes_used();
    is_slack.then(|| Arc::new(views.gc()) as ArrayRef)
}

/// About how many bytes of a frame a batch takes.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns.map(|column| data_bytes(&column.to_data())).sum()
}

fn data_bytes(data: &ArrayData) -> usize {
    let fixed = data.get_slice_memory_size();
    fixed.unwrap_or_else(|_| data.get_buffer_memory_size()) + view_bytes(data)
}

/// The buffers behind views, which Arrow doesn't count.
fn view_bytes(data: &ArrayData) -> usize {
    let own: usize = match data.data_type() {
        DataType::Utf8View | DataType::BinaryView => {
            data.buffers().iter().skip(1).map(|b| b.len()).sum()
        }
        _ => 0,
    };
    own + data.child_data().iter().map(view_bytes).sum::<usize>()
}
