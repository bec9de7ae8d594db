//! `resize-image` on real photographs, beside the same code outside of the sandbox; two workers over one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use alluvium::transform::{PluginHost, TransformPool};
use alluvium_plugin::testing::{Files, Rows, open};
use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use criterion::Criterion;
use resize_image::ResizeImage;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::guests::{bound, chain, component, plan, spec};
use crate::peer::Peer;
use crate::report::{Report, Side, by_turns};

const CONFIG: &str =
    r#"{"width": 128, "height": 128, "fit": "inside", "format": "jpeg", "quality": 85}"#;
/// Batches of all photographs that a pool is given.
const BATCHES: usize = 8;

fn photographs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/photos");
    let files = fs::read_dir(folder)
        .expect("the demo's photographs")
        .map(|f| f.expect("a file").path());
    let is_photograph =
        |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "jpg" || e == "png");
    files.filter(is_photograph).collect()
}

/// The same code native, in a process that takes its CPU for one that has SSE4.1 and nothing newer; `None` where
/// `ALLUVIUM_BENCH_SSE41` does not name it.
fn sse41(photographs: &[PathBuf]) -> Option<Peer> {
    let mut command = Command::new(std::env::var_os("ALLUVIUM_BENCH_SSE41")?);
    command.arg(CONFIG).args(photographs);
    Peer::start(command.env("RUST_STD_DETECT_UNSTABLE", "avx avx2 fma"))
}

/// Does something on one core, as do the processes and threads that it starts: outside of the sandbox the JPEG decoder would use
/// more.
fn on_one_core<T>(work: impl FnOnce() -> T) -> T {
    let all = sched_getaffinity(None).expect("the cores");
    let last = (0..CpuSet::MAX_CPU).rev().find(|core| all.is_set(*core));
    let mut one = CpuSet::new();
    one.set(last.expect("a core"));
    sched_setaffinity(None, &one).expect("one core");
    let done = work();
    sched_setaffinity(None, &all).expect("all cores");
    done
}

pub(crate) fn measure(criterion: &mut Criterion, report: &mut Report) {
    let paths = photographs();
    let read = |path: &PathBuf| fs::read(path).expect("a photograph");
    let photographs: Vec<Vec<u8>> = paths.iter().map(read).collect();
    let host = PluginHost::new().expect("a host");
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(&photographs));
    let batch = RecordBatch::try_from_iter([("image", images)]).expect("a batch");
    let bytes = component("resize-image");
    let transform = || bound(&host, &bytes, spec(CONFIG), &[]);
    let mut sandboxed = chain(transform(), &host, batch.schema());
    let rows = Rows::new().column("image", photographs.iter().map(|p| p.as_slice()));
    let mut native = open::<ResizeImage>(CONFIG, rows.schema(), &Files::default()).expect("opened");
    let mut sse41 = on_one_core(|| sse41(&paths));
    let mut sides = vec![
        Side::timed("plugin", || {
            drop(sandboxed.apply(&batch).expect("transformed"))
        }),
        Side::timed("native", || drop(native.apply(&rows).expect("transformed"))),
    ];
    if let Some(peer) = &mut sse41 {
        sides.push(Side {
            name: "native-sse41",
            run: Box::new(|| peer.run()),
        });
    }
    let times = on_one_core(|| by_turns(criterion, "resize-image", &mut sides));
    drop(sides);
    let what = "`resize-image` over the same Rust code native, built for SSE4.1, nine real photographs, decode and encode included";
    match times.get(2) {
        Some(theirs) => {
            let ratio = theirs / times[0];
            report.line(what, "≥ 0.6", format!("{ratio:.2}"), Some(ratio >= 0.6));
        }
        None => {
            let why = "not measured: it was not built".to_owned();
            report.line(what, "≥ 0.6", why, None);
        }
    }
    let ratio = times[1] / times[0];
    let what = "the same over what picks AVX2 where it is, as both decoder and scaler do";
    report.line(what, "", format!("{ratio:.2}"), None);

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
