//! What a row may be, and that one which is refused leaves nothing behind.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::new_null_array;
use arrow_array::types::{Float32Type, Int8Type};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use proptest::prelude::*;

use super::column::Column;
use super::*;

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields = fields.iter();
    let fields = fields.map(|(name, kind, null)| Field::new(*name, kind.clone(), *null));
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

fn builder(fields: &[(&str, DataType, bool)]) -> RowBuilder {
    RowBuilder::new("t", schema(fields))
}

pub(super) fn one(kind: &DataType) -> RowBuilder {
    builder(&[("c", kind.clone(), true)])
}

fn vectors(size: i32) -> DataType {
    DataType::new_fixed_size_list(DataType::Float32, size, true)
}

/// The message with which a lone cell is refused.
fn refusal(kind: &DataType, is_nullable: bool, cell: Value<'_>) -> String {
    let mut rows = builder(&[("c", kind.clone(), is_nullable)]);
    let error = rows.push(&[cell]).unwrap_err();
    assert!(matches!(error, Error::SchemaMismatch { .. }), "{error:?}");
    assert_eq!((rows.rows(), rows.bytes()), (0, 0));
    error.to_string()
}

#[test]
fn a_row_of_another_length_is_refused() {
    let mut rows = builder(&[("a", DataType::Int8, true), ("b", DataType::Utf8, true)]);
    let error = rows.push(&[1.into()]).unwrap_err().to_string();
    assert!(
        error.contains("table \"t\"") && error.contains("1 cells instead of 2"),
        "{error}"
    );
    assert!(rows.push(&[1.into(), "".into(), 1.into()]).is_err());
    assert!(rows.push(&[]).is_err());
    assert_eq!(rows.finish().unwrap().num_rows(), 0);
}

#[test]
fn a_null_in_a_column_without_nulls_is_refused() {
    let message = refusal(&DataType::Int8, false, Value::Null);
    assert!(
        message.contains("column \"c\" must not be null"),
        "{message}"
    );
}

#[test]
fn a_cell_of_another_type_is_refused_with_the_columns_name() {
    let all = [
        Value::Boolean(true),
        Value::Int(1),
        Value::Float(1.0),
        "1".into(),
        (&[1_u8]).into(),
        (&[1.0_f32]).into(),
    ];
    let columns = [
        DataType::Boolean,
        DataType::Int64,
        DataType::Float64,
        DataType::Utf8,
        DataType::Binary,
        vectors(1),
    ];
    for (at, column) in columns.iter().enumerate() {
        for (other, cell) in all.iter().enumerate() {
            // An integer is a number that a float can hold; every other pair is of two types.
            if at != other && (at, other) != (2, 1) {
                let message = refusal(column, true, *cell);
                assert!(
                    message.contains(&format!("column \"c\" is {column}")),
                    "{message}"
                );
            }
        }
    }
}

#[test]
fn a_number_that_the_column_cannot_hold_is_refused() {
    use DataType::*;
    let cases: Vec<(DataType, Vec<Value<'_>>)> = vec![
        (Int8, vec![128.into(), (-129).into()]),
        (Int16, vec![32_768.into(), (-32_769).into()]),
        (Int32, vec![i64::MAX.into(), (-2_147_483_649_i64).into()]),
        (Int64, vec![u64::MAX.into()]),
        (UInt8, vec![256.into(), (-1).into()]),
        (UInt16, vec![65_536.into(), (-1).into()]),
        (UInt32, vec![4_294_967_296_i64.into(), (-1).into()]),
        (UInt64, vec![(-1).into()]),
        (Date32, vec![i64::MAX.into()]),
        (Time32(TimeUnit::Second), vec![86_400.into(), (-1).into()]),
        (
            Time64(TimeUnit::Nanosecond),
            vec![86_400_000_000_000_i64.into()],
        ),
        (Decimal128(3, 1), vec![1000.into(), (-1000).into()]),
        (Float16, vec![65_505.0.into(), 2_049.into()]),
        (Float32, vec![1e39.into(), 16_777_217.into()]),
        (Float64, vec![i64::MAX.into()]),
    ];
    for (column, cells) in cases {
        for cell in cells {
            let message = refusal(&column, true, cell);
            assert!(message.contains("cannot"), "{message}");
        }
    }
    let mut rows = one(&Float32);
    let infinite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    infinite
        .iter()
        .for_each(|v| rows.push(&[(*v).into()]).unwrap());
    let batch = rows.finish().unwrap();
    assert!(
        batch
            .column(0)
            .as_primitive::<Float32Type>()
            .value(0)
            .is_nan()
    );
}

