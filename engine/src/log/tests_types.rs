//! Every type that a lake takes goes through a payload, and no payload makes the decoder panic.

mod samples;

use std::sync::Arc;

use DataType::*;
use arrow_array::types::Int32Type;
use arrow_array::*;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, Field, IntervalUnit, Schema, SchemaRef, UnionMode};
use proptest::prelude::*;

use self::samples::*;
use super::decoder::Decoder;
use super::encode::EncodedBatch;
use super::types::check_schema;

fn payload(batch: &RecordBatch) -> Buffer {
    let encoded = EncodedBatch::new(batch, None).unwrap();
    let mut bytes = MutableBuffer::new(encoded.payload_length as usize);
    encoded
        .slices()
        .for_each(|slice| bytes.extend_from_slice(&slice));
    assert_eq!(bytes.len(), encoded.payload_length as usize);
    bytes.into()
}

fn decode(payload: &Buffer, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    Decoder::new(schema).decode(payload)
}

/// Fails unless every buffer is aligned and lies in the payload. Of no rows Arrow makes buffers of its own.
fn assert_in_payload(data: &ArrayData, payload: &Buffer) {
    let range = payload.as_slice().as_ptr_range();
    let validity = data.nulls().map(|nulls| nulls.buffer());
    for buffer in data.buffers().iter().chain(validity) {
        if !data.is_empty() && !buffer.is_empty() {
            assert!(
                range.contains(&buffer.as_ptr()),
                "{} was copied",
                data.data_type()
            );
            assert_eq!(buffer.as_ptr() as usize % 64, 0, "{}", data.data_type());
        }
    }
    let children = data.child_data().iter();
    children.for_each(|child| assert_in_payload(child, payload));
}

fn assert_round_trip(batch: &RecordBatch) {
    let payload = payload(batch);
    let read = decode(&payload, batch.schema()).unwrap();
    assert_eq!(&read, batch);
    for column in read.columns() {
        column.to_data().validate_full().unwrap();
        assert_in_payload(&column.to_data(), &payload);
    }
}

#[test]
fn every_type_that_a_lake_takes_reads_back_equal_alone_and_nested() {
    let mut numbers = Numbers(7);
    for leaf in leaves().into_iter().chain(nested()) {
        let around = [
            list_of(leaf.clone()),
            struct_of([leaf.clone()]),
            vector_of(leaf.clone(), 2),
            map_of(Utf8, leaf.clone()),
            list_of(struct_of([leaf.clone(), Utf8])),
        ];
        let taken =
            |t: &DataType| check_schema(&Schema::new(vec![Field::new("c", t.clone(), true)]));
        taken(&leaf).unwrap();
        let around = around.into_iter().filter(|around| taken(around).is_ok());
        for data_type in around.chain([leaf.clone()]) {
            for rows in [0, 1, 40] {
                assert_round_trip(&numbers.batch(std::slice::from_ref(&data_type), rows));
            }
        }
    }
}

#[test]
fn some_columns_read_back_as_they_do_among_all_in_the_order_asked_for() {
    let types: Vec<_> = leaves().into_iter().chain(nested()).collect();
    let batch = Numbers(3).batch(&types, 40);
    let payload = payload(&batch);
    let names = batch.schema();
    let names: Vec<_> = names.fields().iter().map(|f| f.name().as_str()).collect();
    for (first, second) in names.iter().zip(names.iter().skip(1)) {
        let wanted = [*second, *first];
        let decoder = Decoder::of_columns(batch.schema(), &wanted).unwrap();
        let read = decoder.decode(&payload).unwrap();
        let column = |name| batch.column_by_name(name).unwrap();
        assert_eq!(read.num_columns(), 2);
        assert_eq!(&wanted.map(column), &[read.column(0), read.column(1)]);
        assert_in_payload(&read.column(0).to_data(), &payload);
    }
    let none = Decoder::of_columns(batch.schema(), &[]).unwrap();
    assert_eq!(none.decode(&payload).unwrap().num_rows(), 40);
}

