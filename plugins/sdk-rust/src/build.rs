//! Output columns, built row by row.

use crate::{Column, Number};

/// Which rows are present; no bitmap as long as all are.
#[derive(Debug)]
struct Validity {
    nullable: bool,
    rows: usize,
    bits: Option<Vec<u8>>,
}

impl Validity {
    fn new(nullable: bool) -> Self {
        Self {
            nullable,
            rows: 0,
            bits: None,
        }
    }

    #[inline]
    fn push(&mut self, present: bool) {
        // A column that may not be null is given an empty value in a missing one's place.
        let present = present || !self.nullable;
        if present && self.bits.is_none() {
            self.rows += 1;
        } else {
            self.push_bit(present);
        }
    }

    /// Apart, so that a loop over a column without nulls stays small.
    #[inline(never)]
    fn push_bit(&mut self, present: bool) {
        if !present && self.bits.is_none() {
            let mut bits = vec![0xff; self.rows / 8];
            if !self.rows.is_multiple_of(8) {
                // Bits past the last row stay clear.
                bits.push((1 << (self.rows % 8)) - 1);
            }
            self.bits = Some(bits);
        }
        if let Some(bits) = &mut self.bits {
            push_bit(bits, self.rows, present);
        }
        self.rows += 1;
    }

    fn finish(self, offsets: Vec<u32>, data: Vec<u8>) -> Column {
        Column {
            validity: self.bits,
            offsets,
            data,
        }
    }
}

fn push_bit(bits: &mut Vec<u8>, row: usize, set: bool) {
    if row.is_multiple_of(8) {
        bits.push(0);
    }
    if let Some(last) = bits.last_mut() {
        *last |= u8::from(set) << (row % 8);
    }
}

/// Builds a boolean column.
#[derive(Debug)]
pub struct BooleanBuilder {
    validity: Validity,
    data: Vec<u8>,
}

impl BooleanBuilder {
    /// An empty column.
    pub fn new(nullable: bool) -> Self {
        Self {
            validity: Validity::new(nullable),
            data: Vec::new(),
        }
    }

    /// Appends a row; a missing one is null, or false where the column may not be null.
    pub fn push(&mut self, value: Option<bool>) {
        push_bit(
            &mut self.data,
            self.validity.rows,
            value.unwrap_or_default(),
        );
        self.validity.push(value.is_some());
    }

    /// The column.
    pub fn finish(self) -> Column {
        self.validity.finish(Vec::new(), self.data)
    }
}

/// Builds a column of numbers.
#[derive(Debug)]
pub struct NumberBuilder<T> {
    validity: Validity,
    data: Vec<u8>,
    number: std::marker::PhantomData<T>,
}

/// Builds an int32 column.
pub type Int32Builder = NumberBuilder<i32>;
/// Builds an int64 column.
pub type Int64Builder = NumberBuilder<i64>;
/// Builds a float32 column.
pub type Float32Builder = NumberBuilder<f32>;
/// Builds a float64 column.
pub type Float64Builder = NumberBuilder<f64>;
/// Builds a timestamp column: microseconds since 1970-01-01 UTC.
pub type TimestampBuilder = NumberBuilder<i64>;

impl<T: Number> NumberBuilder<T> {
    /// An empty column.
    pub fn new(nullable: bool) -> Self {
        Self {
            validity: Validity::new(nullable),
            data: Vec::new(),
            number: std::marker::PhantomData,
        }
    }

    /// Appends a row; a missing one is null, or 0 where the column may not be null.
    #[inline]
    pub fn push(&mut self, value: Option<T>) {
        value.unwrap_or_default().write(&mut self.data);
        self.validity.push(value.is_some());
    }

    /// The column.
    pub fn finish(self) -> Column {
        self.validity.finish(Vec::new(), self.data)
    }
}

/// Builds a binary or utf8 column.
#[derive(Debug)]
pub struct BytesBuilder {
    validity: Validity,
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl BytesBuilder {
    /// An empty column.
    pub fn new(nullable: bool) -> Self {
        Self {
            validity: Validity::new(nullable),
            offsets: vec![0],
            data: Vec::new(),
        }
    }

    /// Appends a row, text or bytes; a missing one is null, or empty where the column may not be
    /// null. Fails past 4 GiB.
    pub fn push<V: AsRef<[u8]>>(&mut self, value: Option<V>) -> Result<(), String> {
        let bytes = value.as_ref().map_or(&[][..], V::as_ref);
        let end = u32::try_from(self.data.len() + bytes.len())
            .map_err(|_| "a column's values take more than 4 GiB")?;
        self.data.extend_from_slice(bytes);
        self.offsets.push(end);
        self.validity.push(value.is_some());
        Ok(())
    }

    /// The column.
    pub fn finish(self) -> Column {
        self.validity.finish(self.offsets, self.data)
    }
}

/// Builds a vector column.
#[derive(Debug)]
pub struct VectorBuilder {
    validity: Validity,
    dim: usize,
    data: Vec<u8>,
}

impl VectorBuilder {
    /// An empty column of vectors of length `dim`.
    pub fn new(dim: usize, nullable: bool) -> Self {
        Self {
            validity: Validity::new(nullable),
            dim,
            data: Vec::new(),
        }
    }

