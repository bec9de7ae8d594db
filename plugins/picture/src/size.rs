//! Sizes and parts of pictures.

use std::fmt;

/// A width and a height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl Size {
    /// A size.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// How many pixels there are.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The size of the picture turned by a quarter.
    pub fn turned(self) -> Self {
        Self::new(self.height, self.width)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A part of the source, in (fractions of) its pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// From the left edge.
    pub left: f64,
    /// From the top edge.
    pub top: f64,
    /// How wide.
    pub width: f64,
    /// How high.
    pub height: f64,
}

impl Crop {
    /// All of a picture.
    pub fn whole(size: Size) -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            width: f64::from(size.width),
            height: f64::from(size.height),
        }
    }

    /// The same part of the picture once that is reduced, to a size whose last pixels may stand for fewer.
    pub(crate) fn reduced(self, by: u32, size: Size) -> Self {
        let by = f64::from(by);
        let (left, top) = (self.left / by, self.top / by);
        Self {
            left,
            top,
            width: (self.width / by).min(f64::from(size.width) - left),
            height: (self.height / by).min(f64::from(size.height) - top),
        }
    }
}

/// What is cut out of a picture, and what size that is scaled to; both as a viewer sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The part of the source that is seen.
    pub crop: Crop,
    /// The size that this part is scaled to.
    pub size: Size,
}

impl Target {
    /// The same target seen by a source that is turned by a quarter.
    pub(crate) fn turned(self) -> Self {
        let Crop {
            left,
            top,
            width,
            height,
        } = self.crop;
        Self {
            crop: Crop {
                left: top,
                top: left,
                width: height,
                height: width,
            },
            size: self.size.turned(),
        }
    }
}
