//! Views of columns: flat buffers, read row by row.

use std::marker::PhantomData;
use std::ops::Range;

use crate::{Column, Number};

/// How many rows there are, and which are present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presence<'a> {
    rows: usize,
    validity: Option<&'a [u8]>,
}

impl<'a> Presence<'a> {
    /// Whose bitmap must be long enough for `rows` rows.
    pub(crate) fn new(rows: usize, column: &'a Column) -> Result<Self, String> {
        let validity = column.validity.as_deref();
        if validity.is_some_and(|bits| bits.len() < rows.div_ceil(8)) {
            return Err(format!("has a validity bitmap too short for {rows} rows"));
        }
        Ok(Self { rows, validity })
    }

    /// The row, if it is there and not null.
    fn check(self, row: usize) -> Option<usize> {
        (row < self.rows && self.has(row)).then_some(row)
    }

    /// Whether a row that is there is not null.
    #[inline]
    fn has(self, row: usize) -> bool {
        self.validity.is_none_or(|bits| bit(bits, row))
    }

    /// The bitmap, as long as the rows are, if there is one.
    fn bits(self) -> Option<&'a [u8]> {
        self.validity?.get(..self.rows.div_ceil(8))
    }

    /// The bitmap of the rows that two columns both have, unless they both have all.
    fn both(self, other: Self) -> Option<Vec<u8>> {
        match (self.bits(), other.bits()) {
            (Some(ours), Some(theirs)) => {
                Some(ours.iter().zip(theirs).map(|(a, b)| a & b).collect())
            }
            (bits, None) | (None, bits) => bits.map(<[u8]>::to_vec),
        }
    }

    /// Sees that fixed rows take `bytes` bytes in all.
    fn check_data(self, data: &[u8], bytes: usize) -> Result<(), String> {
        if data.len() == bytes {
            return Ok(());
        }
        let (rows, has) = (self.rows, data.len());
        Err(format!(
            "has {has} bytes of data where {rows} rows want {bytes}"
        ))
    }
}

fn bit(bits: &[u8], row: usize) -> bool {
    bits.get(row / 8)
        .is_some_and(|byte| byte >> (row % 8) & 1 == 1)
}

/// A boolean column.
#[derive(Debug, Clone, Copy)]
pub struct BooleanColumn<'a> {
    presence: Presence<'a>,
    data: &'a [u8],
}

impl<'a> BooleanColumn<'a> {
    pub(crate) fn new(presence: Presence<'a>, column: &'a Column) -> Result<Self, String> {
        let data = column.data.as_slice();
        presence.check_data(data, presence.rows.div_ceil(8))?;
        Ok(Self { presence, data })
    }

    /// The value of a row: nothing where it is null.
    pub fn get(&self, row: usize) -> Option<bool> {
        self.presence.check(row).map(|row| bit(self.data, row))
    }

    /// Every row's value, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<bool>> {
        (0..self.presence.rows).map(|row| self.get(row))
    }
}

/// A column of numbers: int32, int64, float32, float64 or timestamp.
#[derive(Debug, Clone, Copy)]
pub struct NumberColumn<'a, T> {
    presence: Presence<'a>,
    data: &'a [u8],
    number: PhantomData<T>,
}

impl<'a, T: Number> NumberColumn<'a, T> {
    pub(crate) fn new(presence: Presence<'a>, column: &'a Column) -> Result<Self, String> {
        let data = column.data.as_slice();
        presence.check_data(data, presence.rows.saturating_mul(T::BYTES))?;
        Ok(Self {
            presence,
            data,
            number: PhantomData,
        })
    }

    /// The value of a row: nothing where it is null.
    pub fn get(&self, row: usize) -> Option<T> {
        let start = self.presence.check(row)? * T::BYTES;
        self.data.get(start..start + T::BYTES).map(T::read)
    }

    /// Every row's value, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<T>> + use<'a, T> {
        let presence = self.presence;
        let rows = self.values().enumerate();
        rows.map(move |(row, value)| presence.has(row).then_some(value))
    }

    /// What stands in every row, in order, whether it is null or not: a plain loop over numbers,
    /// which the compiler vectorizes.
    pub fn values(&self) -> impl ExactSizeIterator<Item = T> + Clone + use<'a, T> {
        numbers(self.data)
    }

    /// A column of what a function makes of each row's number, null where the row is: what an
    /// output of the kind of `M` takes. Faster than a builder, as nothing but the function is
    /// done row by row.
    pub fn map<M: Number>(&self, function: impl FnMut(T) -> M) -> Column {
        let validity = self.presence.bits().map(<[u8]>::to_vec);
        made(validity, self.values(), function)
    }

    /// The same of each row's numbers in two columns of one batch, null where either is.
    pub fn map_with<U: Number, M: Number>(
        &self,
        other: &NumberColumn<'_, U>,
        mut function: impl FnMut(T, U) -> M,
    ) -> Column {
        let both = self.values().zip(other.values());
        let validity = self.presence.both(other.presence);
        made(validity, both, |(ours, theirs)| function(ours, theirs))
    }
}