#[test]
fn a_vector_or_binary_of_another_length_is_refused() {
    assert!(refusal(&vectors(2), true, (&[1.0_f32]).into()).contains("a vector of 1 components"));
    let message = refusal(&DataType::FixedSizeBinary(3), true, (&[1_u8]).into());
    assert!(message.contains("binary of 1 bytes"), "{message}");
}

#[test]
fn a_nested_column_takes_null_and_nothing_else() {
    let list = DataType::new_list(DataType::Int8, true);
    let mut rows = builder(&[("n", DataType::Int8, true), ("list", list.clone(), true)]);
    let error = rows.push(&[1.into(), 1.into()]).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(
        error.to_string().contains("\"list\"")
            && error.to_string().contains("append a RecordBatch"),
        "{error}"
    );
    rows.push(&[2.into(), Value::Null]).unwrap();
    let batch = rows.finish().unwrap();
    assert_eq!(batch.column(1), &new_null_array(&list, 1));
    assert_eq!(batch.column(0).as_primitive::<Int8Type>().values(), &[2]);
    let error = builder(&[("list", list, false)])
        .push(&[Value::Null])
        .unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
}

#[test]
fn a_row_larger_than_any_batch_should_be_is_refused() {
    let names: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    let columns: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), DataType::Utf8, true))
        .collect();
    let mut rows = builder(&columns);
    let text = "x".repeat(ROW_BYTES_MAX / 16);
    let error = rows.push(&[Value::from(&text); 17]).unwrap_err();
    assert!(matches!(error, Error::RecordTooLarge { .. }), "{error:?}");
    assert_eq!((rows.rows(), rows.bytes()), (0, 0));
}

#[test]
fn a_builder_goes_on_after_a_batch_with_room_for_as_much() {
    let mut rows = builder(&[("a", DataType::Int64, false), ("b", DataType::Utf8, false)]);
    for round in 0..3 {
        for n in 0..1000_i64 {
            rows.push(&[(n + round).into(), "some text".into()])
                .unwrap();
        }
        assert_eq!((rows.rows(), rows.bytes()), (1000, 21_000));
        let batch = rows.finish().unwrap();
        assert_eq!((batch.num_rows(), rows.rows(), rows.bytes()), (1000, 0, 0));
        let slack = batch.get_array_memory_size() - 21_000;
        assert!(round == 0 || slack < 1000, "{slack} bytes of room too many");
    }
}

/// A cell of any sort, now and then of its column's.
fn cell() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        (-300_i64..300).prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        any::<f64>().prop_map(Value::Float),
        prop::sample::select(vec!["", "a", "longer than twelve bytes"]).prop_map(Value::Text),
        prop::sample::select(vec![&[][..], &[1, 2]]).prop_map(Value::Binary),
        prop::sample::select(vec![&[][..], &[1.0, 2.0]]).prop_map(Value::Vector),
    ]
}

proptest! {
    #[test]
    fn rows_that_are_refused_leave_no_trace_among_those_that_are_not(
        rows in prop::collection::vec([cell(), cell(), cell(), cell()], 0..60)
    ) {
        let fields = schema(&[
            ("number", DataType::Int8, true),
            ("text", DataType::Utf8View, true),
            ("any", DataType::Float32, true),
            ("vector", vectors(2), true),
        ]);
        let columns: Vec<Column> = fields.fields().iter().map(|f| Column::new(f)).collect();
        // Good rows are made likelier: a cell that doesn't fit becomes null two times out of three.
        let rows = rows.into_iter().enumerate().map(|(n, mut row)| {
            for (cell, column) in row.iter_mut().zip(&columns) {
                if n % 3 > 0 && !column.admits(cell) {
                    *cell = Value::Null;
                }
            }
            row
        });
        let mut mixed = RowBuilder::new("t", Arc::clone(&fields));
        let mut only_good = RowBuilder::new("t", fields);
        for row in rows {
            let is_good = row.iter().zip(&columns).all(|(cell, column)| column.admits(cell));
            prop_assert_eq!(mixed.push(&row).is_ok(), is_good);
            if is_good {
                only_good.push(&row).unwrap();
            }
        }
        prop_assert_eq!((mixed.rows(), mixed.bytes()), (only_good.rows(), only_good.bytes()));
        let batch = mixed.finish().unwrap();
        prop_assert!(batch.columns().iter().all(|c| c.len() == batch.num_rows()));
        prop_assert_eq!(batch, only_good.finish().unwrap());
    }
}
