//! What is seen behind and around a picture: the background.

use image::imageops;
use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

use crate::config::{Colour, Config, Format};
use crate::fit::{Layout, Size};

/// Lays a picture over the background where its format knows no transparency, and pads it to the
/// layout's canvas.
pub(crate) fn finish(image: DynamicImage, layout: &Layout, config: &Config) -> DynamicImage {
    let image = if config.format == Format::Jpeg && image.color().has_alpha() {
        flatten(image, config.background)
    } else {
        image
    };
    if layout.canvas == layout.scaled {
        image
    } else {
        pad(image, layout.canvas, config.background)
    }
}

/// Lays a picture over a background.
fn flatten(image: DynamicImage, background: Colour) -> DynamicImage {
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    let mut flat = RgbImage::new(width, height);
    for (pixel, under) in image.pixels().zip(flat.pixels_mut()) {
        let [red, green, blue, alpha] = pixel.0;
        let [under_red, under_green, under_blue] = background.0;
        *under = Rgb([
            blend(red, under_red, alpha),
            blend(green, under_green, alpha),
            blend(blue, under_blue, alpha),
        ]);
    }
    flat.into()
}

/// One channel over another.
fn blend(over: u8, under: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(over) * alpha + u32::from(under) * (255 - alpha);
    // At most 255 * 255, which rounds to 255.
    ((sum + 127) / 255) as u8
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
