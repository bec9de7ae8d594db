//! Scaling.

use fast_image_resize::images::Image;
use fast_image_resize::{MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GrayAlphaImage, GrayImage, Rgb, RgbImage, RgbaImage};

use crate::decode::{Picture, turns};
use crate::{Error, Size, Target};

impl Picture {
    /// Cuts the target's part out of the picture, scales it and turns it upright: in this order,
    /// since turning the small result is cheaper than turning the large source.
    pub fn scale(self, target: &Target, algorithm: ResizeAlg) -> Result<DynamicImage, Error> {
        let Self {
            size,
            reduced_by,
            pixel,
            data,
            orientation,
        } = self;
        let target = if turns(orientation) {
            target.turned()
        } else {
            *target
        };
        let mut source =
            Image::from_vec_u8(size.width, size.height, data, pixel).map_err(failed)?;
        let Size { width, height } = target.size;
        let mut scaled = Image::new(width, height, pixel);
        let crop = target.crop.reduced(reduced_by, size);
        let is_copy = crop.width == f64::from(width) && crop.height == f64::from(height);
        let algorithm = if is_copy {
            ResizeAlg::Nearest
        } else {
            algorithm
        };
        // A transparent pixel's colour must not bleed into its neighbours. Done here and in place,
        // because the scaler would copy the whole source to do it.
        let mixes_alpha =
            algorithm != ResizeAlg::Nearest && matches!(pixel, PixelType::U8x2 | PixelType::U8x4);
        let alpha = MulDiv::new();
        if mixes_alpha {
            alpha.multiply_alpha_inplace(&mut source).map_err(failed)?;
        }
        let options = ResizeOptions::new()
            .resize_alg(algorithm)
            .crop(crop.left, crop.top, crop.width, crop.height)
            .use_alpha(false);
        Resizer::new()
            .resize(&source, &mut scaled, &options)
            .map_err(failed)?;
        drop(source);
        if mixes_alpha {
            alpha.divide_alpha_inplace(&mut scaled).map_err(failed)?;
        }
        let mut image = to_image(scaled)
            .ok_or_else(|| Error::Scale(format!("{pixel:?} pixels are not understood")))?;
        image.apply_orientation(orientation);
        Ok(image)
    }
}

/// The pixels as the encoders take them.
fn to_image(scaled: Image<'_>) -> Option<DynamicImage> {
    let (width, height, pixel) = (scaled.width(), scaled.height(), scaled.pixel_type());
    let data = scaled.into_vec();
    match pixel {
        PixelType::U8 => GrayImage::from_raw(width, height, data).map(DynamicImage::from),
        PixelType::U8x2 => GrayAlphaImage::from_raw(width, height, data).map(DynamicImage::from),
        PixelType::U8x3 => RgbImage::from_raw(width, height, data).map(DynamicImage::from),
        PixelType::U8x4 => RgbaImage::from_raw(width, height, data).map(DynamicImage::from),
        _ => None,
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Scale(error.to_string())
}

/// Lays a picture over a background.
pub fn flatten(image: DynamicImage, background: [u8; 3]) -> RgbImage {
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    let mut flat = RgbImage::new(width, height);
    for (pixel, under) in image.pixels().zip(flat.pixels_mut()) {
        let [red, green, blue, alpha] = pixel.0;
        let [under_red, under_green, under_blue] = background;
        *under = Rgb([
            blend(red, under_red, alpha),
            blend(green, under_green, alpha),
            blend(blue, under_blue, alpha),
        ]);
    }
    flat
}

/// One channel over another.
fn blend(over: u8, under: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(over) * alpha + u32::from(under) * (255 - alpha);
    // At most 255 * 255, which rounds to 255.
    ((sum + 127) / 255) as u8
}
