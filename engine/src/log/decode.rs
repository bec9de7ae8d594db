//! A payload's messages, and what they say of arrays; all columns of a payload by Arrow's reader.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::{FieldNode, Message, MetadataVersion, root_as_message};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use flatbuffers::VectorIter;

use super::encode::CONTINUATION;

const PREFIX_BYTES: usize = 8;
/// No array of a payload is longer, nulls aside; Arrow's reader multiplies lengths without looking.
const ARRAY_LENGTH_MAX: usize = 1 << 40;

/// All columns of a payload, by Arrow's reader.
pub(super) fn read_whole(payload: &Buffer, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut messages = Messages::of(payload);
    let mut value_types = Vec::new();
    let numbered = numbered(schema.fields(), &mut value_types);
    let mut dictionaries = HashMap::new();
    for (id, value_type) in (0..).zip(&value_types) {
        dictionaries.insert(id, messages.dictionary(id, value_type)?);
    }
    if dictionaries.is_empty() {
        return messages.record_batch(schema, &dictionaries);
    }
    let batch = messages.record_batch(Arc::new(Schema::new(numbered)), &dictionaries)?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &rows)
}

/// The fields with their dictionaries numbered as [`super::encode`] does; adds the types of the dictionaries' values.
pub(super) fn numbered(fields: &Fields, value_types: &mut Vec<DataType>) -> Fields {
    let number = |field| numbered_field(field, value_types);
    fields.iter().map(number).collect()
}

fn numbered_field(field: &FieldRef, value_types: &mut Vec<DataType>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value_type) => {
            let id = value_types.len() as i64;
            value_types.push(value_type.as_ref().clone());
            return Arc::new(with_dictionary_id(field, id));
        }
        DataType::List(item) => DataType::List(numbered_field(item, value_types)),
        DataType::LargeList(item) => DataType::LargeList(numbered_field(item, value_types)),
        DataType::FixedSizeList(item, size) => {
            DataType::FixedSizeList(numbered_field(item, value_types), *size)
        }
        DataType::Map(entries, sorted) => {
            DataType::Map(numbered_field(entries, value_types), *sorted)
        }
        DataType::Struct(fields) => DataType::Struct(numbered(fields, value_types)),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Arrow's reader still finds a dictionary by the number in its field, and has no other way to be told.
#[allow(deprecated)]
fn with_dictionary_id(field: &Field, id: i64) -> Field {
    let ordered = field.dict_is_ordered().unwrap_or_default();
    let data_type = field.data_type().clone();
    Field::new_dict(field.name(), data_type, field.is_nullable(), id, ordered)
        .with_metadata(field.metadata().clone())
}

/// The encapsulated messages of a payload, one after the other.
pub(super) struct Messages<'a> {
    payload: &'a Buffer,
    position: usize,
}

impl<'a> Messages<'a> {
    pub(super) fn of(payload: &'a Buffer) -> Self {
        let position = 0;
        Self { payload, position }
    }

    /// The next message and its body.
    pub(super) fn next(&mut self) -> Result<(Message<'a>, Buffer), ArrowError> {
        let rest = self
            .payload
            .get(self.position..)
            .ok_or_else(|| broken("no message"))?;
        let prefix = rest
            .get(CONTINUATION.len()..PREFIX_BYTES)
            .and_then(|bytes| bytes.try_into().ok());
        let metadata_end = prefix
            .filter(|_| rest.starts_with(&CONTINUATION))
            .and_then(|bytes| usize::try_from(i32::from_le_bytes(bytes)).ok())
            .map(|length| PREFIX_BYTES + length)
            .ok_or_else(|| broken("no message length"))?;
        let metadata = rest
            .get(PREFIX_BYTES..metadata_end)
            .ok_or_else(|| broken("message length beyond the payload"))?;
        let message = root_as_message(metadata).map_err(|e| broken(&e.to_string()))?;
        if message.version() != MetadataVersion::V5 {
            return Err(broken("not a message of version 5"));
        }
        let body_length = usize::try_from(message.bodyLength())
            .ok()
            .filter(|length| *length <= rest.len() - metadata_end)
            .ok_or_else(|| broken("a body beyond the payload"))?;
        let body_start = self.position + metadata_end;
        self.position = body_start + body_length;
        let body = self.payload.slice_with_length(body_start, body_length);
        Ok((message, body))
    }

