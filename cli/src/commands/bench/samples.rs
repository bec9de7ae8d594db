//! The readings that are appended: batches of one size, made beforehand, each with bytes of its own.

use std::sync::Arc;

use arrow::array::{FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

/// A row's bytes: a time, a value and a tag of 16 random bytes.
pub(super) const ROW_BYTES: u64 = 8 + 8 + TAG_BYTES as u64;

const TAG_BYTES: i32 = 16;
/// How much memory the batches may take together, where two are not more.
const POOL_BYTES: u64 = 128 << 20;
const BATCHES_MAX: u64 = 16;

/// A batch, and its bytes as they lie in memory: both lanes write the same ones.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) batch: RecordBatch,
    pub(super) bytes: Buffer,
}

/// The columns of every batch.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("time", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
        Field::new("tag", DataType::FixedSizeBinary(TAG_BYTES), false),
    ]))
}

/// Makes different batches of that many rows, at least two.
pub(super) fn samples(rows: u64) -> Result<Vec<Sample>, ArrowError> {
    let count = (POOL_BYTES / (rows * ROW_BYTES)).clamp(2, BATCHES_MAX);
    (0..count).map(|seed| sample(rows as usize, seed)).collect()
}

fn sample(rows: usize, seed: u64) -> Result<Sample, ArrowError> {
    let mut random = Random(seed);
    let first = seed * rows as u64;
    let mut words = Vec::with_capacity(rows * (ROW_BYTES as usize / 8));
    words.extend((first..).take(rows).map(|row| row * 1000));
    words.extend((0..rows).map(|_| random.unit().to_bits()));
    words.extend((0..2 * rows).map(|_| random.next()));
    let bytes = Buffer::from_vec(words);
    let times = ScalarBuffer::<i64>::new(bytes.clone(), 0, rows);
    let values = ScalarBuffer::<f64>::new(bytes.clone(), rows, rows);
    let tags = bytes.slice_with_length(16 * rows, TAG_BYTES as usize * rows);
    let batch = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(Int64Array::new(times, None)),
            Arc::new(Float64Array::new(values, None)),
            Arc::new(FixedSizeBinaryArray::try_new(TAG_BYTES, tags, None)?),
        ],
    )?;
    Ok(Sample { batch, bytes })
}

/// SplitMix64: what it gives does not compress, and that is all that is asked of it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;

    use super::*;

    #[test]
    fn batches_have_the_rows_asked_for_and_bytes_of_their_own() {
        let samples = samples(32).unwrap();
        assert_eq!(samples.len(), 16);
        for sample in &samples {
            assert_eq!(sample.batch.num_rows(), 32);
            assert_eq!(sample.bytes.len() as u64, 32 * ROW_BYTES);
        }
        for column in 0..3 {
            let values: Vec<_> = samples
                .iter()
                .map(|sample| format!("{:?}", sample.batch.column(column).to_data()))
                .collect();
            assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "{column}");
        }
    }
}
