//! How much memory a picture takes, reckoned before any of it is decoded.

use image::{ColorType, ImageFormat};

use crate::fit::{Layout, Size};
use crate::jpeg;

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
    pub(crate) layout: &'a Layout,
    /// What a JPEG's headers say.
    pub(crate) jpeg: Option<jpeg::Headers>,
}

impl Need<'_> {
    /// The most bytes that are held at a time: the decoder's own, then the scaler's.
    pub(crate) fn bytes(&self) -> u64 {
        let pixels = self.size.pixels();
        let decoded = pixels * u64::from(self.colour.bytes_per_pixel());
        let channels = u64::from(self.colour.channel_count());
        let narrowed = pixels * channels;
        let decoding = decoded + pixels * self.decoder_bytes_per_pixel();
        // 16-bit channels are narrowed into a second buffer.
        let narrowing = if decoded > narrowed {
            decoded + narrowed
        } else {
            0
        };
        // The scaler goes down first, then across.
        let half_way = self.layout.crop.width.ceil() as u64 * u64::from(self.layout.scaled.height);
        // Turned, flattened and padded, a result is held twice, with up to four channels.
        let results = 2 * 4 * self.layout.scaled.pixels().max(self.layout.canvas.pixels());
        let scaling = narrowed + half_way * channels + results;
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
