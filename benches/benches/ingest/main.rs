//! Appending batches and rows, reading them where they lie, and opening stores, beside the peers and the limits.

mod pairs;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use alluvium_benches::{
    Cell, Kind, Promise, Recycled, RecycledFiles, RecycledSegments, Samples, Sums, contestants,
    measure, measure_recycled, prepare_disk, written,
};
#[cfg(feature = "lake")]
use alluvium_benches::{SealedStore, row_contestants};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};

const SIZES: [(&str, usize); 4] = [
    ("4KiB", 4 << 10),
    ("64KiB", 64 << 10),
    ("1MiB", 1 << 20),
    ("4MiB", 4 << 20),
];

/// The rows of a sample: so many that what comes once, like the last flush, doesn't count.
#[cfg(feature = "lake")]
const ROWS: u64 = 300_000;

fn group<'a>(criterion: &'a mut Criterion, name: String) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(16)
        .sampling_mode(SamplingMode::Flat)
        .nresamples(1000)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    group
}

/// Which batches are appended by how many.
fn producers_of(kind: Kind, bytes: usize) -> &'static [usize] {
    match kind {
        Kind::Fixed => &[1, 2, 8],
        Kind::Strings => &[1],
        Kind::Images if bytes >= 1 << 20 => &[1],
        Kind::Images | Kind::Numbers => &[],
    }
}

fn appends(criterion: &mut Criterion, root: &Path) {
    for kind in [Kind::Fixed, Kind::Strings, Kind::Images] {
        for (size, bytes) in SIZES {
            if producers_of(kind, bytes).is_empty() {
                continue;
            }
            let samples = Samples::new(kind, bytes);
            for promise in [Promise::Crash, Promise::Power] {
                for &producers in producers_of(kind, bytes) {
                    let cell = Cell {
                        root,
                        samples: &samples,
                        producers,
                        promise,
                    };
                    append(
                        criterion,
                        &name(promise.name(), kind, size, producers),
                        cell,
                    );
                }
            }
            if kind == Kind::Fixed && size != "4MiB" {
                recycled(criterion, root, &samples, size);
            }
        }
    }
}

fn name(promise: &str, kind: Kind, size: &str, producers: usize) -> String {
    format!("{promise} {} {size} {producers}p", kind.name())
}

fn append(criterion: &mut Criterion, name: &str, cell: Cell<'_>) {
    let mut group = group(criterion, name.to_owned());
    group.throughput(Throughput::Bytes(
        cell.samples.payload * cell.producers as u64,
    ));
    for contestant in contestants(cell.promise) {
        // For one producer it is the same as the other limit.
        if cell.producers == 1 && contestant.name.ends_with("one-file") {
            continue;
        }
        group.bench_function(contestant.name, |b| {
            b.iter_custom(|times| measure(&contestant, cell, times));
        });
    }
    group.finish();
}

fn recycled(criterion: &mut Criterion, root: &Path, samples: &Samples, size: &str) {
    for (promise, group_name, producers) in [
        (Promise::Crash, "recycled", 1),
        (Promise::Crash, "recycled", 2),
        (Promise::Power, "recycled-power", 1),
        (Promise::Power, "recycled-power", 8),
    ] {
        let cell = Cell {
            root,
            samples,
            producers,
            promise,
        };
        let mut group = group(criterion, name(group_name, Kind::Fixed, size, producers));
        group.throughput(Throughput::Bytes(samples.payload * producers as u64));
        let limit = match promise {
            Promise::Crash => "limit-pwrite",
            Promise::Power => "limit-pwrite-fdatasync",
        };
        reuse(&mut group, limit, cell, || {
            RecycledFiles::new(root, producers, promise)
        });
        if producers > 1 {
            reuse(&mut group, &format!("{limit}-one-file"), cell, || {
                RecycledFiles::new(root, 1, promise)
            });
        }
        reuse(&mut group, "alluvium", cell, || {
            RecycledSegments::new(root, samples, promise)
        });
        group.finish();
    }
}

/// Measures one thing again and again; it is made when it is first needed.
fn reuse<L: Recycled>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    cell: Cell<'_>,
    make: impl Fn() -> L,
) {
    let mut lane = None;
    group.bench_function(name, |b| {
        let lane = lane.get_or_insert_with(&make);
        b.iter_custom(|times| measure_recycled(lane, cell, times));
    });
}

#[cfg(feature = "lake")]
fn rows(criterion: &mut Criterion, root: &Path) {
    let mut group = group(criterion, "rows".to_owned());
    group.throughput(Throughput::Elements(1));
    for (name, insert) in row_contestants() {
        group.bench_function(name, |b| {
            b.iter_custom(|times| {
                let directory = tempfile::TempDir::new_in(root).expect("a directory");
                insert(directory.path(), ROWS).mul_f64(times as f64 / ROWS as f64)
            });
        });
    }
    group.finish();
}

fn scan(criterion: &mut Criterion, root: &Path) {
    for kind in [Kind::Numbers, Kind::Fixed] {
        let sums = Sums::new(root, Samples::new(kind, 1 << 20));
        assert_eq!(sums.of_memory(), sums.of_log());
        let mut group = group(criterion, format!("scan {}", kind.name()));
        group.throughput(Throughput::Bytes(sums.column_bytes()));
        group.bench_function("limit-memory", |b| b.iter(|| black_box(sums.of_memory())));
        group.bench_function("alluvium", |b| b.iter(|| black_box(sums.of_log())));
        group.finish();
    }
}

#[cfg(feature = "lake")]
fn open(criterion: &mut Criterion, root: &Path) {
    let mut group = group(criterion, "open".to_owned());
    for gibibytes in [1, 16] {
        let mut store = None;
        group.bench_function(format!("alluvium-{gibibytes}GiB"), |b| {
            let store = store.get_or_insert_with(|| SealedStore::new(root, gibibytes));
            b.iter_custom(|times| (0..times).map(|_| store.open()).sum());
        });
    }
    group.finish();
}

/// Leaves a JSON object beside the estimates.
fn note(name: &str, members: &[String]) {
    let home = std::env::var_os("CRITERION_HOME").expect("CRITERION_HOME");
    let home = Path::new(&home);
    std::fs::create_dir_all(home).expect("a directory");
    std::fs::write(home.join(name), format!("{{{}}}", members.join(","))).expect("written");
}

/// What was written for which payload.
fn note_written(root: &Path) {
    let sizes = SIZES.map(|(size, bytes)| {
        let (written, payload) = written(root, &Samples::new(Kind::Fixed, bytes));
        format!("\"{size}\":{{\"written\":{written},\"payload\":{payload}}}")
    });
    note("written.json", &sizes);
}

fn main() {
    let root = &Path::new(env!("CARGO_TARGET_TMPDIR")).join("ingest");
    // What a run that was killed has left.
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir_all(root).expect("a directory");
    prepare_disk(root);
    let mut criterion = Criterion::default().configure_from_args();
    appends(&mut criterion, root);
    scan(&mut criterion, root);
    #[cfg(feature = "lake")]
    {
        rows(&mut criterion, root);
        open(&mut criterion, root);
    }
    criterion.final_summary();
    // These know no filter: a run that is looked for in part has no use for them.
    if std::env::var_os("CRITERION_HOME").is_some() {
        note_written(root);
        note("ratios.json", &pairs::ratios(root));
    }
}
