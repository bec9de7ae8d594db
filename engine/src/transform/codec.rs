//! Arrow arrays to the contract's flat columns.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ByteArrayType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, Float32Array, GenericByteArray};
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, TimeUnit};

use super::bindings::types::ColumnParam;
use super::field::{Column, Kind};

/// A column's buffers, from row 0 on, shared with the array where that is possible.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    pub(super) validity: Option<Buffer>,
    pub(super) offsets: ScalarBuffer<u32>,
    pub(super) data: Buffer,
}

impl Flat {
    /// The column as it is lent to a guest.
    pub(super) fn lend(&self) -> ColumnParam<'_> {
        ColumnParam {
            validity: self.validity.as_deref(),
            offsets: &self.offsets,
            data: &self.data,
        }
    }

    fn fixed(data: Buffer) -> Self {
        Self {
            validity: None,
            offsets: Vec::new().into(),
            data,
        }
    }
}

/// The array in the Arrow type that the column has on the host.
pub(super) fn normalize(array: &ArrayRef, column: &Column) -> Result<ArrayRef, ArrowError> {
    let wanted = match (column.kind, array.data_type()) {
        // A time without a zone is taken for UTC, and a zone only says how to show it.
        (Kind::Timestamp, DataType::Timestamp(_, zone)) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        (Kind::Vector, _) => return Ok(array.clone()),
        _ => column.data_type(),
    };
    match array.data_type() == &wanted {
        true => Ok(array.clone()),
        false => arrow_cast::cast(array, &wanted),
    }
}

/// Flattens an array that [`normalize`] returned.
pub(super) fn encode(array: &ArrayRef, column: &Column) -> Result<Flat, ArrowError> {
    let flat = match column.kind {
        Kind::Boolean => array
            .as_boolean_opt()
            .map(|a| Flat::fixed(a.values().sliced())),
        Kind::Int32 => primitive::<Int32Type>(array),
        Kind::Int64 => primitive::<Int64Type>(array),
        Kind::Float32 => primitive::<Float32Type>(array),
        Kind::Float64 => primitive::<Float64Type>(array),
        Kind::Timestamp => primitive::<TimestampMicrosecondType>(array),
        Kind::Utf8 => array.as_string_opt::<i32>().map(bytes),
        Kind::Binary => array.as_binary_opt::<i32>().map(bytes),
        Kind::Vector => vectors(array, column.dim),
    };
    let mut flat = flat.ok_or_else(|| {
        ArrowError::SchemaError(format!(
            "column {:?} is {}, not {}",
            column.name,
            array.data_type(),
            column.type_name()
        ))
    })?;
    flat.validity = array
        .nulls()
        .filter(|nulls| nulls.null_count() > 0)
        .map(|nulls| nulls.inner().sliced());
    Ok(flat)
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<Flat> {
    let array = array.as_primitive_opt::<T>()?;
    Some(Flat::fixed(array.values().inner().clone()))
}

fn bytes<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>) -> Flat {
    let offsets = array.value_offsets();
    let first = offsets.first().copied().unwrap_or(0);
    let last = offsets.last().copied().unwrap_or(0);
    let offsets: Vec<u32> = offsets.iter().map(|o| o.abs_diff(first)).collect();
    let data = array
        .values()
        .slice_with_length(first.as_usize(), last.abs_diff(first).as_usize());
    Flat {
        validity: None,
        offsets: offsets.into(),
        data,
    }
}

/// Vectors end to end; an element that is null becomes NaN, as the contract has no null for it.
fn vectors(array: &ArrayRef, dim: u32) -> Option<Flat> {
    let array = array.as_fixed_size_list_opt()?;
    if u32::try_from(array.value_length()).ok()? != dim {
        return None;
    }
    let values: &Float32Array = array.values().as_primitive_opt()?;
    let data = match values.null_count() {
        0 => values.values().inner().clone(),
        _ => ScalarBuffer::from_iter(values.iter().map(|v| v.unwrap_or(f32::NAN))).into_inner(),
    };
    Some(Flat::fixed(data))
}

#[cfg(test)]
mod tests {
    use arrow_array::*;
    use arrow_schema::{DataType, Field};
    use proptest::prelude::*;

    use super::super::bindings::types::ColumnResult;
    use super::super::guests::arrays;
    use super::super::validate::decode;
    use super::*;

    fn column(data_type: &DataType) -> Column {
        Column::from_arrow("c", &Field::new("c", data_type.clone(), true)).unwrap()
    }

    fn owned(flat: &Flat) -> ColumnResult {
        ColumnResult {
            validity: flat.validity.as_ref().map(|v| v.to_vec()),
            offsets: flat.offsets.to_vec(),
            data: flat.data.to_vec(),
        }
    }

    proptest! {
        #[test]
        fn every_kind_survives_the_crossing_with_nulls_and_slices(
            values in prop::collection::vec(prop::option::of(any::<i32>()), 0..70),
            cut in 0_usize..70,
        ) {
            let start = cut.min(values.len());
            for array in arrays(&values) {
                let slice = array.slice(start, values.len() - start);
                let column = column(array.data_type());
                let flat = encode(&normalize(&slice, &column).unwrap(), &column).unwrap();
                let back = decode(owned(&flat), &column, slice.len()).unwrap();
                prop_assert_eq!(back.to_data(), slice.to_data());
            }
        }

        #[test]
        fn no_bytes_of_a_guest_panic_the_host(
            rows in 0_usize..20,
            validity in prop::option::of(prop::collection::vec(any::<u8>(), 0..4)),
            offsets in prop::collection::vec(0_u32..40, 0..22),
            data in prop::collection::vec(any::<u8>(), 0..170),
        ) {
            for array in arrays(&[None]) {
                let guest = ColumnResult { validity: validity.clone(), offsets: offsets.clone(), data: data.clone() };
                if let Ok(array) = decode(guest, &column(array.data_type()), rows) {
                    prop_assert!(array.to_data().validate_full().is_ok());
                    prop_assert_eq!(array.len(), rows);
                }
            }
        }
    }

    #[test]
    fn what_stands_in_a_null_rows_place_need_not_be_text() {
        let guest = ColumnResult {
            validity: Some(vec![0b10]),
            offsets: vec![0, 1, 2],
            data: vec![0xff, b'a'],
        };
        let text = decode(guest, &column(&DataType::Utf8), 2).unwrap();
        assert_eq!(
            text.as_string::<i32>(),
            &StringArray::from(vec![None, Some("a")])
        );
    }
}
