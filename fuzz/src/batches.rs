//! Schemas, and batches of them that are worth changing.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{
    FixedSizeListBuilder, Float32Builder, Int32Builder, ListBuilder, MapBuilder, StringBuilder,
};
use arrow_array::*;
use arrow_schema::{DataType, Field, SchemaRef};

/// The batches are slices of ones of so many rows.
const ROWS: usize = 40;

static KINDS: LazyLock<Vec<RecordBatch>> = LazyLock::new(|| {
    let of = |columns: Vec<(&str, ArrayRef)>| {
        let columns = columns.into_iter().map(|(name, array)| (name, array, true));
        RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
    };
    vec![
        of(vec![("n", numbers()), ("text", texts::<StringArray>())]),
        of(vec![
            (
                "bool",
                Arc::new(
                    (0..ROWS)
                        .map(|i| keep(i).map(|i| i % 2 == 0))
                        .collect::<BooleanArray>(),
                ),
            ),
            ("null", Arc::new(NullArray::new(ROWS))),
            (
                "decimal",
                Arc::new(
                    (0..ROWS)
                        .map(|i| keep(i).map(|i| i as i128))
                        .collect::<Decimal128Array>(),
                ),
            ),
            ("fixed", fixed()),
        ]),
        of(vec![
            ("large", texts::<LargeStringArray>()),
            ("view", texts::<StringViewArray>()),
        ]),
        of(vec![("list", lists()), ("map", maps())]),
        of(vec![("vector", vectors()), ("struct", structs())]),
        of(vec![
            ("struct", structs()),
            ("views", texts::<StringViewArray>()),
            ("list", list_of(structs())),
        ]),
    ]
});

/// One of the schemas.
pub fn schema(which: u8) -> SchemaRef {
    KINDS[usize::from(which) % KINDS.len()].schema()
}

/// A batch of that schema with some rows.
pub fn every_kind(which: u8, rows: usize) -> RecordBatch {
    let rows = rows % (ROWS + 1);
    KINDS[usize::from(which) % KINDS.len()].slice(ROWS - rows, rows)
}

fn keep(i: usize) -> Option<usize> {
    (i % 3 != 1).then_some(i)
}

fn numbers() -> ArrayRef {
    Arc::new(
        (0..ROWS)
            .map(|i| keep(i).map(|i| i as i64))
            .collect::<Int64Array>(),
    )
}

fn texts<A: Array + FromIterator<Option<String>> + 'static>() -> ArrayRef {
    let text = |i| format!("row {i} ist länger als eine View");
    Arc::new((0..ROWS).map(|i| keep(i).map(text)).collect::<A>())
}

fn fixed() -> ArrayRef {
    let values = (0..ROWS).map(|i| keep(i).map(|i| (i as u32).to_le_bytes()));
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 4);
    Arc::new(array.expect("four bytes each"))
}

fn lists() -> ArrayRef {
    let mut list = ListBuilder::new(Int32Builder::new());
    for i in 0..ROWS {
        (0..i % 4).for_each(|j| list.values().append_value(j as i32));
        list.append(keep(i).is_some());
    }
    Arc::new(list.finish())
}

fn maps() -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for i in 0..ROWS {
        for j in 0..i % 3 {
            map.keys().append_value(j.to_string());
            map.values().append_value(j as i32);
        }
        map.append(true).expect("as many keys as values");
    }
    Arc::new(map.finish())
}

fn vectors() -> ArrayRef {
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 4);
    for i in 0..ROWS {
        (0..4).for_each(|j| vectors.values().append_value((i * j) as f32));
        vectors.append(keep(i).is_some());
    }
    Arc::new(vectors.finish())
}

fn structs() -> ArrayRef {
    let fields = vec![
        Arc::new(Field::new("n", DataType::Int64, true)),
        Arc::new(Field::new("view", DataType::Utf8View, true)),
    ];
    let nulls = (0..ROWS).map(|i| i % 5 != 0).collect::<Vec<_>>();
    let columns = vec![numbers(), texts::<StringViewArray>()];
    Arc::new(StructArray::new(fields.into(), columns, Some(nulls.into())))
}

fn list_of(values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths(std::iter::repeat_n(1, ROWS));
    Arc::new(ListArray::new(field, offsets, values, None))
}