/// A column of what a function makes of each row that is present.
fn made<V, M: Number>(
    validity: Option<Vec<u8>>,
    rows: impl ExactSizeIterator<Item = V>,
    mut function: impl FnMut(V) -> M,
) -> Column {
    // Written in place: a loop that may grow a vector is not vectorized.
    let mut data = vec![0; rows.len() * M::BYTES];
    let places = data.chunks_exact_mut(M::BYTES).zip(rows);
    match &validity {
        None => places.for_each(|(place, row)| function(row).put(place)),
        Some(bits) => places
            .enumerate()
            .filter(|(row, _)| bit(bits, *row))
            .for_each(|(_, (place, row))| function(row).put(place)),
    }
    Column {
        validity,
        offsets: Vec::new(),
        data,
    }
}

fn numbers<'a, T: Number>(data: &'a [u8]) -> impl ExactSizeIterator<Item = T> + Clone + use<'a, T> {
    data.chunks_exact(T::BYTES).map(T::read)
}

/// A binary column.
#[derive(Debug, Clone, Copy)]
pub struct BytesColumn<'a> {
    presence: Presence<'a>,
    offsets: &'a [u32],
    data: &'a [u8],
}

impl<'a> BytesColumn<'a> {
    pub(crate) fn new(presence: Presence<'a>, column: &'a Column) -> Result<Self, String> {
        let (rows, wants) = (presence.rows, presence.rows + 1);
        let offsets = column.offsets.as_slice();
        if offsets.len() != wants {
            let has = offsets.len();
            return Err(format!("has {has} offsets where {rows} rows want {wants}"));
        }
        Ok(Self {
            presence,
            offsets,
            data: &column.data,
        })
    }

    /// The value of a row: nothing where it is null.
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        self.data.get(self.range(row)?)
    }

    /// Every row's value, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> {
        (0..self.presence.rows).map(|row| self.get(row))
    }

    /// Where the value of a row stands in the data, unless it is null.
    fn range(&self, row: usize) -> Option<Range<usize>> {
        let row = self.presence.check(row)?;
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
    pub(crate) fn new(presence: Presence<'a>, column: &'a Column) -> Result<Self, String> {
        let bytes = BytesColumn::new(presence, column)?;
        // Checked once: the rows are then cut at the ends of characters only.
        let text =
            std::str::from_utf8(bytes.data).map_err(|error| format!("is not UTF-8: {error}"))?;
        Ok(Self { bytes, text })
    }

    /// The text of a row: nothing where it is null.
    pub fn get(&self, row: usize) -> Option<&'a str> {
        self.text.get(self.bytes.range(row)?)
    }

    /// Every row's text, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a str>> {
        (0..self.bytes.presence.rows).map(|row| self.get(row))
    }
}

/// A column of vectors of one length.
#[derive(Debug, Clone, Copy)]
pub struct VectorColumn<'a> {
    presence: Presence<'a>,
    dim: usize,
    data: &'a [u8],
}

impl<'a> VectorColumn<'a> {
    pub(crate) fn new(presence: Presence<'a>, column: &'a Column) -> Result<Self, String> {
        let data = column.data.as_slice();
        let dim = (data.len() / f32::BYTES)
            .checked_div(presence.rows)
            .unwrap_or_default();
        presence.check_data(data, presence.rows * dim * f32::BYTES)?;
        Ok(Self {
            presence,
            dim,
            data,
        })
    }

    /// How long the vectors are; 0 in a batch without rows.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The numbers of a row's vector: nothing where it is null.
    pub fn get(&self, row: usize) -> Option<impl ExactSizeIterator<Item = f32> + Clone + use<'a>> {
        let bytes = self.dim * f32::BYTES;
        let start = self.presence.check(row)? * bytes;
        self.data.get(start..start + bytes).map(numbers::<f32>)
    }
}
