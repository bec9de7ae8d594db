//! A record batch as Arrow IPC messages whose bodies are gathered from the batch's own buffers.
//!
//! A dictionary message per dictionary column, in the order of a depth-first walk (which also numbers them), then
//! the record batch message. They are the ones that Arrow's own writer makes
//! (<https://arrow.apache.org/docs/format/Columnar.html>, "Encapsulated message format"), uncompressed, every
//! buffer 64-byte aligned. What has to be copied: null bitmaps and booleans that don't start on a byte, the
//! offsets of sliced strings and lists, which IPC wants to start at zero, and what few views or keys use of
//! large buffers or dictionaries.

use std::collections::HashMap;
use std::io::IoSlice;

use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryViewType, ByteViewType, StringViewType};
use arrow_array::{Array, GenericByteViewArray, RecordBatch, make_array};
use arrow_buffer::{ArrowNativeType, Buffer, ToByteSlice};
use arrow_data::ArrayData;
use arrow_data::transform::MutableArrayData;
use arrow_ipc::{
    DictionaryBatchBuilder, FieldNode, MessageBuilder, MessageHeader, MetadataVersion,
    RecordBatchBuilder,
};
use arrow_schema::{ArrowError, DataType};
use flatbuffers::FlatBufferBuilder;

use super::frame::{FLAG_PRODUCER, FRAME_ALIGNMENT, PAYLOAD_BYTES_MAX};
use super::producers::Source;
use crate::error::{Error, Result};

const PADDING: [u8; FRAME_ALIGNMENT] = [0; FRAME_ALIGNMENT];
/// What begins every message.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];
/// View buffers and dictionaries up to this size are written whole, whatever part of them is used.
const COMPACTED_BYTES_MIN: usize = 4 << 10;
/// Larger ones are compacted when they are more than so many times what is used.
const COMPACTED_RATIO: usize = 2;

/// A batch ready to be written: the pieces of its messages, with their checksum.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    parts: Vec<Buffer>,
    /// The flags of the frame that holds the batch.
    pub(crate) flags: u16,
    pub(crate) payload_length: u32,
    pub(crate) payload_checksum: u32,
    pub(crate) row_count: u32,
    /// How many offsets the frame takes: one a row, but in a staged log.
    pub(crate) offsets: u64,
}

impl EncodedBatch {
    /// Encodes a batch. Fails when a column's type cannot be stored, or the batch is too large.
    pub(crate) fn new(batch: &RecordBatch, source: Option<Source>) -> Result<Self> {
        let row_count = u32::try_from(batch.num_rows())
            .map_err(|_| Error::invalid("batch", "has more than 4,294,967,295 rows; split it"))?;
        let mut gather = Gather::default();
        for column in batch.columns() {
            gather
                .array(&column.to_data())
                .map_err(Error::arrow("encode the batch"))?;
        }
        let mut parts = Vec::new();
        parts.extend(source.map(|source| Buffer::from(source.to_block().as_slice())));
        for (id, values) in std::mem::take(&mut gather.dictionaries)
            .iter_mut()
            .enumerate()
        {
            values.gather.message(values.count, Some(id), &mut parts);
        }
        gather.message(batch.num_rows(), None, &mut parts);
        let bytes = parts
            .iter()
            .map(|part| part.len().next_multiple_of(FRAME_ALIGNMENT) as u64)
            .sum();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Error::RecordTooLarge {
                bytes,
                limit: PAYLOAD_BYTES_MAX,
            });
        }
        let mut encoded = Self {
            flags: source.map_or(0, |_| FLAG_PRODUCER),
            parts,
            payload_length: bytes as u32,
            payload_checksum: 0,
            row_count,
            offsets: u64::from(row_count),
        };
        encoded.payload_checksum = encoded.checksum();
        Ok(encoded)
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
        self.parts
            .iter()
            .flat_map(|part| {
                let padding = PADDING.get(..padding_of(part.len())).unwrap_or_default();
                [part.as_slice(), padding]
            })
            .filter(|slice| !slice.is_empty())
            .map(IoSlice::new)
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
    dictionaries: Vec<Dictionary>,
}

/// The values of a dictionary column.
struct Dictionary {
    count: usize,
    gather: Gather,
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
            DataType::Utf8View => self.views::<StringViewType>(data),
            DataType::BinaryView => self.views::<BinaryViewType>(data),
            DataType::Dictionary(keys, _) => self.dictionary(data, keys),
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

