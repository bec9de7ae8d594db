//! The model's table of vectors, kept as it is stored.

use std::ops::Range;

use half::f16;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};

/// How numbers are stored.
#[derive(Debug, Clone, Copy)]
enum Number {
    F64,
    F32,
    F16,
    I8,
}

impl Number {
    fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

/// A vector for each token of the vocabulary.
#[derive(Debug)]
pub(crate) struct Embeddings {
    file: Vec<u8>,
    table: Range<usize>,
    number: Number,
    rows: usize,
    dim: usize,
    /// Which row a token has, where tokens share rows.
    mapping: Option<Vec<usize>>,
    /// What a token's vector is multiplied by, where there are weights.
    weights: Option<Vec<f32>>,
}

impl Embeddings {
    /// Reads the file `model.safetensors`: the tensor `embeddings`, and where the vocabulary is
    /// quantized `mapping` and `weights`.
    pub(crate) fn read(file: Vec<u8>) -> Result<Self, String> {
        let (header_length, metadata) = SafeTensors::read_metadata(&file)
            .map_err(|error| format!("model.safetensors does not parse: {error}"))?;
        // The header is preceded by its length, in 8 bytes.
        let tensors = Tensors {
            file: &file,
            start: header_length + 8,
            metadata: &metadata,
        };
        // Sentence Transformers names the same tensor otherwise.
        let info = tensors
            .info("embeddings")
            .or_else(|| tensors.info("embedding.weight"));
        let info = info.ok_or_else(|| {
            let names: Vec<_> = metadata.tensors().keys().cloned().collect();
            format!(
                "model.safetensors has no tensor `embeddings`, only: {}",
                names.join(", ")
            )
        })?;
        let [rows, dim] = *info.shape.as_slice() else {
            return Err(format!(
                "`embeddings` has the shape {:?}, not two sides",
                info.shape
            ));
        };
        if rows == 0 || dim == 0 {
            return Err(format!("`embeddings` is empty: {rows}x{dim}"));
        }
        let number = match info.dtype {
            Dtype::F64 => Number::F64,
            Dtype::F32 => Number::F32,
            Dtype::F16 => Number::F16,
            // The scale is lost when model2vec quantizes; normalizing makes it good.
            Dtype::I8 => Number::I8,
            other => {
                return Err(format!(
                    "`embeddings` are {other:?}: not F16, F32, F64 or I8"
                ));
            }
        };
        let table = tensors.range(info);
        if matches!(number, Number::F16) && !tensors.halves_are_finite(info) {
            return Err("`embeddings` has numbers that are not finite".to_owned());
        }
        let mapping = tensors
            .info("mapping")
            .map(|info| tensors.mapping(info))
            .transpose()?;
        if let Some(row) = mapping.iter().flatten().find(|row| **row >= rows) {
            return Err(format!("`mapping` leads to row {row} of {rows}"));
        }
        let weights = tensors
            .info("weights")
            .map(|info| tensors.weights(info))
            .transpose()?;
        Ok(Self {
            table,
            number,
            rows,
            dim,
            mapping,
            weights,
            file,
        })
    }

    /// The length of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// How many tokens have a vector.
    pub(crate) fn tokens(&self) -> usize {
        let mapped = self.mapping.as_ref().map_or(self.rows, Vec::len);
        self.weights
            .as_ref()
            .map_or(mapped, |weights| mapped.min(weights.len()))
    }