    /// Appends a row, cut or filled with zeros to the column's length; a missing one is null, or
    /// all zeros where the column may not be null.
    pub fn push(&mut self, value: Option<&[f32]>) {
        let start = self.data.len();
        self.data.resize(start + self.dim * f32::BYTES, 0);
        let (_, places) = self.data.split_at_mut(start);
        // Written in place, which compilers turn into one copy.
        let places = places.chunks_exact_mut(f32::BYTES);
        for (place, number) in places.zip(value.unwrap_or_default()) {
            number.put(place);
        }
        self.validity.push(value.is_some());
    }

    /// The column.
    pub fn finish(self) -> Column {
        self.validity.finish(Vec::new(), self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;

    /// Which of 17 rows are null: more than two bytes of validity, the first row of a byte and the last.
    fn some(row: usize) -> Option<usize> {
        (![0, 3, 8, 15].contains(&row)).then_some(row)
    }

    #[test]
    fn what_was_pushed_is_read_back_in_every_kind() {
        let rows = 17;
        let (mut booleans, mut texts) = (BooleanBuilder::new(true), BytesBuilder::new(true));
        let (mut ints, mut longs) = (Int32Builder::new(true), Int64Builder::new(true));
        let (mut floats, mut doubles) = (Float32Builder::new(true), Float64Builder::new(true));
        let mut vectors = VectorBuilder::new(2, true);
        let text = |row| some(row).map(|row| "ä".repeat(row % 3));
        let vector = |row| some(row).map(|row| [row as f32, 0.5]);
        for row in 0..rows {
            booleans.push(some(row).map(|row| row % 2 == 1));
            texts.push(text(row)).unwrap();
            ints.push(some(row).map(|row| row as i32));
            longs.push(some(row).map(|row| row as i64));
            floats.push(some(row).map(|row| row as f32));
            doubles.push(some(row).map(|row| row as f64));
            vectors.push(vector(row).as_ref().map(|vector| &vector[..]));
        }
        let columns = vec![
            booleans.finish(),
            texts.finish(),
            ints.finish(),
            longs.finish(),
            floats.finish(),
            doubles.finish(),
            vectors.finish(),
        ];
        let batch = Batch::new(rows as u32, columns);
        let vectors = batch.vector(6).unwrap();
        for row in 0..rows {
            let some = some(row);
            assert_eq!(batch.boolean(0).unwrap().get(row), some.map(|n| n % 2 == 1));
            assert_eq!(batch.text(1).unwrap().get(row), text(row).as_deref());
            assert_eq!(batch.int32(2).unwrap().get(row), some.map(|n| n as i32));
            assert_eq!(batch.int64(3).unwrap().get(row), some.map(|n| n as i64));
            assert_eq!(batch.float32(4).unwrap().get(row), some.map(|n| n as f32));
            assert_eq!(batch.float64(5).unwrap().get(row), some.map(|n| n as f64));
            let numbers = vectors.get(row).map(Iterator::collect::<Vec<_>>);
            assert_eq!(numbers, vector(row).map(|vector| vector.to_vec()));
        }
    }

    #[test]
    fn a_null_in_the_first_row_has_its_bit_cleared() {
        let mut builder = Int32Builder::new(true);
        builder.push(None);
        builder.push(Some(7));
        let column = builder.finish();
        assert_eq!(column.validity.as_deref(), Some(&[0b10][..]));
        assert_eq!(column.data, [0, 0, 0, 0, 7, 0, 0, 0]);
    }

    #[test]
    fn a_column_without_nulls_has_no_bitmap() {
        let mut builder = BytesBuilder::new(true);
        builder.push(Some("a")).unwrap();
        assert!(builder.finish().validity.is_none());
    }

    #[test]
    fn a_column_that_may_not_be_null_is_filled_instead() {
        let mut builder = VectorBuilder::new(2, false);
        builder.push(None);
        let column = builder.finish();
        assert_eq!((column.validity, column.data), (None, vec![0; 8]));
    }
}
