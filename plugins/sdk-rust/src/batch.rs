//! Views of a batch's columns: flat buffers, read row by row.

use crate::Column;

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

    /// The binary column at `index` in the plan's inputs.
    pub fn bytes(&self, index: usize) -> Result<BytesColumn<'_>, String> {
        let column = self
            .columns
            .get(index)
            .ok_or_else(|| format!("column {index} is missing from the batch"))?;
        BytesColumn::new(self.rows, column).map_err(|message| format!("column {index} {message}"))
    }

    /// The utf8 column at `index` in the plan's inputs.
    pub fn text(&self, index: usize) -> Result<TextColumn<'_>, String> {
        let bytes = self.bytes(index)?;
        let text = std::str::from_utf8(bytes.data)
            .map_err(|error| format!("column {index} is not UTF-8: {error}"))?;
        Ok(TextColumn { bytes, text })
    }
}

/// A binary column.
#[derive(Debug, Clone, Copy)]
pub struct BytesColumn<'a> {
    rows: usize,
    validity: Option<&'a [u8]>,
    offsets: &'a [u32],
    data: &'a [u8],
}

impl<'a> BytesColumn<'a> {
    /// A view of `column`, whose buffers must be long enough for `rows` rows.
    fn new(rows: usize, column: &'a Column) -> Result<Self, String> {
        if column.offsets.len() != rows + 1 {
            let (has, wants) = (column.offsets.len(), rows + 1);
            return Err(format!("has {has} offsets where {rows} rows want {wants}"));
        }
        let validity = column.validity.as_deref();
        if validity.is_some_and(|bits| bits.len() < rows.div_ceil(8)) {
            return Err(format!("has a validity bitmap too short for {rows} rows"));
        }
        Ok(Self {
            rows,
            validity,
            offsets: &column.offsets,
            data: &column.data,
        })
    }

    /// The value of a row: nothing where it is null.
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        self.data.get(self.range(row)?)
    }

    /// Every row's value, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> {
        (0..self.rows).map(|row| self.get(row))
    }

    /// Where the value of a row stands in the data, unless it is null.
    fn range(&self, row: usize) -> Option<std::ops::Range<usize>> {
        if let Some(bits) = self.validity
            && bits.get(row / 8)? >> (row % 8) & 1 == 0
        {
            return None;
        }
        let (start, end) = (self.offsets.get(row)?, self.offsets.get(row + 1)?);
        Some(*start as usize..*end as usize)
    }
}

/// A utf8 column.
#[derive(Debug, Clone, Copy)]
pub struct TextColumn<'a> {
    bytes: BytesColumn<'a>,
    text: &'a str,
}

impl<'a> TextColumn<'a> {
    /// The text of a row: nothing where it is null.
    pub fn get(&self, row: usize) -> Option<&'a str> {
        self.text.get(self.bytes.range(row)?)
    }

    /// Every row's text, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a str>> {
        (0..self.bytes.rows).map(|row| self.get(row))
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
    fn a_column_too_short_for_the_batch_is_refused() {
        let batch = Batch::new(2, vec![column(None, &[0, 1], b"a")]);
        assert!(
            batch
                .bytes(0)
                .unwrap_err()
                .contains("2 offsets where 2 rows want 3")
        );
        let batch = Batch::new(9, vec![column(Some(vec![0xff]), &[0; 10], b"")]);
        assert!(batch.bytes(0).unwrap_err().contains("validity"));
        assert!(batch.bytes(1).unwrap_err().contains("missing"));
    }

    #[test]
    fn a_value_outside_of_the_data_or_within_a_character_is_no_value() {
        let batch = Batch::new(2, vec![column(None, &[0, 1, 9], "é".as_bytes())]);
        let column = batch.text(0).unwrap();
        assert_eq!((column.get(0), column.get(1)), (None, None));
    }
}
