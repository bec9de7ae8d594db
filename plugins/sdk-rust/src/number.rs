//! The numbers that columns are made of.

/// A number of a kind of fixed width: `i32`, `i64` (int64 and timestamp), `f32` or `f64`.
pub trait Number: Copy + Default + sealed::Sealed {
    /// How many bytes a row takes.
    const BYTES: usize;

    /// The number that `bytes` are, little-endian; 0 where they are not [`Number::BYTES`] long.
    fn read(bytes: &[u8]) -> Self;

    /// Appends the number's bytes, little-endian.
    fn write(self, data: &mut Vec<u8>);

    /// Writes the number's bytes, little-endian, where [`Number::BYTES`] have their place.
    fn put(self, place: &mut [u8]);
}

mod sealed {
    /// Kinds are the contract's to add.
    pub trait Sealed {}
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl sealed::Sealed for $number {}

        impl Number for $number {
            const BYTES: usize = size_of::<Self>();

            #[inline]
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map(Self::from_le_bytes).unwrap_or_default()
            }

            #[inline]
            fn write(self, data: &mut Vec<u8>) {
                data.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn put(self, place: &mut [u8]) {
                if let Some(place) = place.first_chunk_mut() {
                    *place = self.to_le_bytes();
                }
            }
        }
    )*};
}

number!(i32, i64, f32, f64);