#[test]
fn what_a_lake_does_not_take_is_refused_with_what_to_do() {
    let struct_vector = vector_of(struct_of([Int32]), 2);
    let sorted = match map_of(Utf8, Int32) {
        Map(entries, _) => Map(entries, true),
        other => other,
    };
    let item = || Arc::new(field(Int32));
    let ends = Arc::new(Field::new("run_ends", Int32, false));
    for (refused, instead) in [
        (Decimal32(5, 2), "cast it to Decimal128(5, 2)"),
        (Decimal64(5, 2), "cast it to Decimal128(5, 2)"),
        (Interval(IntervalUnit::DayTime), "cast it to a Duration"),
        (ListView(item()), "cast it to List(Int32)"),
        (LargeListView(item()), "cast it to LargeList(Int32)"),
        (RunEndEncoded(ends, item()), "cast it to Int32"),
        (
            Union(arrow_schema::UnionFields::empty(), UnionMode::Dense),
            "Struct",
        ),
        (sorted, "not sorted"),
        (dictionary_of(Int8, Date32), "cast it to Date32"),
        (
            dictionary_of(Int8, Utf8View),
            "cast it to Dictionary(Int8, Utf8)",
        ),
        (dictionary_of(Int8, list_of(Int32)), "cast it to List"),
        (vector_of(Utf8, 2), "cast it to List(Utf8)"),
        (vector_of(Float32, 0), "cast it to List(Float32)"),
        (vector_of(list_of(Int32), 2), "cast it to List"),
        (vector_of(struct_of([list_of(Int32)]), 2), "List"),
        (vector_of(struct_vector.clone(), 2), "cast it to List"),
        (list_of(struct_vector), "cast it to List"),
        (struct_of([]), "give it a field"),
    ] {
        for data_type in [refused.clone(), struct_of([list_of(refused)])] {
            let schema = Schema::new(vec![Field::new("column", data_type, true)]);
            let error = check_schema(&schema).unwrap_err().to_string();
            assert!(
                error.contains("\"column\"") && error.contains(instead),
                "{error}"
            );
        }
    }
}

#[test]
fn without_dictionaries_a_payload_is_the_one_message_that_version_1_wrote() {
    let whole = many_types(100);
    for (batch, length, checksum) in [
        (&whole, 24_768, 715_300_773),
        (&whole.slice(13, 70), 18_944, 3_134_238_312),
    ] {
        let encoded = EncodedBatch::new(batch, None).unwrap();
        let written = (encoded.payload_length, encoded.payload_checksum);
        assert_eq!(written, (length, checksum));
        assert_round_trip(batch);
    }
}

#[test]
fn a_slice_writes_only_its_part() {
    let mut numbers = Numbers(3);
    for data_type in leaves().into_iter().chain(nested()) {
        let whole = numbers.batch(std::slice::from_ref(&data_type), 20_000);
        let slice = whole.slice(9_001, 10);
        assert_round_trip(&slice);
        let bytes = payload(&slice).len();
        assert!(bytes < 16 << 10, "{data_type}: {bytes} bytes");
    }
}

#[test]
fn a_slice_of_a_large_dictionary_writes_the_values_that_it_uses() {
    let words = (0..30_000).map(|i| format!("word {}", i % 15_000));
    let words: Vec<_> = words.collect();
    let words: DictionaryArray<Int32Type> = words.iter().map(|word| Some(word.as_str())).collect();
    let keys = words.keys().iter().enumerate();
    let keys: Int32Array = keys.map(|(i, key)| key.filter(|_| i % 3 > 0)).collect();
    let words = DictionaryArray::new(keys, words.values().clone());
    let whole = RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef)]).unwrap();
    assert!(payload(&whole).len() > 128 << 10, "all are used");
    let slice = whole.slice(14_990, 20);
    assert_round_trip(&slice);
    assert!(payload(&slice).len() < 2 << 10);
}

