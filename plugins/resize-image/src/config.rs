//! The transform's options.

use fast_image_resize::{FilterType, ResizeAlg};
use picture::MAX_SIDE;
use serde::Deserialize;

/// The options, a JSON object. One of `width` and `height` is needed; where only one is given, the
/// other follows the picture's aspect, whatever the fit.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The width of the box to fit.
    pub width: Option<u32>,
    /// The height of the box to fit.
    pub height: Option<u32>,
    /// How a picture of another aspect fits the box.
    pub fit: Fit,
    /// What to encode the result as.
    pub format: Format,
    /// JPEG's quality, 1 to 100.
    pub quality: u32,
    /// How pixels are interpolated.
    pub filter: Filter,
    /// Whether a picture smaller than the box is enlarged.
    pub enlarge: bool,
    /// `#rrggbb`: what `contain` pads with, and what shows through a transparent picture in JPEG.
    pub background: Colour,
    /// A picture with more pixels fails. Below that, one still fails that would take more than
    /// [`MEMORY_BUDGET`](picture::MEMORY_BUDGET), whatever is written here. To become a thumbnail, all
    /// pixels of a baseline JPEG fit that, 40 million of a PNG, 14 million of a WebP, 22 to 27 million of
    /// a progressive JPEG; to become larger, fewer.
    pub max_pixels: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            width: None,
            height: None,
            fit: Fit::default(),
            format: Format::default(),
            quality: 85,
            filter: Filter::default(),
            enlarge: false,
            background: Colour([255; 3]),
            max_pixels: 40_000_000,
        }
    }
}

impl Config {
    /// Checks what the options' types do not.
    pub fn validate(&self) -> Result<(), String> {
        if self.width.is_none() && self.height.is_none() {
            return Err("give `width`, `height` or both, in pixels".to_owned());
        }
        for (name, side) in [("width", self.width), ("height", self.height)] {
            if let Some(side) = side
                && !(1..=MAX_SIDE).contains(&side)
            {
                return Err(format!("`{name}` must be from 1 to {MAX_SIDE}, not {side}"));
            }
        }
        if !(1..=100).contains(&self.quality) {
            return Err(format!(
                "`quality` must be from 1 to 100, not {}",
                self.quality
            ));
        }
        Ok(())
    }
}

/// How a picture of another aspect fits the box: CSS's `object-fit`, and `inside`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Within the box, padded with the background to exactly its size.
    Contain,
    /// Over the whole box; what hangs over is cut off on both sides alike.
    Cover,
    /// Stretched to the box.
    Fill,
    /// Within the box, not padded.
    #[default]
    Inside,
}

/// What the result is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JPEG, of `quality`; without transparency.
    #[default]
    Jpeg,
    /// PNG.
    Png,
    /// WebP, always lossless: photographs take several times the space that they do in JPEG.
    Webp,
}

/// How pixels are interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// The nearest pixel: fast and jagged; of a JPEG that was reduced, its nearest mean.
    Nearest,
    /// Linear.
    Bilinear,
    /// A Hamming window: as fast as bilinear, sharper.
    Hamming,
    /// Catmull-Rom's cubic.
    CatmullRom,
    /// Mitchell-Netravali's cubic.
    Mitchell,
    /// Lanczos with a window of three: the sharpest.
    #[default]
    Lanczos3,
}

impl Filter {
    /// The scaler's name for it.
    pub(crate) fn algorithm(self) -> ResizeAlg {
        match self {
            Self::Nearest => ResizeAlg::Nearest,
            Self::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            Self::Hamming => ResizeAlg::Convolution(FilterType::Hamming),
            Self::CatmullRom => ResizeAlg::Convolution(FilterType::CatmullRom),
            Self::Mitchell => ResizeAlg::Convolution(FilterType::Mitchell),
            Self::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
        }
    }
}

/// A colour: red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// The shade of grey that it is, if it is one.
    pub(crate) fn grey(self) -> Option<u8> {
        let [red, green, blue] = self.0;
        (red == green && green == blue).then_some(red)
    }
}

impl TryFrom<String> for Colour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.strip_prefix('#')
            // from_str_radix alone would take a sign.
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .map(|number| {
                let [_, red, green, blue] = number.to_be_bytes();
                Self([red, green, blue])
            })
            .ok_or_else(|| format!("a colour is written #rrggbb, not {text:?}"))
    }
}
