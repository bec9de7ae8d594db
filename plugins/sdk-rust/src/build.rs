//! Output columns, built row by row.

use crate::Column;

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

    fn push(&mut self, present: bool) {
        // A column that may not be null is given an empty value in a missing one's place.
        let present = present || !self.nullable;
        if !present && self.bits.is_none() {
            let mut bits = vec![0xff; self.rows / 8];
            if !self.rows.is_multiple_of(8) {
                // Bits past the last row stay clear.
                bits.push((1 << (self.rows % 8)) - 1);
            }
            self.bits = Some(bits);
        }
        if let Some(bits) = &mut self.bits {
            if self.rows.is_multiple_of(8) {
                bits.push(0);
            }
            if let Some(last) = bits.last_mut() {
                let bit = 1 << (self.rows % 8);
                *last = if present { *last | bit } else { *last & !bit };
            }
        }
        self.rows += 1;
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

    /// Appends a row; a missing one is null, or empty where the column may not be null.
    pub fn push(&mut self, value: Option<&[u8]>) -> Result<(), String> {
        let value_bytes = value.unwrap_or_default();
        let end = u32::try_from(self.data.len() + value_bytes.len())
            .map_err(|_| "a column's values take more than 4 GiB")?;
        self.data.extend_from_slice(value_bytes);
        self.offsets.push(end);
        self.validity.push(value.is_some());
        Ok(())
    }

    /// The column.
    pub fn finish(self) -> Column {
        Column {
            validity: self.validity.bits,
            offsets: self.offsets,
            data: self.data,
        }
    }
}

/// Builds an int32 column.
#[derive(Debug)]
pub struct Int32Builder {
    validity: Validity,
    data: Vec<u8>,
}

impl Int32Builder {
    /// An empty column.
    pub fn new(nullable: bool) -> Self {
        Self {
            validity: Validity::new(nullable),
            data: Vec::new(),
        }
    }

    /// Appends a row; a missing one is null, or 0 where the column may not be null.
    pub fn push(&mut self, value: Option<i32>) {
        self.data
            .extend_from_slice(&value.unwrap_or_default().to_le_bytes());
        self.validity.push(value.is_some());
    }

    /// The column.
    pub fn finish(self) -> Column {
        Column {
            validity: self.validity.bits,
            offsets: Vec::new(),
            data: self.data,
        }
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
        let numbers = value.unwrap_or_default().iter().copied();
        for number in numbers.chain(std::iter::repeat(0.0)).take(self.dim) {
            self.data.extend_from_slice(&number.to_le_bytes());
        }
        self.validity.push(value.is_some());
    }

    /// The column.
    pub fn finish(self) -> Column {
        Column {
            validity: self.validity.bits,
            offsets: Vec::new(),
            data: self.data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;

    #[test]
    fn what_was_pushed_is_read_back_over_more_than_a_byte_of_validity() {
        let values = [
            Some(&b"a"[..]),
            Some(b""),
            Some(b"bc"),
            Some(b""),
            Some(b"d"),
            Some(b"e"),
            Some(b"f"),
            Some(b"g"),
            Some(b"h"),
            None,
            Some(b"i"),
            None,
            Some(b"k"),
            Some(b""),
            None,
            None,
            Some(b"l"),
        ];
        let mut builder = BytesBuilder::new(true);
        for value in values {
            builder.push(value).unwrap();
        }
        let batch = Batch::new(values.len() as u32, vec![builder.finish()]);
        assert!(batch.bytes(0).unwrap().iter().eq(values));
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
        builder.push(Some(b"a")).unwrap();
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
