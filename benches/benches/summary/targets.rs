//! What is aimed at, as ratios within one run, and what was reached.

use crate::results::Results;

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

fn at_least(says: impl Into<String>, ratio: Option<f64>, bound: f64) -> Target {
    Target {
        says: says.into(),
        ratio,
        bound: Bound::AtLeast(bound),
    }
}

fn at_most(says: impl Into<String>, ratio: Option<f64>, bound: f64) -> Target {
    Target {
        says: says.into(),
        ratio,
        bound: Bound::AtMost(bound),
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
    for (pages, limit) in [
        ("recycled", "`pwrite` to recycled pages"),
        ("fresh", "`pwrite` to a fresh preallocated file"),
    ] {
        for (size, bound) in [("1MiB", 0.85), ("64KiB", 0.75)] {
            targets.push(at_least(
                format!("Buffered, {size}, 1 producer, {pages} segments, over {limit}"),
                results.ratio(&format!("{pages} {size} over limit")),
                bound,
            ));
        }
    }
    for pages in ["recycled", "fresh"] {
        for size in ["1MiB", "64KiB"] {
            targets.extend(two_producers(results, pages, size));
        }
    }
    targets
}

/// Twice the producers: 1.5 times as much, or nearly all that two `pwrite` threads reach, who have a file each or, as
/// a log has, one.
fn two_producers(results: &Results, pages: &str, size: &str) -> Vec<Target> {
    let ratio = |over: &str| results.ratio(&format!("{pages} {size} 2p over {over}"));
    let says = format!("Buffered, {size}, {pages} segments, 2 producers over");
    match ratio("1p") {
        Some(speedup) if speedup < 1.5 => {
            let of_1 = format!("{speedup:.2} of 1 producer");
            vec![
                at_least(
                    format!("{says} two `pwrite` threads on one file ({of_1})"),
                    ratio("limit on one file"),
                    0.9,
                ),
                at_least(
                    format!("{says} two `pwrite` threads with a file each ({of_1})"),
                    ratio("limit"),
                    0.9,
                ),
            ]
        }
        speedup => vec![at_least(format!("{says} 1"), speedup, 1.5)],
    }
}

fn sync(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for pages in ["recycled", "fresh"] {
        targets.push(at_least(
            format!("Sync, 4KiB, {pages} segments, 8 producers over 1"),
            results.ratio(&format!("sync {pages} 4KiB 8p over 1p")),
            5.0,
        ));
        for size in ["4KiB", "64KiB", "1MiB"] {
            targets.push(at_least(
                format!("Sync, {size}, {pages} segments, 1 producer over `pwrite` + `fdatasync`"),
                results.ratio(&format!("sync {pages} {size} over limit")),
                0.9,
            ));
        }
    }
    targets
}

fn others(results: &Results) -> Vec<Target> {
    let rows = results.find("rows", "alluvium");
    let mut targets = vec![
        at_least(
            "Single rows through the appender, million rows/s",
            rows.map(|e| e.rate() / 1e6),
            1.0,
        ),
        at_least(
            "Sum of an int64 column over the log, over the same in memory",
            results.ratio("sum of numbers"),
            0.9,
        ),
        at_least(
            "The same of one column of eight, which a cache holds",
            results.ratio("sum of fixed"),
            0.9,
        ),
        at_most(
            "Opening a store, 16 GiB sealed over 1 GiB (time)",
            results.ratio("time to open 16 GiB over 1 GiB"),
            2.0,
        ),
    ];
    for size in ["64KiB", "1MiB", "4MiB"] {
        let pair = results.written.get(size);
        targets.push(at_most(
            format!("Bytes written over payload, {size}"),
            pair.map(|(written, payload)| written / payload),
            1.02,
        ));
    }
    targets
}

/// The peer that comes nearest, and how much faster Alluvium is.
fn peers(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for (promise, survives) in [("crash", "Process crash"), ("power", "Power loss")] {
        for size in ["64KiB", "1MiB"] {
            for producers in [1, 2, 8] {
                let group = format!("{promise} {size} {producers}p over ");
                let nearest = results.least_ratio(&group);
                let name = nearest.map_or("the fastest peer", |n| n.0);
                let plural = if producers == 1 { "" } else { "s" };
                targets.push(at_least(
                    format!("{survives}, {size}, {producers} producer{plural}, over {name}"),
                    nearest.map(|n| n.1),
                    1.0,
                ));
            }
        }
    }
    targets
}
