//! How many bytes a row has, and where to cut a batch.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

/// Adds the bytes of each row of an array to `sizes`. Types that can't cross count by their average.
pub(super) fn add_row_bytes(array: &dyn Array, sizes: &mut [u64]) {
    let offsets_bytes = |offsets: &mut dyn Iterator<Item = u64>, sizes: &mut [u64]| {
        let mut from = offsets.next().unwrap_or(0);
        for (size, to) in sizes.iter_mut().zip(offsets) {
            *size = size.saturating_add(to.saturating_sub(from));
            from = to;
        }
    };
    match array.data_type() {
        DataType::Utf8 => offsets_bytes(&mut wide(array.as_string::<i32>().value_offsets()), sizes),
        DataType::LargeUtf8 => {
            offsets_bytes(&mut wide(array.as_string::<i64>().value_offsets()), sizes)
        }
        DataType::Binary => {
            offsets_bytes(&mut wide(array.as_binary::<i32>().value_offsets()), sizes)
        }
        DataType::LargeBinary => {
            offsets_bytes(&mut wide(array.as_binary::<i64>().value_offsets()), sizes)
        }
        // A view's low 32 bits are its length.
        DataType::Utf8View => add(
            sizes,
            array
                .as_string_view()
                .views()
                .iter()
                .map(|v| *v as u32 as u64),
        ),
        DataType::BinaryView => add(
            sizes,
            array
                .as_binary_view()
                .views()
                .iter()
                .map(|v| *v as u32 as u64),
        ),
        DataType::Dictionary(..) => add_dictionary_bytes(array, sizes),
        _ => {
            let width = array.data_type().primitive_width();
            let width = width.unwrap_or_else(|| slice_bytes(array) / array.len().max(1));
            add(sizes, std::iter::repeat(width as u64));
        }
    }
}

/// The bytes of an array's own rows: the buffers that they lie in may be shared, and much larger.
fn slice_bytes(array: &dyn Array) -> usize {
    let items =
        |values: &ArrayRef, from: usize, to: usize| slice_bytes(&values.slice(from, to - from));
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (from, to) = ends(list.value_offsets());
            items(list.values(), from as usize, to as usize)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (from, to) = ends(list.value_offsets());
            items(list.values(), from as usize, to as usize)
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or(0),
    }
}

fn ends<T: Copy + Default>(offsets: &[T]) -> (T, T) {
    let end = |offset: Option<&T>| offset.copied().unwrap_or_default();
    (end(offsets.first()), end(offsets.last()))
}

fn add(sizes: &mut [u64], more: impl Iterator<Item = u64>) {
    for (size, more) in sizes.iter_mut().zip(more) {
        *size = size.saturating_add(more);
    }
}

fn wide<T: Copy + TryInto<u64>>(offsets: &[T]) -> impl Iterator<Item = u64> {
    offsets.iter().map(|o| (*o).try_into().unwrap_or(0))
}

fn add_dictionary_bytes(array: &dyn Array, sizes: &mut [u64]) {
    let Some(dictionary) = array.as_any_dictionary_opt() else {
        return;
    };
    let mut values = vec![0; dictionary.values().len()];
    add_row_bytes(dictionary.values(), &mut values);
    if let Ok(keys) = arrow_cast::cast(dictionary.keys(), &DataType::UInt64) {
        let keys = keys.as_primitive::<UInt64Type>();
        add(
            sizes,
            keys.values()
                .iter()
                .map(|k| values.get(*k as usize).copied().unwrap_or(0)),
        );
    }
}

/// Cuts rows into runs of at most `max_rows` and, but for a single larger row, `max_bytes`.
pub(super) fn cut(
    arrays: &[ArrayRef],
    rows: usize,
    max_rows: usize,
    max_bytes: u64,
) -> Vec<Range<usize>> {
    let widths = arrays.iter().map(|a| a.data_type().primitive_width());
    if let Some(width) = widths.sum::<Option<usize>>() {
        let fitting = max_bytes.checked_div(width as u64).unwrap_or(u64::MAX);
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
        let step = max_rows.min(fitting).max(1);
        let runs = (0..rows).step_by(step);
        return runs
            .map(|start| start..rows.min(start.saturating_add(step)))
            .collect();
    }
    let mut sizes = vec![0; rows];
    for array in arrays {
        add_row_bytes(array, &mut sizes);
    }
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0_u64);
    for (row, size) in sizes.iter().enumerate() {
        let full = row - start >= max_rows.max(1) || bytes.saturating_add(*size) > max_bytes;
        if row > start && full {
            runs.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    if start < rows {
        runs.push(start..rows);
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, FixedSizeListArray, Float32Array};
    use arrow_buffer::{BooleanBuffer, Buffer};
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn rows_of_one_width_are_cut_as_all_others_are() {
        let number: ArrayRef = Arc::new(Float32Array::from(vec![1.5; 10]));
        let text: ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["four"; 10]));
        for (max_rows, max_bytes) in [(10, 40), (4, 40), (10, 19), (10, 3), (0, 0), (1, 40)] {
            let runs = cut(std::slice::from_ref(&number), 10, max_rows, max_bytes);
            let as_text = cut(std::slice::from_ref(&text), 10, max_rows, max_bytes);
            assert_eq!(runs, as_text, "{max_rows} rows, {max_bytes} bytes");
        }
        assert_eq!(cut(&[], 3, 2, 0), [0..2, 2..3]);
        assert!(cut(&[number], 0, 2, 8).is_empty());
    }

    #[test]
    fn a_row_counts_for_its_own_bytes_however_large_the_buffer_is_that_it_lies_in() {
        let large = || {
            let mut bytes = Vec::<u8>::with_capacity(16 << 20);
            bytes.resize(64, 0);
            Buffer::from_vec(bytes)
        };
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let floats = Arc::new(Float32Array::new(large().into(), None));
        let vectors = FixedSizeListArray::new(item, 4, floats, None);
        let bits = BooleanArray::new(BooleanBuffer::new(large(), 0, 8), None);
        let (mut of_vector, mut of_bit) = (vec![0; 2], vec![0; 8]);
        add_row_bytes(&vectors.slice(1, 2), &mut of_vector);
        add_row_bytes(&bits, &mut of_bit);
        assert_eq!(of_vector, [16, 16]);
        assert!(of_bit.iter().all(|bytes| *bytes <= 1), "{of_bit:?}");
    }
}
