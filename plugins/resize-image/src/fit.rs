//! Where a picture comes to lie in its box.

use picture::{Crop, Size, Target};

use crate::config::{Config, Fit};

/// What is cut out of the source, what size it is scaled to, and what canvas it is centred on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// The part of the source that is seen.
    pub crop: Crop,
    /// The size that this part is scaled to.
    pub scaled: Size,
    /// The size of the result.
    pub canvas: Size,
}

impl Layout {
    /// The layout of a picture of the size `source`.
    pub fn new(source: Size, config: &Config) -> Self {
        let (width, height) = (f64::from(source.width), f64::from(source.height));
        let limit = if config.enlarge { f64::INFINITY } else { 1.0 };
        let across = config.width.map(|side| f64::from(side) / width);
        let down = config.height.map(|side| f64::from(side) / height);
        let (across, down, target) = match (across, down, config.width, config.height) {
            (Some(across), Some(down), Some(width), Some(height)) => {
                (across, down, Some(Size::new(width, height)))
            }
            // With one side only, or none, there is no box: the aspect decides.
            _ => {
                let factor = across.or(down).unwrap_or(1.0);
                (factor, factor, None)
            }
        };
        let whole = Crop::whole(source);
        let scale = |across: f64, down: f64| {
            let mut scaled = Size::new(side(width * across), side(height * down));
            if let Some(target) = target {
                scaled.width = scaled.width.min(target.width);
                scaled.height = scaled.height.min(target.height);
            }
            scaled
        };
        match config.fit {
            Fit::Fill => {
                let scaled = scale(across.min(limit), down.min(limit));
                Self {
                    crop: whole,
                    scaled,
                    canvas: scaled,
                }
            }
            Fit::Inside | Fit::Contain => {
                let factor = across.min(down).min(limit);
                let scaled = scale(factor, factor);
                let canvas = match (config.fit, target) {
                    (Fit::Contain, Some(target)) => target,
                    _ => scaled,
                };
                Self {
                    crop: whole,
                    scaled,
                    canvas,
                }
            }
            Fit::Cover => {
                let factor = across.max(down).min(limit);
                let scaled = scale(factor, factor);
                let (left, width) = middle(width, f64::from(scaled.width) / factor, factor);
                let (top, height) = middle(height, f64::from(scaled.height) / factor, factor);
                Self {
                    crop: Crop {
                        left,
                        top,
                        width,
                        height,
                    },
                    scaled,
                    canvas: scaled,
                }
            }
        }
    }

    /// What the picture is scaled to, before it is padded.
    pub fn target(&self) -> Target {
        Target {
            crop: self.crop,
            size: self.scaled,
        }
    }
}

/// A side in whole pixels: at least one.
fn side(length: f64) -> u32 {
    // A float that is too large becomes the largest number.
    (length.round() as u32).max(1)
}

/// Where the middle `part` of `whole` begins, and how long it is.
fn middle(whole: f64, part: f64, factor: f64) -> (f64, f64) {
    let part = part.min(whole);
    let start = (whole - part) / 2.0;
    // Unscaled pixels are copied: half a pixel's shift would blur them.
    (if factor == 1.0 { start.floor() } else { start }, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(source: (u32, u32), target: (u32, u32), fit: Fit, enlarge: bool) -> Layout {
        let config = Config {
            width: Some(target.0),
            height: Some(target.1),
            fit,
            enlarge,
            ..Config::default()
        };
        Layout::new(Size::new(source.0, source.1), &config)
    }

    #[test]
    fn inside_keeps_the_aspect_and_is_not_padded() {
        let layout = layout((1000, 500), (100, 100), Fit::Inside, false);
        assert_eq!(
            (layout.scaled, layout.canvas),
            (Size::new(100, 50), Size::new(100, 50))
        );
    }

    #[test]
    fn contain_is_padded_to_exactly_the_box() {
        let layout = layout((1000, 500), (100, 100), Fit::Contain, false);
        assert_eq!(
            (layout.scaled, layout.canvas),
            (Size::new(100, 50), Size::new(100, 100))
        );
    }

    #[test]
    fn cover_cuts_the_middle_out() {
        let layout = layout((1000, 500), (100, 100), Fit::Cover, false);
        assert_eq!(
            layout.crop,
            Crop {
                left: 250.0,
                top: 0.0,
                width: 500.0,
                height: 500.0
            }
        );
        assert_eq!(layout.scaled, Size::new(100, 100));
    }

    #[test]
    fn fill_stretches_each_side_by_itself() {
        let layout = layout((1000, 500), (100, 400), Fit::Fill, false);
        assert_eq!(layout.scaled, Size::new(100, 400));
    }

    #[test]
    fn nothing_is_enlarged_unless_asked_for() {
        for fit in [Fit::Inside, Fit::Cover, Fit::Fill] {
            assert_eq!(
                layout((30, 20), (100, 100), fit, false).canvas,
                Size::new(30, 20)
            );
        }
        let contained = layout((30, 20), (100, 100), Fit::Contain, false);
        assert_eq!(
            (contained.scaled, contained.canvas),
            (Size::new(30, 20), Size::new(100, 100))
        );
    }

    #[test]
    fn everything_is_enlarged_when_asked_for() {
        let scaled = |fit| layout((30, 20), (90, 90), fit, true).scaled;
        assert_eq!(scaled(Fit::Inside), Size::new(90, 60));
        assert_eq!(scaled(Fit::Contain), Size::new(90, 60));
        assert_eq!(scaled(Fit::Cover), Size::new(90, 90));
        assert_eq!(scaled(Fit::Fill), Size::new(90, 90));
    }

    #[test]
    fn cover_of_a_box_larger_one_way_crops_the_other_without_enlarging() {
        let layout = layout((301, 20), (100, 100), Fit::Cover, false);
        assert_eq!(layout.canvas, Size::new(100, 20));
        assert_eq!(
            layout.crop,
            Crop {
                left: 100.0,
                top: 0.0,
                width: 100.0,
                height: 20.0
            }
        );
    }

    #[test]
    fn with_one_side_given_the_other_follows_the_aspect() {
        for fit in [Fit::Inside, Fit::Contain, Fit::Cover, Fit::Fill] {
            let config = Config {
                height: Some(50),
                fit,
                ..Config::default()
            };
            assert_eq!(
                Layout::new(Size::new(400, 200), &config).canvas,
                Size::new(100, 50)
            );
        }
    }

    #[test]
    fn a_sliver_keeps_at_least_one_pixel() {
        let layout = layout((10_000, 3), (100, 100), Fit::Inside, false);
        assert_eq!(layout.scaled, Size::new(100, 1));
    }
}
