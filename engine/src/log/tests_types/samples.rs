//! Types that a lake takes, and rows of them.

use std::sync::Arc;

use DataType::*;
use arrow_array::builder::{
    FixedSizeListBuilder, Float32Builder, Int32Builder, ListBuilder, MapBuilder, StringBuilder,
};
use arrow_array::*;
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use proptest::prelude::*;

use crate::log::types::check_schema;

const UNITS: [TimeUnit; 4] = [
    TimeUnit::Second,
    TimeUnit::Millisecond,
    TimeUnit::Microsecond,
    TimeUnit::Nanosecond,
];

pub(super) fn field(data_type: DataType) -> Field {
    Field::new("x", data_type, true)
}

pub(super) fn list_of(data_type: DataType) -> DataType {
    List(Arc::new(field(data_type)))
}

pub(super) fn vector_of(data_type: DataType, size: i32) -> DataType {
    FixedSizeList(Arc::new(field(data_type)), size)
}

pub(super) fn struct_of(types: impl IntoIterator<Item = DataType>) -> DataType {
    let named = |(i, data_type)| Field::new(format!("f{i}"), data_type, true);
    Struct(types.into_iter().enumerate().map(named).collect())
}

pub(super) fn map_of(key: DataType, value: DataType) -> DataType {
    let (key, value) = (
        Field::new("key", key, false),
        Field::new("value", value, true),
    );
    let entries = Struct(Fields::from(vec![key, value]));
    Map(Arc::new(Field::new("entries", entries, false)), false)
}

pub(super) fn dictionary_of(key: DataType, value: DataType) -> DataType {
    Dictionary(Box::new(key), Box::new(value))
}

/// The types without children, dictionaries included, that a lake takes.
pub(super) fn leaves() -> Vec<DataType> {
    let keys = vec![Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64];
    let mut values = vec![Boolean, Float16, Float32, Float64];
    values.extend([Utf8, LargeUtf8, Binary, LargeBinary]);
    values.extend(keys.clone());
    let mut leaves = values.clone();
    leaves.extend(values.into_iter().map(|value| dictionary_of(Int8, value)));
    leaves.extend(keys.into_iter().map(|key| dictionary_of(key, Utf8)));
    leaves.extend([Null, Utf8View, BinaryView, Date32, Date64]);
    leaves.extend([FixedSizeBinary(0), FixedSizeBinary(3)]);
    leaves.extend([Decimal128(20, 2), Decimal128(5, -2), Decimal256(50, 2)]);
    leaves.extend(UNITS[..2].iter().map(|unit| Time32(*unit)));
    leaves.extend(UNITS[2..].iter().map(|unit| Time64(*unit)));
    for unit in UNITS {
        let zone = Some("+02:00".into());
        leaves.extend([Duration(unit), Timestamp(unit, None), Timestamp(unit, zone)]);
    }
    leaves
}

/// The nested types that have a place of their own in the contract.
pub(super) fn nested() -> Vec<DataType> {
    let word = || dictionary_of(Int32, Utf8);
    vec![
        list_of(struct_of([Utf8, word(), Utf8View])),
        struct_of([list_of(LargeUtf8), word()]),
        LargeList(Arc::new(field(list_of(word())))),
        map_of(Utf8, Int32),
        map_of(word(), list_of(word())),
        vector_of(Float32, 8),
        vector_of(Float16, 3),
        vector_of(vector_of(Boolean, 3), 2),
        vector_of(struct_of([Utf8, word(), vector_of(Int16, 2)]), 2),
        struct_of([struct_of([Boolean, Null]), map_of(Int64, Utf8View)]),
    ]
}

