//! Cells of every type come out as they went in.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BinaryViewBuilder, FixedSizeBinaryBuilder, FixedSizeListBuilder, Float16Builder,
    Float32Builder, LargeBinaryBuilder, LargeStringBuilder, StringViewBuilder,
};
use arrow_array::types::{ArrowPrimitiveType, Float16Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, make_array,
};
use arrow_schema::{DataType, TimeUnit};

use super::Value;
use super::tests::one;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// `array` said to be of another type with the same bytes.
fn as_type(array: &dyn Array, kind: &DataType) -> ArrayRef {
    let data = array.to_data().into_builder().data_type(kind.clone());
    make_array(data.build().unwrap())
}

/// Types that are an integer with a meaning, and the array of -1, null, the number.
fn temporal() -> Vec<(DataType, ArrayRef)> {
    use DataType::{Date32, Date64, Decimal128, Duration, Time32, Time64, Timestamp};
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let days = Int32Array::from(vec![Some(0), None, Some(86_399)]);
    let long = Int64Array::from(vec![Some(0), None, Some(86_399)]);
    let mut types = vec![Date32, Time32(Second), Time32(Millisecond)];
    let mut made: Vec<_> = types
        .drain(..)
        .map(|t| (t.clone(), as_type(&days, &t)))
        .collect();
    types.extend([Date64, Time64(Microsecond), Time64(Nanosecond)]);
    for unit in [Second, Millisecond, Microsecond, Nanosecond] {
        types.extend([Duration(unit), Timestamp(unit, None)]);
        types.push(Timestamp(unit, Some("Europe/Vienna".into())));
    }
    made.extend(types.into_iter().map(|t| (t.clone(), as_type(&long, &t))));
    let decimals = vec![Some(0), None, Some(86_399)];
    let decimals = arrow_array::Decimal128Array::from(decimals);
    let kind = Decimal128(5, 2);
    made.push((kind.clone(), as_type(&decimals, &kind)));
    made
}

fn assert_come_out<const N: usize>(cases: Vec<([Value<'_>; N], ArrayRef)>) {
    for (cells, expected) in cases {
        let mut rows = one(expected.data_type());
        cells.iter().for_each(|cell| rows.push(&[*cell]).unwrap());
        assert_eq!(
            &rows.finish().unwrap().columns()[0],
            &expected,
            "{}",
            expected.data_type()
        );
    }
}

#[test]
fn integers_dates_times_and_decimals_come_out_as_they_went_in() {
    use DataType::*;
    let int = |low: i64, high: i64| [Value::Int(low), Value::Null, Value::Int(high)];
    let mut cases: Vec<([Value<'_>; 3], ArrayRef)> = vec![
        (
            int(-128, 127),
            Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)])),
        ),
        (
            int(-32_768, 32_767),
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)])),
        ),
        (
            int(i32::MIN.into(), i32::MAX.into()),
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)])),
        ),
        (
            int(i64::MIN, i64::MAX),
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
        ),
        (
            int(0, 255),
            Arc::new(UInt8Array::from(vec![Some(0), None, Some(255)])),
        ),
        (
            int(0, 65_535),
            Arc::new(UInt16Array::from(vec![Some(0), None, Some(65_535)])),
        ),
        (
            int(0, u32::MAX.into()),
            Arc::new(UInt32Array::from(vec![Some(0), None, Some(u32::MAX)])),
        ),
        (
            [0_u8.into(), Value::Null, u64::MAX.into()],
            Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)])),
        ),
    ];
    cases.extend(
        temporal()
            .into_iter()
            .map(|(_, array)| (int(0, 86_399), array)),
    );
    assert!(
        cases.iter().any(|(_, a)| *a.data_type()
            == Timestamp(TimeUnit::Nanosecond, Some("Europe/Vienna".into())))
    );
    assert_come_out(cases);
}

#[test]
fn floats_booleans_texts_binary_and_vectors_come_out_as_they_went_in() {
    let (text, bytes) = ("längst mehr als zwölf Bytes", &[0_u8, 255, 7][..]);
    let texts = [Value::Text(text), Value::Null, Value::Text("")];
    let binary = [Value::Binary(bytes), Value::Null, Value::Binary(&[])];
    let floats = [Value::Float(-1.5), Value::Null, Value::Int(3)];
    let mut half = Float16Builder::new();
    for value in [Some(-1.5), None, Some(3.0)] {
        half.append_option(value.map(Half::from_f64));
    }
    let text_values = [Some(text), None, Some("")];
    let binary_values = [Some(bytes), None, Some(&[][..])];
    let mut large = LargeStringBuilder::new();
    let mut views = StringViewBuilder::new();
    text_values.iter().for_each(|v| large.append_option(*v));
    text_values.iter().for_each(|v| views.append_option(*v));
    let (mut small, mut large_binary) = (BinaryBuilder::new(), LargeBinaryBuilder::new());
    let mut binary_views = BinaryViewBuilder::new();
    binary_values.iter().for_each(|v| small.append_option(*v));
    binary_values
        .iter()
        .for_each(|v| large_binary.append_option(*v));
    binary_values
        .iter()
        .for_each(|v| binary_views.append_option(*v));
    let mut fixed = FixedSizeBinaryBuilder::new(3);
    fixed.append_value(bytes).unwrap();
    fixed.append_null();
    fixed.append_value([1, 2, 3]).unwrap();
    let mut list = FixedSizeListBuilder::new(Float32Builder::new(), 2);
    list.values().append_slice(&[1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
    [true, false, true]
        .iter()
        .for_each(|valid| list.append(*valid));
    let cases: Vec<([Value<'_>; 3], ArrayRef)> = vec![
        (
            [true.into(), Value::Null, false.into()],
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (floats, Arc::new(half.finish())),
        (
            floats,
            Arc::new(Float32Array::from(vec![Some(-1.5), None, Some(3.0)])),
        ),
        (
            floats,
            Arc::new(Float64Array::from(vec![Some(-1.5), None, Some(3.0)])),
        ),
        (texts, Arc::new(StringArray::from(text_values.to_vec()))),
        (texts, Arc::new(large.finish())),
        (texts, Arc::new(views.finish())),
        (binary, Arc::new(small.finish())),
        (binary, Arc::new(large_binary.finish())),
        (binary, Arc::new(binary_views.finish())),
        (
            [Value::Binary(bytes), Value::Null, (&[1, 2, 3]).into()],
            Arc::new(fixed.finish()),
        ),
        (
            [
                (&[1.0_f32, 2.0]).into(),
                Value::Null,
                (&[3.0_f32, 4.0]).into(),
            ],
            Arc::new(list.finish()),
        ),
    ];
    assert_come_out(cases);
}
