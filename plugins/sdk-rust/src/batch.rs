//! A batch, and the views of its columns.

use crate::view::Presence;
use crate::{BooleanColumn, BytesColumn, Column, NumberColumn, TextColumn, VectorColumn};

/// The rows that a transform is given, the columns in the order of its plan's inputs.
#[derive(Debug)]
pub struct Batch {
    rows: usize,
    columns: Vec<Column>,
}

impl Batch {
    /// A batch of `rows` rows.
    pub fn new(rows: u32, columns: Vec<Column>) -> Self {
        Self {
            rows: rows as usize,
            columns,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The boolean column at `index` in the plan's inputs.
    pub fn boolean(&self, index: usize) -> Result<BooleanColumn<'_>, String> {
        self.view(index, BooleanColumn::new)
    }

    /// The int32 column at `index` in the plan's inputs.
    pub fn int32(&self, index: usize) -> Result<NumberColumn<'_, i32>, String> {
        self.view(index, NumberColumn::new)
    }

    /// The int64 column at `index` in the plan's inputs.
    pub fn int64(&self, index: usize) -> Result<NumberColumn<'_, i64>, String> {
        self.view(index, NumberColumn::new)
    }

    /// The float32 column at `index` in the plan's inputs.
    pub fn float32(&self, index: usize) -> Result<NumberColumn<'_, f32>, String> {
        self.view(index, NumberColumn::new)
    }

    /// The float64 column at `index` in the plan's inputs.
    pub fn float64(&self, index: usize) -> Result<NumberColumn<'_, f64>, String> {
        self.view(index, NumberColumn::new)
    }

    /// The timestamp column at `index` in the plan's inputs: microseconds since 1970-01-01 UTC.
    pub fn timestamp(&self, index: usize) -> Result<NumberColumn<'_, i64>, String> {
        self.view(index, NumberColumn::new)
    }

    /// The binary column at `index` in the plan's inputs.
    pub fn bytes(&self, index: usize) -> Result<BytesColumn<'_>, String> {
        self.view(index, BytesColumn::new)
    }

    /// The utf8 column at `index` in the plan's inputs.
    pub fn text(&self, index: usize) -> Result<TextColumn<'_>, String> {
        self.view(index, TextColumn::new)
    }

    /// The column of vectors at `index` in the plan's inputs.
    pub fn vector(&self, index: usize) -> Result<VectorColumn<'_>, String> {
        self.view(index, VectorColumn::new)
    }

    /// The buffers of the column at `index` in the plan's inputs, as they came.
    pub fn column(&self, index: usize) -> Result<&Column, String> {
        self.columns
            .get(index)
            .ok_or_else(|| format!("column {index} is missing from the batch"))
    }

    fn view<'a, V>(
        &'a self,
        index: usize,
        new: impl FnOnce(Presence<'a>, &'a Column) -> Result<V, String>,
    ) -> Result<V, String> {
        let column = self.column(index)?;
        Presence::new(self.rows, column)
            .and_then(|presence| new(presence, column))
            .map_err(|message| format!("column {index} {message}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(validity: Option<Vec<u8>>, offsets: &[u32], data: &[u8]) -> Column {
        Column {
            validity,
            offsets: offsets.to_vec(),
            data: data.to_vec(),
        }
    }

    #[test]
    fn rows_are_cut_by_offsets_and_nulls_are_told_from_empty_values() {
        let batch = Batch::new(3, vec![column(Some(vec![0b101]), &[0, 2, 2, 2], b"ab")]);
        let rows: Vec<_> = batch.text(0).unwrap().iter().collect();
        assert_eq!(rows, [Some("ab"), None, Some("")]);
    }

    #[test]
    fn the_ninth_row_takes_its_validity_from_the_second_byte() {
        let batch = Batch::new(9, vec![column(Some(vec![0xff, 0]), &[0; 10], b"")]);
        let column = batch.bytes(0).unwrap();
        assert_eq!((column.get(7), column.get(8)), (Some(&b""[..]), None));
    }

    #[test]
    fn numbers_are_little_endian_and_null_where_their_bit_is_clear() {
        let data = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let batch = Batch::new(2, vec![column(Some(vec![0b10]), &[], &data)]);
        let numbers = batch.int32(0).unwrap();
        assert!(numbers.iter().eq([None, Some(-1)]));
        assert!(numbers.values().eq([1, -1]), "as they stand, null or not");
    }

    #[test]
    fn a_function_is_mapped_over_the_numbers_that_both_columns_have() {
        let numbers = |validity: Option<u8>| {
            let numbers = [6_i32, 1, 0, 9].map(i32::to_le_bytes).concat();
            column(validity.map(|bits| vec![bits]), &[], &numbers)
        };
        let columns = vec![numbers(Some(0b1011)), numbers(Some(0b1001)), numbers(None)];
        let batch = Batch::new(4, columns);
        let [some, fewer, all] = [0, 1, 2].map(|column| batch.int32(column).unwrap());
        let read = |column: Column| {
            let batch = Batch::new(4, vec![column]);
            batch.float64(0).unwrap().iter().collect::<Vec<_>>()
        };
        let half = |number: i32| f64::from(number) / 2.0;
        assert_eq!(read(all.map(half)), [3.0, 0.5, 0.0, 4.5].map(Some));
        let present = |number: i32| match number {
            0 => unreachable!("a row that is null"),
            number => half(number),
        };
        assert_eq!(
            read(some.map(present)),
            [Some(3.0), Some(0.5), None, Some(4.5)]
        );
        let sum = |a: i32, b: i32| present(a + b);
        let both = [Some(6.0), None, None, Some(9.0)];
        assert_eq!(read(some.map_with(&fewer, sum)), both);
        assert_eq!(read(all.map_with(&fewer, sum)), both);
        assert_eq!(read(fewer.map_with(&all, sum)), both);
        assert!(all.map(half).validity.is_none());
    }

    #[test]
    fn booleans_are_bits_and_vectors_as_long_as_the_data_says() {
        let vectors: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let columns = vec![column(None, &[], &[0b01]), column(None, &[], &vectors)];
        let batch = Batch::new(2, columns);
        assert!(
            batch
                .boolean(0)
                .unwrap()
                .iter()
                .eq([Some(true), Some(false)])
        );
        let vectors = batch.vector(1).unwrap();
        assert_eq!(vectors.dim(), 2);
        assert!(vectors.get(1).unwrap().eq([3.0, 4.0]));
    }

    #[test]
    fn a_column_too_short_for_the_batch_is_refused() {
        let batch = Batch::new(2, vec![column(None, &[0, 1], b"a")]);
        let message = batch.bytes(0).unwrap_err();
        assert_eq!(message, "column 0 has 2 offsets where 2 rows want 3");
        let batch = Batch::new(9, vec![column(Some(vec![0xff]), &[0; 10], b"")]);
        assert!(batch.bytes(0).unwrap_err().contains("validity"));
        assert!(batch.bytes(1).unwrap_err().contains("missing"));
    }

    #[test]
    fn a_column_of_another_width_is_refused() {
        let batch = Batch::new(2, vec![column(None, &[], &[0; 8])]);
        assert!(batch.int32(0).is_ok() && batch.float32(0).is_ok());
        let message = batch.int64(0).err().unwrap();
        assert_eq!(message, "column 0 has 8 bytes of data where 2 rows want 16");
        assert!(batch.boolean(0).err().unwrap().contains("8 bytes"));
    }

    #[test]
    fn a_value_outside_of_the_data_or_within_a_character_is_no_value() {
        let batch = Batch::new(2, vec![column(None, &[0, 1, 9], "é".as_bytes())]);
        let column = batch.text(0).unwrap();
        assert_eq!((column.get(0), column.get(1)), (None, None));
    }
}
