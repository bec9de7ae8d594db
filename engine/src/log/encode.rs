//! A record batch as an Arrow IPC message whose body is gathered from the batch's own buffers.
//!
//! The message is the one that Arrow's own writer makes (<https://arrow.apache.org/docs/format/Columnar.html>,
//! "Encapsulated message format"), uncompressed, every buffer 64-byte aligned. What has to be copied:
//! null bitmaps and booleans that don't start on a byte, and the offsets of sliced strings and lists,
//! which IPC wants to start at zero.

use std::io::IoSlice;

use arrow_array::{Array, RecordBatch};
use arrow_buffer::{ArrowNativeType, Buffer, ToByteSlice};
use arrow_data::ArrayData;
use arrow_ipc::{FieldNode, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder};
use arrow_schema::{ArrowError, DataType, Schema};
use flatbuffers::FlatBufferBuilder;

use super::frame::{FLAG_PRODUCER, FRAME_ALIGNMENT, PAYLOAD_BYTES_MAX};
use super::producers::Source;
use crate::error::{Error, Result};

const PADDING: [u8; FRAME_ALIGNMENT] = [0; FRAME_ALIGNMENT];
const CONTINUATION: [u8; 4] = [0xff; 4];

/// A batch ready to be written: the message's metadata and the pieces of its body, with its checksum.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    source: Option<[u8; FRAME_ALIGNMENT]>,
    metadata: Vec<u8>,
    body: Vec<Buffer>,
    pub(crate) payload_length: u32,
    pub(crate) payload_checksum: u32,
    pub(crate) row_count: u32,
}

impl EncodedBatch {
    /// Encodes a batch. Fails when a column's type is not one of [`check_schema`]'s, or the batch is too large.
    pub(crate) fn new(batch: &RecordBatch, source: Option<Source>) -> Result<Self> {
        let row_count = u32::try_from(batch.num_rows())
            .map_err(|_| Error::invalid("batch", "has more than 4,294,967,295 rows; split it"))?;
        let mut gather = Gather::default();
        for column in batch.columns() {
            gather
                .array(&column.to_data())
                .map_err(Error::arrow("encode the batch"))?;
        }
        let metadata = gather.metadata(batch.num_rows());
        let source = source.map(Source::to_block);
        let source_bytes = source.map_or(0, |block| block.len() as u64);
        let bytes = source_bytes + metadata.len() as u64 + gather.length;
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Error::RecordTooLarge {
                bytes,
                limit: PAYLOAD_BYTES_MAX,
            });
        }
        let mut encoded = Self {
            source,
            metadata,
            body: gather.parts,
            payload_length: bytes as u32,
            payload_checksum: 0,
            row_count,
        };
        encoded.payload_checksum = encoded.checksum();
        Ok(encoded)
    }

    /// The flags of the batch's frame.
    pub(crate) fn flags(&self) -> u16 {
        match self.source {
            Some(_) => FLAG_PRODUCER,
            None => 0,
        }
    }

    fn checksum(&self) -> u32 {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        for slice in self.slices() {
            digest.update(&slice);
        }
        digest.finalize() as u32
    }

    /// The payload's pieces in order, padding included.
    pub(crate) fn slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        let body = self.body.iter().flat_map(|part| {
            let padding = PADDING.get(..padding_of(part.len())).unwrap_or_default();
            [part.as_slice(), padding]
        });
        let source = self.source.iter().map(|block| block.as_slice());
        source
            .chain(std::iter::once(self.metadata.as_slice()))
            .chain(body)
            .filter(|slice| !slice.is_empty())
            .map(IoSlice::new)
    }
}

/// Refuses a schema with a column that a frame cannot hold.
pub(crate) fn check_schema(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        if let Some(unsupported) = unsupported_in(field.data_type()) {
            return Err(Error::invalid(
                format!("column {:?}", field.name()),
                format!("type {unsupported} cannot be stored; cast it to its value type"),
            ));
        }
    }
    Ok(())
}

/// The first type within `data_type` that [`Gather`] cannot write.
fn unsupported_in(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Dictionary(..)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => Some(data_type),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => unsupported_in(field.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|f| unsupported_in(f.data_type())),
        _ => None,
    }
}

fn padding_of(length: usize) -> usize {
    length.next_multiple_of(FRAME_ALIGNMENT) - length
}

/// The nodes and buffers of an IPC record batch, in the order of the format's depth-first walk.
#[derive(Default)]
struct Gather {
    nodes: Vec<FieldNode>,
    buffers: Vec<arrow_ipc::Buffer>,
    variadic_counts: Vec<i64>,
    parts: Vec<Buffer>,
    length: u64,
}

impl Gather {
    fn buffer(&mut self, part: Buffer) {
        let bytes = part.len();
        self.buffers
            .push(arrow_ipc::Buffer::new(self.length as i64, bytes as i64));
        self.length += (bytes + padding_of(bytes)) as u64;
        if bytes > 0 {
            self.parts.push(part);
        }
    }

