//! What is aimed at, as ratios within one run, and what was reached.

use crate::results::{Estimate, Results};

/// A target: what it says, the ratio, and the bound that it must keep.
struct Target {
    says: String,
    ratio: Option<f64>,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn row(&self) -> String {
        let (sign, bound, met) = match self.bound {
            Bound::AtLeast(b) => ("≥", b, self.ratio.map(|r| r >= b)),
            Bound::AtMost(b) => ("≤", b, self.ratio.map(|r| r <= b)),
        };
        let ratio = self
            .ratio
            .map_or("not measured".to_owned(), |r| format!("{r:.2}"));
        let met = met.map_or("", |met| if met { "pass" } else { "**miss**" });
        format!("| {} | {sign} {bound} | {ratio} | {met} |\n", self.says)
    }
}

/// How much faster one lane is than another.
fn ratio(of: Option<&Estimate>, to: Option<&Estimate>) -> Option<f64> {
    Some(of?.rate() / to?.rate())
}

fn at_least(says: impl Into<String>, ratio: Option<f64>, bound: f64) -> Target {
    Target {
        says: says.into(),
        ratio,
        bound: Bound::AtLeast(bound),
    }
}

pub(crate) fn table(results: &Results) -> String {
    let mut text = "| | target | measured | |\n|---|--:|--:|---|\n".to_owned();
    let all = [
        buffered(results),
        sync(results),
        others(results),
        peers(results),
    ];
    all.iter().flatten().for_each(|t| text += &t.row());
    text
}

fn buffered(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for (size, bound) in [("1MiB", 0.85), ("64KiB", 0.75)] {
        let group = format!("recycled fixed {size} 1p");
        let pair = |lane| results.find(&group, lane);
        targets.push(at_least(
            format!("Buffered, {size}, recycled segments, over `pwrite` to recycled pages"),
            ratio(pair("alluvium"), pair("limit-pwrite")),
            bound,
        ));
    }
    for (size, bound) in [("1MiB", 0.85), ("64KiB", 0.75)] {
        let group = format!("crash fixed {size} 1p");
        let pair = |lane| results.find(&group, lane);
        targets.push(at_least(
            format!("Buffered, {size}, fresh segments, over `pwrite` to a fresh preallocated file"),
            ratio(pair("alluvium"), pair("limit-pwrite")),
            bound,
        ));
    }
    for (promise, pages) in [("recycled", "recycled"), ("crash", "fresh")] {
        for size in ["64KiB", "1MiB"] {
            targets.push(two_producers(results, promise, pages, size));
        }
    }
    targets
}

/// Twice the producers: 1.5 times as much, or nearly all that two `pwrite` threads reach.
fn two_producers(results: &Results, promise: &str, pages: &str, size: &str) -> Target {
    let group = |producers: usize| format!("{promise} fixed {size} {producers}p");
    let two = results.find(&group(2), "alluvium");
    let speedup = ratio(two, results.find(&group(1), "alluvium"));
    let of_limit = ratio(two, results.find(&group(2), "limit-pwrite"));
    let says = format!("Buffered, {size}, {pages} segments, 2 producers over");
    match (speedup, of_limit) {
        (Some(speedup), of_limit) if speedup >= 1.5 || of_limit.is_none() => {
            at_least(format!("{says} 1"), Some(speedup), 1.5)
        }
        (_, of_limit) => {
            let with = speedup.map_or(String::new(), |s| format!(" ({s:.2} of 1 producer)"));
            at_least(format!("{says} two `pwrite` threads{with}"), of_limit, 0.9)
        }
    }
}

fn sync(results: &Results) -> Vec<Target> {
    let alluvium = |producers| {
        let group = format!("power fixed 4KiB {producers}p");
        results.find(&group, "alluvium")
    };
    let mut targets = vec![at_least(
        "Sync, 4KiB, 8 producers over 1",
        ratio(alluvium(8), alluvium(1)),
        5.0,
    )];
    for size in ["4KiB", "64KiB", "1MiB"] {
        let group = format!("power fixed {size} 1p");
        let pair = |lane| results.find(&group, lane);
        targets.push(at_least(
            format!("Sync, {size}, 1 producer over `pwrite` + `fdatasync`"),
            ratio(pair("alluvium"), pair("limit-pwrite-fdatasync")),
            0.9,
        ));
    }
    targets
}

fn others(results: &Results) -> Vec<Target> {
    let rows = results.find("rows", "alluvium");
    let scan = |lane| results.find("scan", lane);
    let open = |lane| results.find("open", lane).map(|e| e.seconds);
    let opening = open("alluvium-16GiB").zip(open("alluvium-1GiB"));
    let mut targets = vec![
        at_least(
            "Single rows through the appender, million rows/s",
            rows.map(|e| e.rate() / 1e6),
            1.0,
        ),
        at_least(
            "Sum of an int64 column over the log, over the same in memory",
            ratio(scan("alluvium"), scan("limit-memory")),
            0.9,
        ),
        Target {
            says: "Opening a store, 16 GiB sealed over 1 GiB (time)".into(),
            ratio: opening.map(|(sixteen, one)| sixteen / one),
            bound: Bound::AtMost(2.0),
        },
    ];
    for size in ["64KiB", "1MiB", "4MiB"] {
        let pair = results.written.get(size);
        targets.push(Target {
            says: format!("Bytes written over payload, {size}"),
            ratio: pair.map(|(written, payload)| written / payload),
            bound: Bound::AtMost(1.02),
        });
    }
    targets
}

/// The fastest peer of each lane, and how much faster Alluvium is.
fn peers(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for promise in ["crash", "power"] {
        for size in ["64KiB", "1MiB"] {
            for producers in [1, 2, 8] {
                let group = format!("{promise} fixed {size} {producers}p");
                let lanes = results.group(&group);
                let is_peer =
                    |e: &&&Estimate| e.lane != "alluvium" && !e.lane.starts_with("limit-");
                let best = lanes.iter().find(is_peer).copied();
                let name = best.map_or("the fastest peer", |e| e.lane.as_str());
                targets.push(at_least(
                    format!("{promise}, {size}, {producers} producers, over {name}"),
                    ratio(results.find(&group, "alluvium"), best),
                    1.0,
                ));
            }
        }
    }
    targets
}