    fn dictionary(&mut self, id: i64, value_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let (message, body) = self.next()?;
        let values = message
            .header_as_dictionary_batch()
            .filter(|dictionary| dictionary.id() == id && !dictionary.isDelta())
            .and_then(|dictionary| dictionary.data())
            .ok_or_else(|| broken("not the message of the next dictionary"))?;
        let schema = Schema::new(vec![Field::new("values", value_type.clone(), true)]);
        let batch = read(&body, values, Arc::new(schema), &HashMap::new())?;
        let values = batch.columns().first().map(Arc::clone);
        values.ok_or_else(|| broken("a dictionary without values"))
    }

    /// The record batch, which is the last message, and its body.
    pub(super) fn last(&mut self) -> Result<(arrow_ipc::RecordBatch<'a>, Buffer), ArrowError> {
        let (message, body) = self.next()?;
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| broken("not a record batch message"))?;
        if self.position != self.payload.len() {
            return Err(broken("bytes behind the record batch"));
        }
        Ok((batch, body))
    }

    fn record_batch(
        &mut self,
        schema: SchemaRef,
        dictionaries: &HashMap<i64, ArrayRef>,
    ) -> Result<RecordBatch, ArrowError> {
        let (batch, body) = self.last()?;
        read(&body, batch, schema, dictionaries)
    }
}

fn read(
    body: &Buffer,
    batch: arrow_ipc::RecordBatch<'_>,
    schema: SchemaRef,
    dictionaries: &HashMap<i64, ArrayRef>,
) -> Result<RecordBatch, ArrowError> {
    Walk::check(&batch, schema.fields(), body.len())?;
    let version = MetadataVersion::V5;
    read_record_batch(body, batch, schema, dictionaries, None, &version)
}

/// What a record batch message says of its arrays, in the order of the format's depth-first walk.
///
/// Arrow's reader panics on lengths and ranges that don't fit, so this looks first. What buffers hold it validates itself.
pub(super) struct Walk<'a> {
    nodes: VectorIter<'a, FieldNode>,
    buffers: VectorIter<'a, arrow_ipc::Buffer>,
    variadic_counts: Option<VectorIter<'a, i64>>,
    body_bytes: usize,
}

impl<'a> Walk<'a> {
    fn check(
        batch: &arrow_ipc::RecordBatch<'a>,
        fields: &Fields,
        body_bytes: usize,
    ) -> Result<(), ArrowError> {
        let mut walk = Self::new(batch, body_bytes)?;
        for field in fields {
            walk.array(field.data_type())?;
        }
        walk.end(batch)
    }

    pub(super) fn new(
        batch: &arrow_ipc::RecordBatch<'a>,
        body_bytes: usize,
    ) -> Result<Self, ArrowError> {
        if batch.compression().is_some() {
            return Err(broken("a compressed batch"));
        }
        Ok(Self {
            nodes: batch.nodes().ok_or_else(|| broken("no nodes"))?.iter(),
            buffers: batch.buffers().ok_or_else(|| broken("no buffers"))?.iter(),
            variadic_counts: batch.variadicBufferCounts().map(|counts| counts.iter()),
            body_bytes,
        })
    }

    /// Fails when there is more than what was passed.
    pub(super) fn end(mut self, batch: &arrow_ipc::RecordBatch<'a>) -> Result<(), ArrowError> {
        let counts_left = self
            .variadic_counts
            .is_some_and(|mut counts| counts.next().is_some());
        if length(batch.length()).is_none()
            || self.nodes.next().is_some()
            || self.buffers.next().is_some()
            || counts_left
        {
            return Err(broken("more in the batch than its columns"));
        }
        Ok(())
    }

    /// The lengths that the next array has: of itself and of its nulls.
    pub(super) fn node(&mut self) -> Result<(usize, usize), ArrowError> {
        let node = self.nodes.next().ok_or_else(|| broken("too few nodes"))?;
        let (Some(rows), Some(null_count)) = (length(node.length()), length(node.null_count()))
        else {
            return Err(broken("the length of an array"));
        };
        match null_count <= rows {
            true => Ok((rows, null_count)),
            false => Err(broken("more nulls than rows")),
        }
    }

