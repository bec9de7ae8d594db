//! The batches that every lane of a benchmark gets.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::SchemaRef;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// How many bytes of batches a lane cycles through: more than a cache holds.
const SET_BYTES: usize = 64 << 20;

/// The bytes of one image.
const IMAGE_BYTES: usize = 100_000;

/// What the rows of a batch are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An int64 and seven float64: 64 bytes.
    Fixed,
    /// An int64 alone, for scans.
    Numbers,
    /// An int64 and a text of 48 characters.
    Strings,
    /// An int64 and 100 KB that don't compress.
    Images,
}

impl Kind {
    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Numbers => "numbers",
            Self::Strings => "strings",
            Self::Images => "images",
        }
    }

    fn batch(self, bytes: usize, seed: u64) -> RecordBatch {
        match self {
            Self::Fixed => fixed(bytes, seed),
            Self::Numbers => numbers(bytes, seed),
            Self::Strings => strings(bytes, seed),
            Self::Images => images((bytes / IMAGE_BYTES).max(1), seed),
        }
    }
}

/// A batch, and its buffers' bytes one after the other, for what knows no batches.
#[derive(Debug)]
pub struct Sample {
    /// The batch.
    pub batch: RecordBatch,
    /// The bytes that its buffers hold.
    pub bytes: Vec<u8>,
}

/// Distinct batches of one kind and size, made before anything is measured.
#[derive(Debug)]
pub struct Samples {
    /// The batches, all with this schema.
    pub schema: SchemaRef,
    /// What is cycled through.
    pub all: Vec<Sample>,
    /// The payload of a batch on average.
    pub payload: u64,
}

impl Samples {
    /// Batches of about that many bytes each.
    pub fn new(kind: Kind, bytes: usize) -> Self {
        let all: Vec<Sample> = (0..SET_BYTES / bytes)
            .map(|seed| {
                let batch = kind.batch(bytes, seed as u64);
                let bytes = payload(&batch);
                Sample { batch, bytes }
            })
            .collect();
        let total: usize = all.iter().map(|s| s.bytes.len()).sum();
        Self {
            schema: all[0].batch.schema(),
            payload: (total / all.len()) as u64,
            all,
        }
    }

    /// The sample that a producer appends at its turn: every producer begins elsewhere.
    pub fn at(&self, producer: usize, producers: usize, turn: u64) -> &Sample {
        let begin = producer * self.all.len() / producers;
        &self.all[(begin + turn as usize) % self.all.len()]
    }
}

/// The bytes that a batch's buffers hold.
fn payload(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    for column in batch.columns() {
        for buffer in column.to_data().buffers() {
            bytes.extend_from_slice(buffer);
        }
    }
    bytes
}

/// A batch of fixed-width columns of that many bytes.
pub(crate) fn fixed(bytes: usize, seed: u64) -> RecordBatch {
    const COLUMNS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
    let mut random = StdRng::seed_from_u64(seed);
    let rows = bytes / (8 * (COLUMNS.len() + 1));
    let ids = Int64Array::from_iter_values((0..rows).map(|_| random.random::<i64>()));
    let mut columns = vec![("id", Arc::new(ids) as ArrayRef)];
    for name in COLUMNS {
        let values = (0..rows).map(|_| random.random::<f64>());
        columns.push((name, Arc::new(Float64Array::from_iter_values(values))));
    }
    batch(columns)
}

fn numbers(bytes: usize, seed: u64) -> RecordBatch {
    let mut random = StdRng::seed_from_u64(seed);
    let numbers = (0..bytes / 8).map(|_| random.random::<i64>());
    batch(vec![(
        "id",
        Arc::new(Int64Array::from_iter_values(numbers)) as _,
    )])
}

fn strings(bytes: usize, seed: u64) -> RecordBatch {
    const ROW_BYTES: usize = 8 + 4 + 48;
    let mut random = StdRng::seed_from_u64(seed);
    let rows = bytes / ROW_BYTES;
    let times = Int64Array::from_iter_values((0..rows as i64).map(|i| i * 1000));
    let text = |_| {
        let (high, low) = (random.random::<u128>(), random.random::<u64>());
        format!("{high:032x}{low:016x}")
    };
    let texts = StringArray::from_iter_values((0..rows).map(text));
    batch(vec![
        ("time", Arc::new(times) as _),
        ("text", Arc::new(texts) as _),
    ])
}

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
    batch(vec![
        ("time", Arc::new(times) as _),
        ("value", Arc::new(numbers) as _),
        ("text", Arc::new(texts) as _),
    ])
}

/// A batch of that many images of 100 KB, as incompressible as JPEGs are.
pub fn images(count: usize, seed: u64) -> RecordBatch {
    let mut random = StdRng::seed_from_u64(seed);
    let image = |_| {
        let mut bytes = vec![0u8; IMAGE_BYTES];
        random.fill_bytes(&mut bytes);
        bytes
    };
    let images = BinaryArray::from_iter_values((0..count).map(image));
    let ids = Int64Array::from_iter_values(0..count as i64);
    batch(vec![
        ("id", Arc::new(ids) as _),
        ("image", Arc::new(images) as _),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}
