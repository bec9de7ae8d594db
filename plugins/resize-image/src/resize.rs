//! Scaling.

use fast_image_resize::images::Image;
use fast_image_resize::{MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};

use crate::config::Filter;
use crate::decode::Picture;
use crate::error::Error;
use crate::fit::{Layout, Size};

/// Cuts the layout's part out of a picture, scales it and turns it upright: in this order, since
/// turning the small result is cheaper than turning the large source.
pub(crate) fn resize(
    picture: Picture,
    layout: &Layout,
    filter: Filter,
) -> Result<DynamicImage, Error> {
    let layout = if picture.is_turned() {
        layout.turned()
    } else {
        *layout
    };
    let Picture {
        size,
        pixel,
        data,
        orientation,
    } = picture;
    let mut source = Image::from_vec_u8(size.width, size.height, data, pixel).map_err(failed)?;
    let Size { width, height } = layout.scaled;
    let mut scaled = Image::new(width, height, pixel);
    let crop = layout.crop;
    let is_copy = crop.width == f64::from(width) && crop.height == f64::from(height);
    let algorithm = if is_copy {
        ResizeAlg::Nearest
    } else {
        filter.algorithm()
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
        .ok_or_else(|| Error::Resize(format!("{pixel:?} pixels are not understood")))?;
    image.apply_orientation(orientation);
    Ok(image)
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
    Error::Resize(error.to_string())
}
