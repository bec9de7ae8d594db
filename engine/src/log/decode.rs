//! A frame's payload as a record batch whose buffers are the payload's memory.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::root_as_message;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};

use super::frame::FRAME_ALIGNMENT;

const PREFIX_BYTES: usize = 8;

/// Decodes a payload that [`super::encode`] made, without copying it.
///
/// Everything is validated (ranges, offsets, UTF-8), as a checksum only says that the bytes are the
/// ones that were written.
pub(crate) fn decode(payload: &Buffer, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let prefix = payload.get(4..PREFIX_BYTES).and_then(|b| b.try_into().ok());
    let metadata_length = prefix
        .and_then(|bytes| usize::try_from(i32::from_le_bytes(bytes)).ok())
        .ok_or_else(|| broken("no message length"))?;
    let body_start = PREFIX_BYTES + metadata_length;
    let metadata = payload
        .get(PREFIX_BYTES..body_start)
        .ok_or_else(|| broken("message length beyond the payload"))?;
    let message = root_as_message(metadata).map_err(|e| broken(&e.to_string()))?;
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| broken("not a record batch message"))?;
    if !body_start.is_multiple_of(FRAME_ALIGNMENT) {
        return Err(broken("a body that is not aligned"));
    }
    let body = payload.slice(body_start);
    check_ranges(&batch, body.len())?;
    Shape::check(&batch, &schema)?;
    read_record_batch(
        &body,
        batch,
        schema,
        &HashMap::new(),
        None,
        &message.version(),
    )
}

/// Arrow's reader panics on a buffer outside of the body, or on offsets that are not aligned, so look first.
fn check_ranges(batch: &arrow_ipc::RecordBatch<'_>, body_bytes: usize) -> Result<(), ArrowError> {
    let rows_fit = |length: i64| length >= 0;
    let buffers = batch.buffers().ok_or_else(|| broken("no buffers"))?;
    let nodes = batch.nodes().ok_or_else(|| broken("no nodes"))?;
    let buffers_fit = buffers.iter().all(|buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        buffer.offset() >= 0
            && buffer.offset() % FRAME_ALIGNMENT as i64 == 0
            && buffer.length() >= 0
            && end
                .and_then(|end| usize::try_from(end).ok())
                .is_some_and(|end| end <= body_bytes)
    });
    let nodes_fit = nodes
        .iter()
        .all(|node| rows_fit(node.length()) && rows_fit(node.null_count()));
    if buffers_fit && nodes_fit && rows_fit(batch.length()) {
        Ok(())
    } else {
        Err(broken("a buffer outside of the body, or not aligned"))
    }
}

/// What a message has for the columns that were not looked at yet.
struct Shape<N, B, C> {
    nodes: N,
    buffers: B,
    view_counts: C,
}

impl Shape<(), (), ()> {
    /// Arrow's reader panics on a message whose counts of buffers are not the schema's, with fewer bits of validity
    /// than rows or with part of a value, and allocates what a compressed one asks for. None of these is
    /// [`super::encode`]'s, so look first.
    fn check(batch: &arrow_ipc::RecordBatch<'_>, schema: &Schema) -> Result<(), ArrowError> {
        if batch.compression().is_some() {
            return Err(broken("a compressed message"));
        }
        let mut shape = Shape {
            nodes: batch.nodes().into_iter().flatten(),
            buffers: batch.buffers().into_iter().flatten(),
            view_counts: batch.variadicBufferCounts().into_iter().flatten(),
        };
        let mut fields = schema.fields().iter();
        let fits = fields.all(|field| shape.take(field.data_type()).is_some());
        match fits && shape.view_counts.next().is_none() {
            true => Ok(()),
            false => Err(broken("not the columns of the schema")),
        }
    }
}

impl<'a, N, B, C> Shape<N, B, C>
where
    N: Iterator<Item = &'a arrow_ipc::FieldNode>,
    B: Iterator<Item = &'a arrow_ipc::Buffer>,
    C: Iterator<Item = i64>,
{
    /// Takes what a column of that type has; `None` when it isn't there.
    fn take(&mut self, data_type: &DataType) -> Option<()> {
        let node = self.nodes.next()?;
        if let DataType::Null = data_type {
            return Some(());
        }
        let validity = self.buffers.next()?;
        let bits = validity.length().saturating_mul(8);
        if node.null_count() > 0 && bits < node.length() {
            return None;
        }
        match data_type {
            DataType::Struct(fields) => fields.iter().try_for_each(|f| self.take(f.data_type())),
            DataType::FixedSizeList(field, size) => {
                node.length().checked_mul(i64::from(*size))?;
                self.take(field.data_type())
            }
            DataType::List(field) | DataType::Map(field, _) => {
                self.take_values(size_of::<i32>())?;
                self.take(field.data_type())
            }
            DataType::LargeList(field) => {
                self.take_values(size_of::<i64>())?;
                self.take(field.data_type())
            }
            DataType::Utf8View | DataType::BinaryView => {
                self.take_values(size_of::<u128>())?;
                let count = self.view_counts.next().filter(|count| *count >= 0)?;
                (0..count).try_for_each(|_| self.take_values(1))
            }
            DataType::Utf8 | DataType::Binary => {
                self.take_values(size_of::<i32>())?;
                self.take_values(1)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.take_values(size_of::<i64>())?;
                self.take_values(1)
            }
            other => self.take_values(other.primitive_width().unwrap_or(1)),
        }
    }

    /// Takes a buffer of values of that many bytes each.
    fn take_values(&mut self, width: usize) -> Option<()> {
        let length = usize::try_from(self.buffers.next()?.length()).ok()?;
        (length % width == 0).then_some(())
    }
}

fn broken(reason: &str) -> ArrowError {
    ArrowError::IpcError(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, StringArray, StringViewArray};
    use arrow_schema::Field;

    use super::super::encode::EncodedBatch;
    use super::*;

    fn columns() -> Vec<RecordBatch> {
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a view that has a buffer"]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let of = |column| RecordBatch::try_from_iter([("c", column)]).unwrap();
        let floats = Float32Array::from(vec![1.0; 4]);
        let field = Arc::new(Field::new("item", DataType::Float32, true));
        let vectors = FixedSizeListArray::new(field, 4, Arc::new(floats), None);
        vec![of(views), of(texts), of(Arc::new(vectors))]
    }

    fn payload(batch: &RecordBatch) -> Vec<u8> {
        let encoded = EncodedBatch::new(batch, None).unwrap();
        encoded.slices().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_message_of_another_schema_is_an_error() {
        let batches = columns();
        let message = Buffer::from(payload(&batches[0]));
        assert!(decode(&message, batches[1].schema()).is_err());
        assert_eq!(decode(&message, batches[0].schema()).unwrap(), batches[0]);
    }

    #[test]
    fn no_changed_byte_of_a_message_panics() {
        for batch in columns() {
            let whole = payload(&batch);
            for (at, value) in (0..whole.len()).flat_map(|at| [1, 7, 127, 255].map(|v| (at, v))) {
                let mut changed = whole.clone();
                changed[at] = changed[at].wrapping_add(value);
                let _ = decode(&Buffer::from(changed), batch.schema());
            }
        }
    }
}