/// Any type that a lake takes.
pub(super) fn any_type() -> impl Strategy<Value = DataType> {
    let leaf = proptest::sample::select(leaves());
    let tree = leaf.prop_recursive(3, 8, 3, |inner| {
        let key = inner
            .clone()
            .prop_filter("a key is not null", |key| *key != Null);
        prop_oneof![
            inner.clone().prop_map(list_of),
            inner
                .clone()
                .prop_map(|item| LargeList(Arc::new(field(item)))),
            (inner.clone(), 1i32..4).prop_map(|(item, size)| vector_of(item, size)),
            (key, inner.clone()).prop_map(|(key, value)| map_of(key, value)),
            proptest::collection::vec(inner, 1..4).prop_map(struct_of),
        ]
    });
    let any = prop_oneof![tree, proptest::sample::select(nested())];
    any.prop_filter("a lake takes it", |any| {
        check_schema(&Schema::new(vec![field(any.clone())])).is_ok()
    })
}

/// Deterministic numbers; what they are doesn't matter.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    fn nulls(&mut self, rows: usize, nullable: bool) -> Option<NullBuffer> {
        let bits: BooleanBuffer = (0..rows).map(|_| self.below(4) > 0).collect();
        nullable.then(|| NullBuffer::new(bits))
    }

    fn texts(&mut self, rows: usize, nullable: bool) -> Vec<Option<String>> {
        let nulls = self.nulls(rows, nullable);
        let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let text = |row| valid(row).then(|| "ä".repeat(self.below(20)));
        (0..rows).map(text).collect()
    }

    fn offsets<O: arrow_array::OffsetSizeTrait>(&mut self, rows: usize) -> OffsetBuffer<O> {
        OffsetBuffer::from_lengths((0..rows).map(|_| self.below(4)))
    }

    /// Some rows of that type, the slice of a larger array, so that neither bits nor offsets begin at zero.
    fn array(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let before = self.below(11);
        let all = rows + before + self.below(3);
        self.whole(field, all).slice(before, rows)
    }

    fn whole(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let nulls = |me: &mut Self| me.nulls(rows, field.is_nullable());
        let mut texts = || self.texts(rows, field.is_nullable()).into_iter();
        let bytes = |text: Option<String>| text.map(String::into_bytes);
        match field.data_type() {
            Null => Arc::new(NullArray::new(rows)),
            Boolean => {
                let bits = (0..rows).map(|_| self.below(2) == 0).collect();
                Arc::new(BooleanArray::new(bits, nulls(self)))
            }
            Utf8 => Arc::new(texts().collect::<StringArray>()),
            LargeUtf8 => Arc::new(texts().collect::<LargeStringArray>()),
            Utf8View => Arc::new(texts().collect::<StringViewArray>()),
            Binary => Arc::new(texts().map(bytes).collect::<BinaryArray>()),
            LargeBinary => Arc::new(texts().map(bytes).collect::<LargeBinaryArray>()),
            BinaryView => Arc::new(texts().map(bytes).collect::<BinaryViewArray>()),
            List(item) => {
                let offsets = self.offsets(rows);
                let items = self.array(item, *offsets.last().unwrap() as usize);
                Arc::new(ListArray::new(item.clone(), offsets, items, nulls(self)))
            }
            LargeList(item) => {
                let offsets = self.offsets(rows);
                let items = self.array(item, *offsets.last().unwrap() as usize);
                let nulls = nulls(self);
                Arc::new(LargeListArray::new(item.clone(), offsets, items, nulls))
            }
            Map(entries, _) => {
                let offsets = self.offsets(rows);
                let items = self.array(entries, *offsets.last().unwrap() as usize);
                let items = cast::AsArray::as_struct(&items).clone();
                let nulls = nulls(self);
                Arc::new(MapArray::new(entries.clone(), offsets, items, nulls, false))
            }
            Struct(fields) => {
                let columns = fields.iter().map(|field| self.array(field, rows)).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls(self)))
            }
            fixed => {
                let data = ArrayData::builder(fixed.clone()).len(rows);
                let nulls = nulls(self);
                let data = match fixed {
                    FixedSizeList(item, size) => {
                        let items = self.array(item, rows * *size as usize);
                        data.add_child_data(items.to_data())
                    }
                    FixedSizeBinary(width) => {
                        data.add_buffer(self.bytes(rows * *width as usize).into())
                    }
                    Dictionary(key, value) => {
                        let count = 1 + self.below(100);
                        let values = self
                            .array(&Field::new("v", *value.clone(), field.is_nullable()), count);
                        let mut keys = vec![0; rows * key.primitive_width().unwrap()];
                        for key in keys.chunks_mut(key.primitive_width().unwrap()) {
                            key[0] = self.below(count) as u8;
                        }
                        data.add_buffer(keys.into())
                            .add_child_data(values.to_data())
                    }
                    other => {
                        let width = other.primitive_width().unwrap();
                        data.add_buffer(self.bytes(rows * width).into())
                    }
                };
                make_array(data.align_buffers(true).nulls(nulls).build().unwrap())
            }
        }
    }

    pub(super) fn batch(&mut self, types: &[DataType], rows: usize) -> RecordBatch {
        let named = |(i, t): (usize, &DataType)| Field::new(format!("c{i}"), t.clone(), true);
        let schema = Schema::new(types.iter().enumerate().map(named).collect::<Fields>());
        let fields = schema.fields().iter();
        let columns = fields.map(|field| self.array(field, rows)).collect();
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }
}

