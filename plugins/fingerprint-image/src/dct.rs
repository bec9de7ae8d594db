//! The discrete cosine transform (DCT-II) of a small square of numbers.

use std::f32::consts::PI;

/// The side of the square that is transformed.
pub(crate) const SIDE: usize = 32;
/// How many frequencies are kept each way, the lowest first.
pub(crate) const KEPT: usize = 9;

/// A plane of [`SIDE`] by [`SIDE`] numbers, row by row.
pub(crate) type Plane = [f32; SIDE * SIDE];

/// The lowest frequencies of a plane, by vertical and then horizontal frequency.
pub(crate) type Spectrum = [[f32; KEPT]; KEPT];

/// The orthonormal transform, to the lowest frequencies only.
#[derive(Debug)]
pub(crate) struct Dct {
    /// A wave for each frequency.
    waves: [[f32; SIDE]; KEPT],
}

impl Dct {
    pub(crate) fn new() -> Self {
        let mut waves = [[0.0; SIDE]; KEPT];
        for (frequency, wave) in waves.iter_mut().enumerate() {
            let scale = if frequency == 0 { 1.0f32 } else { 2.0 } / SIDE as f32;
            for (at, value) in wave.iter_mut().enumerate() {
                let phase = (at as f32 + 0.5) * frequency as f32 * PI / SIDE as f32;
                *value = scale.sqrt() * phase.cos();
            }
        }
        Self { waves }
    }

    pub(crate) fn transform(&self, plane: &Plane) -> Spectrum {
        // Across first: a row becomes its lowest frequencies.
        let mut across = [[0.0; KEPT]; SIDE];
        for (row, frequencies) in plane.chunks_exact(SIDE).zip(&mut across) {
            for (wave, value) in self.waves.iter().zip(frequencies) {
                *value = wave
                    .iter()
                    .zip(row)
                    .map(|(wave, number)| wave * number)
                    .sum();
            }
        }
        let mut spectrum = [[0.0; KEPT]; KEPT];
        for (wave, frequencies) in self.waves.iter().zip(&mut spectrum) {
            for (wave, row) in wave.iter().zip(&across) {
                for (value, number) in frequencies.iter_mut().zip(row) {
                    *value += wave * number;
                }
            }
        }
        spectrum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_has_one_frequency() {
        let mut plane = [0.0; SIDE * SIDE];
        for (at, value) in plane.iter_mut().enumerate() {
            let (x, y) = (at % SIDE, at / SIDE);
            let wave = |at: usize, frequency: f32| {
                ((at as f32 + 0.5) * frequency * PI / SIDE as f32).cos()
            };
            *value = wave(x, 3.0) * wave(y, 5.0);
        }
        let spectrum = Dct::new().transform(&plane);
        for (vertical, row) in spectrum.iter().enumerate() {
            for (horizontal, value) in row.iter().enumerate() {
                let wanted = if (vertical, horizontal) == (5, 3) {
                    SIDE as f32 / 2.0
                } else {
                    0.0
                };
                assert!(
                    (value - wanted).abs() < 1e-3,
                    "{vertical} {horizontal} {value}"
                );
            }
        }
    }

    #[test]
    fn a_flat_plane_has_only_its_mean() {
        let spectrum = Dct::new().transform(&[2.0; SIDE * SIDE]);
        assert!((spectrum[0][0] - 2.0 * SIDE as f32).abs() < 1e-3);
        assert!(
            spectrum.as_flattened()[1..]
                .iter()
                .all(|value| value.abs() < 1e-3)
        );
    }
}
