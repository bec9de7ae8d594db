//! What is seen behind and around a picture: the background.

use image::imageops;
use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

use picture::{Size, flatten};

use crate::config::{Colour, Config, Format};
use crate::fit::Layout;

/// Lays a picture over the background where its format knows no transparency, and pads it to the
/// layout's canvas.
pub(crate) fn finish(image: DynamicImage, layout: &Layout, config: &Config) -> DynamicImage {
    let image = if config.format == Format::Jpeg && image.color().has_alpha() {
        flatten(image, config.background.0).into()
    } else {
        image
    };
    if layout.canvas == layout.scaled {
        image
    } else {
        pad(image, layout.canvas, config.background)
    }
}

/// Centres a picture on a canvas of the background; a grey one stays grey where that is grey too.
fn pad(image: DynamicImage, canvas: Size, background: Colour) -> DynamicImage {
    let Size { width, height } = canvas;
    let left = i64::from(width.saturating_sub(image.width()) / 2);
    let top = i64::from(height.saturating_sub(image.height()) / 2);
    let Colour([red, green, blue]) = background;
    match (image, background.grey()) {
        (DynamicImage::ImageLuma8(image), Some(grey)) => {
            let mut padded = GrayImage::from_pixel(width, height, Luma([grey]));
            imageops::replace(&mut padded, &image, left, top);
            padded.into()
        }
        (DynamicImage::ImageLumaA8(image), Some(grey)) => {
            let mut padded = GrayAlphaImage::from_pixel(width, height, LumaA([grey, 255]));
            imageops::replace(&mut padded, &image, left, top);
            padded.into()
        }
        (image, _) if image.color().has_alpha() => {
            let mut padded = RgbaImage::from_pixel(width, height, Rgba([red, green, blue, 255]));
            imageops::replace(&mut padded, &image.into_rgba8(), left, top);
            padded.into()
        }
        (image, _) => {
            let mut padded = RgbImage::from_pixel(width, height, Rgb([red, green, blue]));
            imageops::replace(&mut padded, &image.into_rgb8(), left, top);
            padded.into()
        }
    }
}