    /// Passes an array and its children; its length.
    pub(super) fn array(&mut self, data_type: &DataType) -> Result<usize, ArrowError> {
        let (rows, null_count) = self.node()?;
        if *data_type != DataType::Null {
            let bits = if null_count > 0 { rows } else { 0 };
            self.buffer(bits.div_ceil(8), 1)?;
        }
        match data_type {
            DataType::Null => {}
            DataType::Boolean => self.buffer(rows.div_ceil(8), 1)?,
            DataType::Utf8 | DataType::Binary => self.byte_array(rows, size_of::<i32>())?,
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.byte_array(rows, size_of::<i64>())?;
            }
            DataType::Utf8View | DataType::BinaryView => self.views(rows)?,
            DataType::List(item) | DataType::Map(item, _) => {
                self.offsets(rows, size_of::<i32>())?;
                self.array(item.data_type())?;
            }
            DataType::LargeList(item) => {
                self.offsets(rows, size_of::<i64>())?;
                self.array(item.data_type())?;
            }
            DataType::FixedSizeList(item, size) => {
                let items = self.array(item.data_type())?;
                let needed = usize::try_from(*size)
                    .ok()
                    .and_then(|n| n.checked_mul(rows));
                needed
                    .filter(|needed| *needed <= items)
                    .ok_or_else(|| broken("too few items in a fixed size list"))?;
            }
            DataType::Struct(fields) => {
                for field in fields {
                    self.array(field.data_type())?;
                }
            }
            DataType::FixedSizeBinary(width) => self.fixed_size_binary(rows, *width)?,
            DataType::Dictionary(keys, _) => self.fixed_width(rows, keys)?,
            other => self.fixed_width(rows, other)?,
        }
        Ok(rows)
    }

    fn fixed_width(&mut self, rows: usize, data_type: &DataType) -> Result<(), ArrowError> {
        self.fixed_width_range(rows, data_type).map(drop)
    }

    pub(super) fn fixed_width_range(
        &mut self,
        rows: usize,
        data_type: &DataType,
    ) -> Result<Range<usize>, ArrowError> {
        let width = data_type
            .primitive_width()
            .ok_or_else(|| broken(&format!("type {data_type} in a payload")))?;
        self.range(rows * width, width)
    }

    /// Arrow addresses the values with an i32, and panics beyond.
    fn fixed_size_binary(&mut self, rows: usize, width: i32) -> Result<(), ArrowError> {
        let bytes = usize::try_from(width)
            .ok()
            .and_then(|width| width.checked_mul(rows))
            .filter(|bytes| i32::try_from(*bytes).is_ok())
            .ok_or_else(|| broken("too long a fixed size binary"))?;
        self.buffer(bytes, 1)
    }

    fn byte_array(&mut self, rows: usize, offset_width: usize) -> Result<(), ArrowError> {
        self.offsets(rows, offset_width)?;
        self.buffer(0, 1)
    }

    fn views(&mut self, rows: usize) -> Result<(), ArrowError> {
        let count = self.variadic_counts.as_mut().and_then(Iterator::next);
        let count = count
            .and_then(length)
            .ok_or_else(|| broken("no count of view buffers"))?;
        self.buffer(rows * size_of::<u128>(), size_of::<u128>())?;
        (0..count).try_for_each(|_| self.buffer(0, 1))
    }

    /// The offsets of no rows may be missing.
    fn offsets(&mut self, rows: usize, width: usize) -> Result<(), ArrowError> {
        let offsets = if rows == 0 { 0 } else { rows + 1 };
        self.buffer(offsets * width, width)
    }

    /// Passes a buffer of at least `bytes` bytes whose values are `width` wide.
    fn buffer(&mut self, bytes: usize, width: usize) -> Result<(), ArrowError> {
        self.range(bytes, width).map(drop)
    }

    /// As [`Walk::buffer`]; where the buffer lies in the body.
    pub(super) fn range(&mut self, bytes: usize, width: usize) -> Result<Range<usize>, ArrowError> {
        let buffer = self
            .buffers
            .next()
            .ok_or_else(|| broken("too few buffers"))?;
        let (start, held) = (
            usize::try_from(buffer.offset()),
            usize::try_from(buffer.length()),
        );
        let range = match (start, held) {
            (Ok(start), Ok(held)) if held >= bytes && held.is_multiple_of(width) => {
                start.checked_add(held).map(|end| start..end)
            }
            _ => None,
        };
        range
            .filter(|range| range.end <= self.body_bytes)
            .ok_or_else(|| broken("a buffer that is too short or outside of the body"))
    }
}

/// A length that an array can have.
pub(super) fn length(value: i64) -> Option<usize> {
    usize::try_from(value)
        .ok()
        .filter(|length| *length <= ARRAY_LENGTH_MAX)
}

pub(super) fn broken(reason: &str) -> ArrowError {
    ArrowError::IpcError(reason.to_owned())
}
