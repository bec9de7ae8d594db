//! How much memory a picture takes, reckoned before any of it is decoded.

use image::{ColorType, ImageFormat};

use crate::{Size, Target, jpeg};

/// What decoding and scaling one picture may take, in bytes. A transform has 256 MiB by default: the
/// rest is for the batch, its results and what the allocator wastes.
pub const MEMORY_BUDGET: u64 = 160 << 20;

/// What decides how much memory a picture takes.
#[derive(Debug)]
pub(crate) struct Need<'a> {
    /// The picture's format.
    pub(crate) format: ImageFormat,
    /// The pixels that the decoder will give.
    pub(crate) colour: ColorType,
    /// The size as stored.
    pub(crate) size: Size,
    /// How it is scaled, from the size as stored.
    pub(crate) target: &'a Target,
    /// Bytes that are made of the scaled picture.
    pub(crate) results: u64,
    /// What a JPEG's headers say.
    pub(crate) jpeg: Option<jpeg::Headers>,
    /// What a JPEG is reduced by while it is decoded; 1: not at all.
    pub(crate) reduced_by: u32,
}

impl Need<'_> {
    /// The most bytes that are held at a time: the decoder's own, then the scaler's.
    pub(crate) fn bytes(&self) -> u64 {
        let pixels = jpeg::reduced(self.size, self.reduced_by).pixels();
        let decoded = pixels * u64::from(self.colour.bytes_per_pixel());
        let channels = u64::from(self.colour.channel_count());
        let narrowed = pixels * channels;
        // A reduced picture is decoded by components, which are put together then.
        let planes = if self.reduced_by > 1 { decoded } else { 0 };
        let own = self.size.pixels() * self.decoder_bytes_per_pixel();
        let decoding = decoded + planes + own;
        // 16-bit channels are narrowed into a second buffer.
        let narrowing = if decoded > narrowed {
            decoded + narrowed
        } else {
            0
        };
        // The scaler goes down first, then across.
        let Target { crop, size } = self.target;
        let width = crop.width / f64::from(self.reduced_by);
        let half_way = width.ceil() as u64 * u64::from(size.height);
        let scaling = narrowed + half_way * channels + self.results;
        decoding.max(narrowing).max(scaling)
    }

    /// What the decoder holds beside the pixels that it gives.
    fn decoder_bytes_per_pixel(&self) -> u64 {
        match self.format {
            // A JPEG whose components do not come in one scan has 2 bytes a coefficient kept.
            ImageFormat::Jpeg => self.jpeg.map_or(8, |headers| {
                if headers.one_scan {
                    0
                } else {
                    2 * u64::from(headers.components)
                }
            }),
            // An animation's frame and its canvas; a still picture takes less.
            ImageFormat::WebP => 8,
            // A frame that does not span the canvas is decoded by itself.
            ImageFormat::Gif => 4,
            // PNG goes by rows.
            _ => 0,
        }
    }
}
