//! How long a restarted program waits for the first row that a plugin makes, its compiled form being in the cache.

use std::sync::Arc;
use std::time::Instant;

use alluvium::transform::PluginHost;
use arrow_array::{ArrayRef, BinaryArray, Int32Array, RecordBatch};
use criterion::Criterion;

use crate::guests::{bound, chain, component, spec};
use crate::report::Report;

const STARTS: usize = 11;

/// From an empty process to the first row: load, open, call. The median of some starts.
fn first_row(name: &str, config: &str, batch: &RecordBatch) -> f64 {
    let cache = tempfile::tempdir().expect("a directory");
    let bytes = component(name);
    let start = || {
        let begin = Instant::now();
        let host = PluginHost::with_cache(&cache.path().join("cache")).expect("a host");
        let mut chain = chain(
            bound(&host, &bytes, spec(config), &[]),
            &host,
            batch.schema(),
        );
        chain.apply(batch).expect("transformed");
        begin.elapsed().as_secs_f64() * 1e3
    };
    start();
    let mut times: Vec<f64> = (0..STARTS).map(|_| start()).collect();
    times.sort_by(f64::total_cmp);
    times[STARTS / 2]
}

pub(crate) fn measure(_: &mut Criterion, report: &mut Report) {
    let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let numbers = RecordBatch::try_from_iter([("n", number)]).expect("a batch");
    let pixel: ArrayRef = Arc::new(BinaryArray::from_iter_values([pixel()]));
    let pictures = RecordBatch::try_from_iter([("image", pixel)]).expect("a batch");
    let identity = "{\"mode\": \"identity\"}";
    let rust = first_row("resize-image", "{\"width\": 8}", &pictures);
    let what = "first call after a restart, compiled form in the cache, `resize-image`";
    report.line(what, "≤ 10 ms", format!("{rust:.1} ms"), Some(rust <= 10.0));
    let python = first_row("conformance/python-record", identity, &numbers);
    let what = "the same, a plugin in Python";
    report.line(
        what,
        "≤ 50 ms",
        format!("{python:.1} ms"),
        Some(python <= 50.0),
    );
}

/// A picture of one pixel.
fn pixel() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    let pixel = image::RgbImage::from_pixel(1, 1, image::Rgb([1, 2, 3]));
    pixel
        .write_to(&mut png, image::ImageFormat::Png)
        .expect("a PNG");
    png.into_inner()
}
