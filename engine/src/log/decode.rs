//! A frame's payload as a record batch whose buffers are the payload's memory.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::root_as_message;
use arrow_schema::{ArrowError, SchemaRef};

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
    let body = payload.slice(body_start);
    check_ranges(&batch, body.len())?;
    read_record_batch(
        &body,
        batch,
        schema,
        &HashMap::new(),
        None,
        &message.version(),
    )
}

/// Arrow's reader panics on a buffer outside of the body, so look first.
fn check_ranges(batch: &arrow_ipc::RecordBatch<'_>, body_bytes: usize) -> Result<(), ArrowError> {
    let rows_fit = |length: i64| length >= 0;
    let buffers = batch.buffers().ok_or_else(|| broken("no buffers"))?;
    let nodes = batch.nodes().ok_or_else(|| broken("no nodes"))?;
    let buffers_fit = buffers.iter().all(|buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        buffer.offset() >= 0
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
        Err(broken("a buffer outside of the body"))
    }
}

fn broken(reason: &str) -> ArrowError {
    ArrowError::IpcError(reason.to_owned())
}
