//! The ratios that targets are set for, each measured by turns, so that what else the machine does meets both sides.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(feature = "lake")]
use alluvium_benches::SealedStore;
use alluvium_benches::{
    Cell, Contestant, Kind, Promise, Recycled, RecycledFiles, RecycledSegments, Samples, Sums,
    contestants, measure, measure_recycled,
};

/// How often each side is measured.
const TURNS: usize = 16;

/// How often, where there are many sides.
const PEER_TURNS: usize = 12;

/// How long a side takes for a byte, or whatever both have in common.
type Side<'a> = &'a dyn Fn() -> f64;

/// How many times faster the second side is.
fn faster(first: Side<'_>, second: Side<'_>) -> f64 {
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        of_first.push(first());
        of_second.push(second());
    }
    undisturbed(of_first) / undisturbed(of_second)
}

/// The time that a quarter of the turns stayed below: what else the machine does only ever adds to one.
fn undisturbed(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 4]
}

/// Every ratio as a member of a JSON object; only those of one group if `RATIOS` in the environment names it.
pub(crate) fn ratios(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |name: String, ratio: f64| {
        println!("{name}: {ratio:.3}");
        found.push(format!("\"{name}\":{ratio}"));
    };
    let only = std::env::var("RATIOS").ok();
    let is_wanted = |group: &str| only.as_ref().is_none_or(|only| only == group);
    for (size, bytes) in [("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)] {
        let samples = Samples::new(Kind::Fixed, bytes);
        if is_wanted("fresh") && size != "4KiB" {
            fresh(root, &samples, size, &mut note);
        }
        if is_wanted("recycled") && size != "4KiB" {
            recycled(root, &samples, size, &mut note);
        }
        if is_wanted("sync") {
            synced(root, &samples, size, &mut note);
            synced_recycled(root, &samples, size, &mut note);
        }
        if is_wanted("peers") && size != "4KiB" {
            for promise in [Promise::Crash, Promise::Power] {
                for producers in [1, 2, 8] {
                    peers(cell(root, &samples, producers, promise), size, &mut note);
                }
            }
        }
    }
    if is_wanted("sum") {
        for kind in [Kind::Numbers, Kind::Fixed] {
            let sums = Sums::new(root, Samples::new(kind, 1 << 20));
            let (memory, log) = (|| time(|| sums.of_memory()), || time(|| sums.of_log()));
            note(format!("sum of {}", kind.name()), faster(&memory, &log));
        }
    }
    #[cfg(feature = "lake")]
    if is_wanted("open") {
        opened(root, &mut note);
    }
    found
}

#[cfg(feature = "lake")]
fn opened(root: &Path, note: &mut impl FnMut(String, f64)) {
    let (one, sixteen) = (SealedStore::new(root, 1), SealedStore::new(root, 16));
    let slower = faster(&|| sixteen.open().as_secs_f64(), &|| {
        one.open().as_secs_f64()
    });
    note("time to open 16 GiB over 1 GiB".into(), slower);
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

/// Seconds for a byte, of the time in which every producer appends once.
fn per_byte(cell: Cell<'_>, once: Duration) -> f64 {
    once.as_secs_f64() / (cell.producers as u64 * cell.samples.payload) as f64
}

fn fresh(root: &Path, samples: &Samples, size: &str, note: &mut impl FnMut(String, f64)) {
    let side = |name, producers| {
        let lane = contestant(Promise::Crash, name);
        move || {
            let cell = cell(root, samples, producers, Promise::Crash);
            per_byte(cell, measure(&lane, cell, 1))
        }
    };
    let (one, two) = (side("alluvium", 1), side("alluvium", 2));
    let limit = faster(&side("limit-pwrite", 1), &one);
    note(format!("fresh {size} over limit"), limit);
    note(format!("fresh {size} 2p over 1p"), faster(&one, &two));
    let limit = faster(&side("limit-pwrite", 2), &two);
    note(format!("fresh {size} 2p over limit"), limit);
    let limit = faster(&side("limit-pwrite-one-file", 2), &two);
    note(format!("fresh {size} 2p over limit on one file"), limit);
}

fn recycled(root: &Path, samples: &Samples, size: &str, note: &mut impl FnMut(String, f64)) {
    let time = |lane: &dyn Recycled, producers: usize| {
        let cell = cell(root, samples, producers, Promise::Crash);
        per_byte(cell, measure_recycled(lane, cell, 1))
    };
    let segments = RecycledSegments::new(root, samples, Promise::Crash);
    let [file, files] = [1, 2].map(|files| RecycledFiles::new(root, files, Promise::Crash));
    let (one, two) = (|| time(&segments, 1), || time(&segments, 2));
    let limit = faster(&|| time(&file, 1), &one);
    note(format!("recycled {size} over limit"), limit);
    note(format!("recycled {size} 2p over 1p"), faster(&one, &two));
    let limit = faster(&|| time(&files, 2), &two);
    note(format!("recycled {size} 2p over limit"), limit);
    let limit = faster(&|| time(&file, 2), &two);
    note(format!("recycled {size} 2p over limit on one file"), limit);
}

fn synced(root: &Path, samples: &Samples, size: &str, note: &mut impl FnMut(String, f64)) {
    let side = |name, producers| {
        let lane = contestant(Promise::Power, name);
        move || {
            let cell = cell(root, samples, producers, Promise::Power);
            per_byte(cell, measure(&lane, cell, 1))
        }
    };
    let one = side("alluvium", 1);
    let limit = faster(&side("limit-pwrite-fdatasync", 1), &one);
    note(format!("sync fresh {size} over limit"), limit);
    if size == "4KiB" {
        let eight = faster(&one, &side("alluvium", 8));
        note(format!("sync fresh {size} 8p over 1p"), eight);
    }
}

fn synced_recycled(root: &Path, samples: &Samples, size: &str, note: &mut impl FnMut(String, f64)) {
    let time = |lane: &dyn Recycled, producers: usize| {
        let cell = cell(root, samples, producers, Promise::Power);
        per_byte(cell, measure_recycled(lane, cell, 1))
    };
    let segments = RecycledSegments::new(root, samples, Promise::Power);
    let file = RecycledFiles::new(root, 1, Promise::Power);
    let one = || time(&segments, 1);
    let limit = faster(&|| time(&file, 1), &one);
    note(format!("sync recycled {size} over limit"), limit);
    if size == "4KiB" {
        let eight = faster(&one, &|| time(&segments, 8));
        note(format!("sync recycled {size} 8p over 1p"), eight);
    }
}

/// How much faster Alluvium is than each peer, all of them by turns.
fn peers(cell: Cell<'_>, size: &str, note: &mut impl FnMut(String, f64)) {
    let is_limit = |c: &Contestant| c.name.starts_with("limit-");
    let mut lanes = contestants(cell.promise);
    lanes.retain(|c| !is_limit(c));
    let mut times = vec![Vec::new(); lanes.len()];
    for _ in 0..PEER_TURNS {
        for (lane, times) in lanes.iter().zip(&mut times) {
            times.push(measure(lane, cell, 1).as_secs_f64());
        }
    }
    let times: Vec<f64> = times.into_iter().map(undisturbed).collect();
    let own = lanes.iter().zip(&times).find(|(c, _)| c.name == "alluvium");
    let own = *own.expect("a lane").1;
    for (lane, time) in lanes.iter().zip(times) {
        if lane.name != "alluvium" {
            let (promise, producers) = (cell.promise.name(), cell.producers);
            let name = format!("{promise} {size} {producers}p over {}", lane.name);
            note(name, time / own);
        }
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
