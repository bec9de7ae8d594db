//! The fingerprint of a picture.

use fast_image_resize::{FilterType, ResizeAlg};
use picture::{Crop, Decoder, Error, Size, Target, flatten};

use crate::dct::{Dct, KEPT, Plane, SIDE, Spectrum};

/// The length of the vector.
pub const DIM: usize = 96;
/// How many of its numbers tell of brightness, and how many of each of the two colours.
const BRIGHTNESS: usize = 47;
const COLOUR: usize = 24;
/// What the vector's first number is before scaling. It damps the noise of a picture that shows
/// next to nothing, and one that shows nothing at all is (1, 0, 0, ...), not a vector of length 0.
const FLOOR: f32 = 32.0;

/// What near duplicates have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    /// A bit for each of the 64 lowest frequencies of brightness, whether it is above their median:
    /// near duplicates differ in a few bits, others in about half.
    pub hash: u64,
    /// Low frequencies of brightness and colours, scaled to length 1.
    pub vector: [f32; DIM],
}

/// Makes fingerprints.
#[derive(Debug)]
pub struct Fingerprinter {
    dct: Dct,
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self { dct: Dct::new() }
    }
}

impl Fingerprinter {
    /// The fingerprint of an encoded picture, as a viewer shows it, on white where it is
    /// transparent. One with more than `max_pixels` is refused.
    pub fn fingerprint(&self, encoded: &[u8], max_pixels: u64) -> Result<Fingerprint, Error> {
        let decoder = Decoder::new(encoded, max_pixels)?;
        let target = Target {
            crop: Crop::whole(decoder.oriented_size()),
            size: Size::new(SIDE as u32, SIDE as u32),
        };
        let results = 8 * target.size.pixels();
        let picture = decoder.decode(&target, results)?;
        let small = picture.scale(&target, ResizeAlg::Convolution(FilterType::Bilinear))?;
        let small = flatten(small, [255; 3]);
        let [brightness, blue, red] =
            planes(small.as_raw()).map(|plane| self.dct.transform(&plane));
        Ok(Fingerprint {
            hash: hash(&brightness),
            vector: vector(&brightness, &blue, &red),
        })
    }
}

/// The brightness and the two colour differences (Y, Cb and Cr of JPEG) of RGB pixels.
fn planes(pixels: &[u8]) -> [Plane; 3] {
    let mut planes = [[0.0; SIDE * SIDE]; 3];
    let [brightness, blue, red] = &mut planes;
    let (pixels, _) = pixels.as_chunks::<3>();
    let places = brightness.iter_mut().zip(blue).zip(red);
    for (pixel, ((brightness, blue), red)) in pixels.iter().zip(places) {
        let [r, g, b] = pixel.map(f32::from);
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        (*brightness, *blue, *red) = (y, 0.564 * (b - y), 0.713 * (r - y));
    }
    planes
}

/// The perceptual hash: without the lowest frequency each way, which tells of light and shade.
fn hash(brightness: &Spectrum) -> u64 {
    let mut values = [0.0; (KEPT - 1) * (KEPT - 1)];
    let rows = brightness.iter().skip(1);
    let lowest = rows.flat_map(|row| row.iter().skip(1));
    values
        .iter_mut()
        .zip(lowest)
        .for_each(|(value, of)| *value = *of);
    let mut sorted = values;
    sorted.sort_unstable_by(f32::total_cmp);
    let (below, above) = sorted.split_at(sorted.len() / 2);
    let middle = |side: Option<&f32>| side.copied().unwrap_or_default();
    let median = (middle(below.last()) + middle(above.first())) / 2.0;
    let bits = values.iter().map(|value| u64::from(*value > median));
    bits.fold(0, |hash, bit| hash << 1 | bit)
}

/// Brightness without its mean, which is how well the picture is lit; colours with theirs.
fn vector(brightness: &Spectrum, blue: &Spectrum, red: &Spectrum) -> [f32; DIM] {
    let brightness = diagonally(brightness).skip(1).take(BRIGHTNESS);
    let colours = [blue, red].map(|colour| diagonally(colour).take(COLOUR));
    let numbers = std::iter::once(FLOOR)
        .chain(brightness)
        .chain(colours.into_iter().flatten());
    let mut vector = [0.0; DIM];
    vector
        .iter_mut()
        .zip(numbers)
        .for_each(|(at, number)| *at = number);
    // At least FLOOR.
    let length = vector
        .iter()
        .map(|number| number * number)
        .sum::<f32>()
        .sqrt();
    vector.map(|number| number / length)
}

/// The frequencies of a spectrum, the lowest (of both ways together) first.
fn diagonally(spectrum: &Spectrum) -> impl Iterator<Item = f32> {
    (0..2 * KEPT).flat_map(move |sum| {
        let rows = spectrum.iter().enumerate();
        rows.filter_map(move |(vertical, row)| row.get(sum.checked_sub(vertical)?).copied())
    })
}
