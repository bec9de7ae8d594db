//! The batches that every lane of a benchmark gets.

use std::sync::Arc;

use arrow_array::{BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// A batch of sensor readings of about that many bytes: a time, a number, a short text.
pub fn readings(bytes: usize, seed: u64) -> RecordBatch {
    const ROW_BYTES: usize = 8 + 8 + 4 + 16;
    let mut random = StdRng::seed_from_u64(seed);
    let rows = (bytes / ROW_BYTES).max(1);
    let times = Int64Array::from_iter_values((0..rows as i64).map(|i| i * 1000));
    let numbers = Float64Array::from_iter_values((0..rows).map(|_| random.random::<f64>()));
    let texts = StringArray::from_iter_values(
        (0..rows).map(|_| format!("{:016x}", random.random::<u64>())),
    );
    batch([
        ("time", Arc::new(times) as _),
        ("value", Arc::new(numbers) as _),
        ("text", Arc::new(texts) as _),
    ])
}

/// A batch of that many images of 100 KB, as incompressible as JPEGs are.
pub fn images(count: usize, seed: u64) -> RecordBatch {
    let mut random = StdRng::seed_from_u64(seed);
    let image = |_| {
        let mut bytes = vec![0u8; 100_000];
        random.fill_bytes(&mut bytes);
        bytes
    };
    let images = BinaryArray::from_iter_values((0..count).map(image));
    let ids = Int64Array::from_iter_values(0..count as i64);
    batch([("id", Arc::new(ids) as _), ("image", Arc::new(images) as _)])
}

fn batch<const N: usize>(columns: [(&str, arrow_array::ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}