/// One column of many kinds, without dictionaries, with nulls.
pub(super) fn many_types(rows: i32) -> RecordBatch {
    let keep = |i: i32| (i % 3 != 1).then_some(i);
    let mut list = ListBuilder::new(Int32Builder::new());
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 4);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for i in 0..rows {
        for j in 0..i % 4 {
            list.values().append_value(j);
            map.keys().append_value(j.to_string());
            map.values().append_value(j);
        }
        list.append(keep(i).is_some());
        map.append(true).unwrap();
        for j in 0..4 {
            vectors.values().append_value((i * j) as f32);
        }
        vectors.append(keep(i).is_some());
    }
    let kept = || (0..rows).map(keep);
    let texts = || kept().map(|i| i.map(|i| format!("row {i} is long enough for a view buffer")));
    let binaries = texts().map(|text| text.map(String::into_bytes));
    let times = kept().map(|i| i.map(i64::from));
    let fixed = kept().map(|i| i.map(i32::to_le_bytes));
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 4).unwrap();
    let inner: ArrayRef = Arc::new(kept().collect::<Int32Array>());
    let inner = StructArray::from(vec![(Arc::new(Field::new("inner", Int32, true)), inner)]);
    let booleans = kept().map(|i| i.map(|i| i % 2 == 0));
    let times = times.collect::<TimestampMicrosecondArray>();
    let columns: [(&str, ArrayRef); 15] = [
        ("null", Arc::new(NullArray::new(rows as usize))),
        ("bool", Arc::new(booleans.collect::<BooleanArray>())),
        (
            "int8",
            Arc::new(kept().map(|i| i.map(|i| i as i8)).collect::<Int8Array>()),
        ),
        (
            "float64",
            Arc::new(kept().map(|i| i.map(f64::from)).collect::<Float64Array>()),
        ),
        (
            "decimal",
            Arc::new(
                kept()
                    .map(|i| i.map(i128::from))
                    .collect::<Decimal128Array>(),
            ),
        ),
        ("time", Arc::new(times.with_timezone("UTC"))),
        ("utf8", Arc::new(texts().collect::<StringArray>())),
        (
            "large_utf8",
            Arc::new(texts().collect::<LargeStringArray>()),
        ),
        ("view", Arc::new(texts().collect::<StringViewArray>())),
        ("binary", Arc::new(binaries.collect::<BinaryArray>())),
        ("fixed", Arc::new(fixed)),
        ("list", Arc::new(list.finish())),
        ("vector", Arc::new(vectors.finish())),
        ("map", Arc::new(map.finish())),
        ("struct", Arc::new(inner)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, a)| (name, a, true))).unwrap()
}
