//! `resize-image` on real photographs, beside the same code outside of the sandbox; two workers over one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use alluvium::transform::{PluginHost, TransformPool};
use alluvium_plugin::testing::{Files, Rows, open};
use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use criterion::Criterion;
use resize_image::ResizeImage;

use crate::guests::{bound, chain, component, plan, spec};
use crate::report::{Report, Side, by_turns};

const CONFIG: &str =
    r#"{"width": 128, "height": 128, "fit": "inside", "format": "jpeg", "quality": 85}"#;
/// Batches of all photographs that a pool is given.
const BATCHES: usize = 8;

fn photographs() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/photos");
    let files = fs::read_dir(folder)
        .expect("the demo's photographs")
        .map(|f| f.expect("a file").path());
    let is_photograph =
        |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "jpg" || e == "png");
    files
        .filter(is_photograph)
        .map(|path| fs::read(path).expect("a photograph"))
        .collect()
}

pub(crate) fn measure(criterion: &mut Criterion, report: &mut Report) {
    let photographs = photographs();
    let host = PluginHost::new().expect("a host");
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(&photographs));
    let batch = RecordBatch::try_from_iter([("image", images)]).expect("a batch");
    let bytes = component("resize-image");
    let transform = || bound(&host, &bytes, spec(CONFIG), &[]);
    let mut sandboxed = chain(transform(), &host, batch.schema());
    let rows = Rows::new().column("image", photographs.iter().map(|p| p.as_slice()));
    let mut native = open::<ResizeImage>(CONFIG, rows.schema(), &Files::default()).expect("opened");
    let times = by_turns(
        criterion,
        "resize-image",
        &mut [
            Side::timed("plugin", || {
                drop(sandboxed.apply(&batch).expect("transformed"))
            }),
            Side::timed("native", || drop(native.apply(&rows).expect("transformed"))),
        ],
    );
    let [ours, natively] = times[..] else { return };
    let ratio = natively / ours;
    let what = "`resize-image` over the same Rust code native, which picks AVX2 where it is, nine real photographs, decode and encode included";
    report.line(
        what,
        "≥ 0.6 of native SSE4.1",
        format!("{ratio:.2} of native AVX2"),
        Some(ratio >= 0.6),
    );

    let plan = plan(transform(), &host, batch.schema());
    let pools = [1, 2].map(|workers| TransformPool::new(workers).expect("a pool"));
    let run = |pool: &TransformPool| {
        let pending: Vec<_> = (0..BATCHES)
            .map(|_| pool.submit(&plan, batch.clone()))
            .collect();
        for pending in pending {
            pending.wait().expect("transformed");
        }
    };
    let [one, two] = &pools;
    let mut sides = [
        Side::timed("one", || run(one)),
        Side::timed("two", || run(two)),
    ];
    let times = by_turns(criterion, "workers", &mut sides);
    let [one, two] = times[..] else { return };
    let ratio = one / two;
    report.line(
        "2 workers over 1, `resize-image`",
        "≥ 1.8",
        format!("{ratio:.2}"),
        Some(ratio >= 1.8),
    );
}
