//! The ratios that targets are set for, each measured by turns, so that what else the machine does meets both sides.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use alluvium_benches::{
    Cell, Contestant, Kind, Promise, Recycled, RecycledFiles, RecycledSegments, Samples,
    SealedStore, Sums, contestants, measure, measure_recycled,
};

/// How often each side is measured.
const TURNS: usize = 15;

/// The bytes of one turn.
const BYTES: u64 = 32 << 20;

/// How long a side takes for a byte, or whatever both have in common.
type Side<'a> = &'a dyn Fn() -> f64;

/// How many times faster the second side is: the median of all turns.
fn faster(first: Side<'_>, second: Side<'_>) -> f64 {
    let turn = |index: usize| match index % 2 {
        0 => {
            let first = first();
            first / second()
        }
        _ => second().recip() * first(),
    };
    let mut ratios: Vec<f64> = (0..TURNS).map(turn).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[TURNS / 2]
}

/// Every ratio as a member of a JSON object.
pub(crate) fn ratios(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |name: String, ratio: f64| {
        println!("{name}: {ratio:.3}");
        found.push(format!("\"{name}\":{ratio}"));
    };
    for (size, bytes) in [("64KiB", 64 << 10), ("1MiB", 1 << 20)] {
        let samples = Samples::new(Kind::Fixed, bytes);
        fresh(root, &samples, size, &mut note);
        recycled(root, &samples, size, &mut note);
    }
    for (size, bytes) in [("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)] {
        synced(root, &Samples::new(Kind::Fixed, bytes), size, &mut note);
    }
    let sums = Sums::new(root, Samples::new(Kind::Fixed, 1 << 20));
    let (memory, log) = (|| time(|| sums.of_memory()), || time(|| sums.of_log()));
    note("sum of log over memory".into(), faster(&memory, &log));
    let (one, sixteen) = (SealedStore::new(root, 1), SealedStore::new(root, 16));
    let slower = faster(&|| sixteen.open().as_secs_f64(), &|| {
        one.open().as_secs_f64()
    });
    note("time to open 16 GiB over 1 GiB".into(), slower);
    found
}

/// Long enough for a clock, and short enough for little else to come between.
fn time<T>(run: impl Fn() -> T) -> f64 {
    let begin = Instant::now();
    for _ in 0..20 {
        black_box(run());
    }
    begin.elapsed().as_secs_f64()
}

fn contestant(promise: Promise, name: &str) -> Contestant {
    let mut all = contestants(promise).into_iter();
    all.find(|c| c.name == name).expect("a lane of that name")
}

/// Seconds for a byte.
fn per_byte(cell: Cell<'_>, times: u64, elapsed: Duration) -> f64 {
    let bytes = times * cell.producers as u64 * cell.samples.payload;
    elapsed.as_secs_f64() / bytes as f64
}

fn fresh(root: &Path, samples: &Samples, size: &str, note: &mut impl FnMut(String, f64)) {
    let side = |name, producers| {
        let lane = contestant(Promise::Crash, name);
        move || {
            let cell = cell(root, samples, producers, Promise::Crash);
            let times = BYTES / samples.payload / producers as u64;
            per_byte(cell, times, measure(&lane, cell, times))
        }
    };
    let (one, two) = (side("alluvium", 1), side("alluvium", 2));
    let limit = faster(&side("limit-pwrite", 1), &one);
    note(format!("fresh {size} over limit"), limit);
    note(format!("fresh {size} 2p over 1p"), faster(&one, &two));
    let limit = faster(&side("limit-pwrite", 2), &two);
    note(format!("fresh {size} 2p over limit"), limit);
}

fn recycled(root: &Path, samples: &Samples, size: &str, note: &mut impl FnMut(String, f64)) {
    let time = |lane: &dyn Recycled, producers: usize| {
        let cell = cell(root, samples, producers, Promise::Crash);
        let times = BYTES / samples.payload / producers as u64;
        per_byte(cell, times, measure_recycled(lane, cell, times))
    };
    let segments = RecycledSegments::new(root, samples);
    let files = [1, 2].map(|producers| RecycledFiles::new(root, samples, producers));
    let (one, two) = (|| time(&segments, 1), || time(&segments, 2));
    let limit = faster(&|| time(&files[0], 1), &one);
    note(format!("recycled {size} over limit"), limit);
    note(format!("recycled {size} 2p over 1p"), faster(&one, &two));
    let limit = faster(&|| time(&files[1], 2), &two);
    note(format!("recycled {size} 2p over limit"), limit);
}

fn synced(root: &Path, samples: &Samples, size: &str, note: &mut impl FnMut(String, f64)) {
    let side = |name, producers| {
        let lane = contestant(Promise::Power, name);
        move || {
            let cell = cell(root, samples, producers, Promise::Power);
            per_byte(cell, 20, measure(&lane, cell, 20))
        }
    };
    let one = side("alluvium", 1);
    let limit = faster(&side("limit-pwrite-fdatasync", 1), &one);
    note(format!("sync {size} over limit"), limit);
    if size == "4KiB" {
        let eight = faster(&one, &side("alluvium", 8));
        note(format!("sync {size} 8p over 1p"), eight);
    }
}

fn cell<'a>(root: &'a Path, samples: &'a Samples, producers: usize, promise: Promise) -> Cell<'a> {
    Cell {
        root,
        samples,
        producers,
        promise,
    }
}