    fn array(&mut self, data: &ArrayData) -> Result<(), ArrowError> {
        let is_null = *data.data_type() == DataType::Null;
        let null_count = if is_null {
            data.len()
        } else {
            data.null_count()
        };
        self.nodes
            .push(FieldNode::new(data.len() as i64, null_count as i64));
        if !is_null {
            let validity = data.nulls().filter(|nulls| nulls.null_count() > 0);
            self.buffer(validity.map_or_else(no_bytes, |nulls| nulls.inner().sliced()));
        }
        match data.data_type() {
            DataType::Null => Ok(()),
            DataType::Boolean => {
                let bits = first_buffer(data)?.bit_slice(data.offset(), data.len());
                self.buffer(bits);
                Ok(())
            }
            DataType::Utf8 | DataType::Binary => self.byte_array::<i32>(data),
            DataType::LargeUtf8 | DataType::LargeBinary => self.byte_array::<i64>(data),
            DataType::Utf8View | DataType::BinaryView => self.views(data),
            DataType::List(_) | DataType::Map(..) => self.list::<i32>(data),
            DataType::LargeList(_) => self.list::<i64>(data),
            DataType::FixedSizeList(_, size) => {
                let size = *size as usize;
                let child = first_child(data)?.slice(data.offset() * size, data.len() * size);
                self.array(&child)
            }
            // Arrow slices a struct by slicing its children, whatever its own offset then says.
            DataType::Struct(_) => data
                .child_data()
                .iter()
                .try_for_each(|child| self.array(child)),
            DataType::FixedSizeBinary(width) => self.fixed_width(data, *width as usize),
            other => match other.primitive_width() {
                Some(width) => self.fixed_width(data, width),
                None => Err(ArrowError::NotYetImplemented(format!("type {other}"))),
            },
        }
    }

    fn fixed_width(&mut self, data: &ArrayData, width: usize) -> Result<(), ArrowError> {
        let values = first_buffer(data)?;
        self.buffer(values.slice_with_length(data.offset() * width, data.len() * width));
        Ok(())
    }

    fn byte_array<O: ArrowNativeType + ToByteSlice>(
        &mut self,
        data: &ArrayData,
    ) -> Result<(), ArrowError> {
        let (offsets, start, end) = offsets_of::<O>(data)?;
        self.buffer(offsets);
        let values = data.buffers().get(1).ok_or_else(|| missing("values"))?;
        self.buffer(values.slice_with_length(start, end - start));
        Ok(())
    }

    fn list<O: ArrowNativeType + ToByteSlice>(
        &mut self,
        data: &ArrayData,
    ) -> Result<(), ArrowError> {
        let (offsets, start, end) = offsets_of::<O>(data)?;
        self.buffer(offsets);
        let child = first_child(data)?.slice(start, end - start);
        self.array(&child)
    }

    fn views(&mut self, data: &ArrayData) -> Result<(), ArrowError> {
        const VIEW_BYTES: usize = 16;
        self.fixed_width(data, VIEW_BYTES)?;
        for values in data.buffers().iter().skip(1) {
            self.buffer(values.clone());
        }
        self.variadic_counts.push(data.buffers().len() as i64 - 1);
        Ok(())
    }

    /// The encapsulated message up to its body: continuation, length, flatbuffer, padding.
    fn metadata(&self, row_count: usize) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let buffers = builder.create_vector(&self.buffers);
        let nodes = builder.create_vector(&self.nodes);
        let variadic = (!self.variadic_counts.is_empty())
            .then(|| builder.create_vector(&self.variadic_counts));
        let mut batch = RecordBatchBuilder::new(&mut builder);
        batch.add_length(row_count as i64);
        batch.add_nodes(nodes);
        batch.add_buffers(buffers);
        if let Some(variadic) = variadic {
            batch.add_variadicBufferCounts(variadic);
        }
        let batch = batch.finish().as_union_value();
        let mut message = MessageBuilder::new(&mut builder);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(MessageHeader::RecordBatch);
        message.add_bodyLength(self.length as i64);
        message.add_header(batch);
        let message = message.finish();
        builder.finish(message, None);

        let flatbuffer = builder.finished_data();
        let prefix = CONTINUATION.len() + size_of::<i32>();
        let padded = (prefix + flatbuffer.len()).next_multiple_of(FRAME_ALIGNMENT);
        let mut bytes = Vec::with_capacity(padded);
        bytes.extend_from_slice(&CONTINUATION);
        bytes.extend_from_slice(&((padded - prefix) as i32).to_le_bytes());
        bytes.extend_from_slice(flatbuffer);
        bytes.resize(padded, 0);
        bytes
    }
}

/// The offsets of a string or list array from zero on, and the range of values that they span.
fn offsets_of<O: ArrowNativeType + ToByteSlice>(
    data: &ArrayData,
) -> Result<(Buffer, usize, usize), ArrowError> {
    if data.is_empty() {
        return Ok((no_bytes(), 0, 0));
    }
    let width = size_of::<O>();
    let window =
        first_buffer(data)?.slice_with_length(data.offset() * width, (data.len() + 1) * width);
    let offsets = window.typed_data::<O>();
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
        return Err(missing("offsets"));
    };
    let (start, end) = (first.as_usize(), last.as_usize());
    if start == 0 {
        return Ok((window, start, end));
    }
    let rebased = offsets
        .iter()
        .map(|offset| O::usize_as(offset.as_usize() - start))
        .collect::<Vec<O>>();
    Ok((Buffer::from_vec(rebased), start, end))
}

fn no_bytes() -> Buffer {
    Buffer::from_vec(Vec::<u8>::new())
}

fn first_buffer(data: &ArrayData) -> Result<&Buffer, ArrowError> {
    data.buffers().first().ok_or_else(|| missing("buffer"))
}

fn first_child(data: &ArrayData) -> Result<&ArrayData, ArrowError> {
    data.child_data().first().ok_or_else(|| missing("child"))
}

fn missing(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("an array without its {what}"))
}