    fn views<T: ByteViewType>(&mut self, data: &ArrayData) -> Result<(), ArrowError> {
        const VIEW_BYTES: usize = 16;
        let compacted = compact_views::<T>(data);
        let data = compacted.as_ref().unwrap_or(data);
        self.fixed_width(data, VIEW_BYTES)?;
        for values in data.buffers().iter().skip(1) {
            self.buffer(values.clone());
        }
        self.variadic_counts.push(data.buffers().len() as i64 - 1);
        Ok(())
    }

    fn dictionary(&mut self, data: &ArrayData, keys: &DataType) -> Result<(), ArrowError> {
        let width = keys.primitive_width().ok_or_else(|| missing("keys"))?;
        let values = first_child(data)?;
        // No more values are used than there are keys.
        let sparse = values.len() > COMPACTED_RATIO * data.len();
        let values = if sparse && values.get_slice_memory_size()? > COMPACTED_BYTES_MIN {
            let (keys, values) = compact_dictionary(data, values, width)?;
            self.buffer(keys);
            values
        } else {
            self.fixed_width(data, width)?;
            values.clone()
        };
        let mut gather = Gather::default();
        gather.array(&values)?;
        if !gather.dictionaries.is_empty() {
            let reason = "a dictionary of dictionaries";
            return Err(ArrowError::NotYetImplemented(reason.into()));
        }
        self.dictionaries.push(Dictionary {
            count: values.len(),
            gather,
        });
        Ok(())
    }

    /// Adds the encapsulated message to `parts`: of the dictionary of that id, or else of a record batch.
    fn message(&mut self, row_count: usize, dictionary: Option<usize>, parts: &mut Vec<Buffer>) {
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
        let batch = batch.finish();
        let (kind, header) = match dictionary {
            None => (MessageHeader::RecordBatch, batch.as_union_value()),
            Some(id) => {
                let mut dictionary = DictionaryBatchBuilder::new(&mut builder);
                dictionary.add_id(id as i64);
                dictionary.add_data(batch);
                let dictionary = dictionary.finish();
                (MessageHeader::DictionaryBatch, dictionary.as_union_value())
            }
        };
        let mut message = MessageBuilder::new(&mut builder);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(kind);
        message.add_bodyLength(self.length as i64);
        message.add_header(header);
        let message = message.finish();
        builder.finish(message, None);
        parts.push(encapsulated(builder.finished_data()));
        parts.append(&mut self.parts);
    }
}

/// A message up to its body: continuation, length, flatbuffer, padding.
fn encapsulated(flatbuffer: &[u8]) -> Buffer {
    let prefix = CONTINUATION.len() + size_of::<i32>();
    let padded = (prefix + flatbuffer.len()).next_multiple_of(FRAME_ALIGNMENT);
    let mut bytes = Vec::with_capacity(padded);
    bytes.extend_from_slice(&CONTINUATION);
    bytes.extend_from_slice(&((padded - prefix) as i32).to_le_bytes());
    bytes.extend_from_slice(flatbuffer);
    bytes.resize(padded, 0);
    Buffer::from_vec(bytes)
}

/// The views with buffers of their own, if those they share are much larger than what they see of them.
fn compact_views<T: ByteViewType>(data: &ArrayData) -> Option<ArrayData> {
    let held: usize = data.buffers().iter().skip(1).map(Buffer::len).sum();
    if held <= COMPACTED_BYTES_MIN {
        return None;
    }
    let array = GenericByteViewArray::<T>::from(data.clone());
    let seen = array.total_buffer_bytes_used();
    (held > COMPACTED_RATIO * seen).then(|| array.gc().into_data())
}

/// The keys, `width` bytes each, of a dictionary that holds only the values that they use, and those values.
fn compact_dictionary(
    data: &ArrayData,
    values: &ArrayData,
    width: usize,
) -> Result<(Buffer, ArrayData), ArrowError> {
    let array = make_array(data.clone());
    let dictionary = array
        .as_any_dictionary_opt()
        .ok_or_else(|| missing("dictionary"))?;
    let mut used = MutableArrayData::new(vec![values], false, data.len());
    let mut compacted = HashMap::new();
    let mut keys = Vec::with_capacity(data.len() * width);
    for old in dictionary.normalized_keys() {
        let next = compacted.len();
        let new = *compacted.entry(old).or_insert_with(|| {
            used.extend(0, old, old + 1);
            next
        });
        keys.extend(new.to_le_bytes().into_iter().take(width));
    }
    Ok((Buffer::from_vec(keys), used.freeze()))
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