    /// Adds a token's weighted vector to `sum`. A token without one adds nothing: there is none
    /// among those of a tokenizer that was found to fit.
    pub(crate) fn add(&self, token: usize, sum: &mut [f32]) {
        let row = match &self.mapping {
            Some(mapping) => mapping.get(token).copied(),
            None => Some(token),
        };
        let weight = match &self.weights {
            Some(weights) => weights.get(token).copied(),
            None => Some(1.0),
        };
        let (Some(row), Some(weight)) = (row, weight) else {
            return;
        };
        let length = self.dim * self.number.bytes();
        let table = self.file.get(self.table.clone()).unwrap_or_default();
        let vector = table
            .get(row * length..(row + 1) * length)
            .unwrap_or_default();
        match self.number {
            Number::F64 => add(vector, weight, sum, |bytes| {
                f64::from_le_bytes(bytes) as f32
            }),
            Number::F32 => add(vector, weight, sum, f32::from_le_bytes),
            Number::F16 => add(vector, weight, sum, |bytes| {
                half_to_f32(u16::from_le_bytes(bytes))
            }),
            Number::I8 => add(vector, weight, sum, |bytes| {
                f32::from(i8::from_le_bytes(bytes))
            }),
        }
    }
}

/// A finite half as a float, in a way that the compiler vectorizes: the exponent is moved into place
/// and its bias set right by a multiplication, which is exact.
fn half_to_f32(half: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * 2f32.powi(112);
    f32::from_bits(magnitude.to_bits() | u32::from(half & 0x8000) << 16)
}

/// Adds a vector, stored in numbers of `N` bytes, to `sum`.
fn add<const N: usize>(
    vector: &[u8],
    weight: f32,
    sum: &mut [f32],
    number: impl Fn([u8; N]) -> f32,
) {
    let (numbers, _) = vector.as_chunks::<N>();
    for (sum, bytes) in sum.iter_mut().zip(numbers) {
        *sum += weight * number(*bytes);
    }
}

/// The tensors of a file whose header was found to be sound.
struct Tensors<'a> {
    file: &'a [u8],
    start: usize,
    metadata: &'a Metadata,
}

impl Tensors<'_> {
    fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// Where a tensor stands in the file.
    fn range(&self, info: &TensorInfo) -> Range<usize> {
        let (start, end) = info.data_offsets;
        self.start + start..self.start + end
    }

    fn halves_are_finite(&self, info: &TensorInfo) -> bool {
        let mut halves = numbers(self.data(info), u16::from_le_bytes);
        halves.all(|half| half & 0x7c00 != 0x7c00)
    }

    fn data(&self, info: &TensorInfo) -> &[u8] {
        self.file.get(self.range(info)).unwrap_or_default()
    }

    fn mapping(&self, info: &TensorInfo) -> Result<Vec<usize>, String> {
        let data = self.data(info);
        let rows: Result<Vec<_>, _> = match info.dtype {
            Dtype::I64 => numbers(data, i64::from_le_bytes)
                .map(usize::try_from)
                .collect(),
            Dtype::I32 => numbers(data, i32::from_le_bytes)
                .map(usize::try_from)
                .collect(),
            other => return Err(format!("`mapping` is {other:?}: not I32 or I64")),
        };
        rows.map_err(|_| "`mapping` leads to a negative row".to_owned())
    }

    fn weights(&self, info: &TensorInfo) -> Result<Vec<f32>, String> {
        let data = self.data(info);
        Ok(match info.dtype {
            Dtype::F64 => numbers(data, f64::from_le_bytes)
                .map(|weight| weight as f32)
                .collect(),
            Dtype::F32 => numbers(data, f32::from_le_bytes).collect(),
            Dtype::F16 => numbers(data, f16::from_le_bytes).map(f16::to_f32).collect(),
            other => return Err(format!("`weights` are {other:?}: not F16, F32 or F64")),
        })
    }
}

/// A tensor's numbers, of `N` bytes each.
fn numbers<const N: usize, T>(data: &[u8], number: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    data.as_chunks::<N>().0.iter().copied().map(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_becomes_the_same_number() {
        let halves = (0..=u16::MAX).filter(|half| half & 0x7c00 != 0x7c00);
        for half in halves {
            let wanted = f16::from_bits(half).to_f32();
            assert_eq!(half_to_f32(half).to_bits(), wanted.to_bits(), "{half:#x}");
        }
    }
}