#[test]
fn values_go_out_of_the_batch_itself() {
    let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let views = StringViewArray::from_iter_values((0..100).map(|i| format!("{i:0>100}")));
    let sources = [words.to_data(), words.values().to_data(), views.to_data()];
    let columns: [ArrayRef; 2] = [Arc::new(words.slice(1, 1)), Arc::new(views.slice(0, 60))];
    for column in columns {
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let encoded = EncodedBatch::new(&batch, None).unwrap();
        let of_the_batch = |slice: &[u8]| {
            let buffers = sources.iter().flat_map(ArrayData::buffers);
            let mut ranges = buffers.map(|buffer| buffer.as_slice().as_ptr_range());
            ranges.any(|range| range.contains(&slice.as_ptr()))
        };
        let slices = encoded.slices().map(|slice| of_the_batch(&slice));
        assert!(slices.filter(|own| *own).count() >= 2);
    }
}

#[test]
fn no_length_or_range_makes_the_decoder_panic() {
    let mut types = nested();
    types.extend([Utf8View, LargeUtf8, FixedSizeBinary(3), Boolean]);
    let mut numbers = Numbers(5);
    let batches = types.into_iter().map(|t| numbers.batch(&[t], 3));
    let item = Arc::new(field(Null));
    let items = Arc::new(NullArray::new(3 * i32::MAX as usize));
    let longest = FixedSizeListArray::new(item, i32::MAX, items, None);
    let longest = RecordBatch::try_from_iter([("v", Arc::new(longest) as ArrayRef)]).unwrap();
    for batch in batches.chain([longest]) {
        let valid = payload(&batch);
        for at in (0..valid.len() - 8).step_by(4) {
            for number in [-1, 0, 1, 3, 1 << 20, 1 << 33, 1 << 40, i64::MIN, i64::MAX] {
                let mut bytes = valid.to_vec();
                bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
                let _ = decode(&Buffer::from(bytes), batch.schema());
            }
        }
    }
}

#[test]
fn counts_of_view_buffers_that_nothing_takes_are_an_error() {
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["short"]));
    let batch = RecordBatch::try_from_iter([("v", views)]).unwrap();
    let other = Schema::new(vec![Field::new("v", Int32, false)]);
    assert!(decode(&payload(&batch), Arc::new(other)).is_err());
}

/// The same bytes at an address that is aligned to nothing.
fn misaligned(payload: &[u8]) -> Buffer {
    let mut bytes = MutableBuffer::new(payload.len() + 1);
    bytes.push(0u8);
    bytes.extend_from_slice(payload);
    Buffer::from(bytes).slice(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_columns_read_back_equal_whole_and_sliced(
        types in proptest::collection::vec(any_type(), 1..4), seed: u64,
        rows in prop_oneof![0usize..3, 0usize..100], start in 0usize..100, length in 0usize..100,
    ) {
        let whole = Numbers(seed).batch(&types, rows);
        assert_round_trip(&whole);
        let read = decode(&misaligned(&payload(&whole)), whole.schema()).unwrap();
        prop_assert_eq!(&read, &whole);
        let start = start.min(rows);
        assert_round_trip(&whole.slice(start, length.min(rows - start)));
    }

    #[test]
    fn no_damaged_payload_makes_the_decoder_panic(
        types in proptest::collection::vec(any_type(), 1..4), seed: u64, rows in 0usize..20,
        others in proptest::collection::vec(any_type(), 1..4),
        damages in proptest::collection::vec(
            proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), -2i64..3, 0u32..64), 1..4), 40),
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = Numbers(seed).batch(&types, rows);
        let valid = payload(&batch);
        for damage in damages {
            let mut bytes = MutableBuffer::new(valid.len());
            bytes.extend_from_slice(&valid);
            for (at, wide, number, shift) in damage {
                let number = number.wrapping_shl(shift).to_le_bytes();
                let at = at.index(bytes.len());
                let width = if wide { 8 } else { 1 };
                bytes[at / width * width..][..width].copy_from_slice(&number[..width]);
            }
            let _ = decode(&misaligned(&bytes), batch.schema());
            let _ = decode(&bytes.into(), batch.schema());
        }
        let _ = decode(&valid, Numbers(seed).batch(&others, 0).schema());
        let _ = decode(&valid.slice_with_length(0, cut.index(valid.len())), batch.schema());
    }
}
