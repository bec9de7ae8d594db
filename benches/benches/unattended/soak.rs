//! Thousands of small rounds with maintenance on, an index kept up beside them: what must stay flat, drawn over the rounds.
//!
//! `ALLUVIUM_SOAK_ROUNDS` says how many; a round begins every 50 ms.

use std::path::Path;
use std::time::{Duration, Instant};

use alluvium::{IndexKind, Table, TableOptions};
use plotters::prelude::*;

use crate::growth::{BETWEEN_ROUNDS, files_below, small};
use crate::memory::status;
use crate::{hurried, percentile, store};

const ROUNDS: usize = 5000;
/// Rounds of which one sample is taken.
const WINDOW: usize = 50;
/// How many samples are compared at each end; the first are of a lake that is still growing to its usual shape.
const ENDS: usize = 10;

const PANEL: (u32, u32) = (620, 220);
const LINE: RGBColor = RGBColor(200, 80, 30);

/// One thing that must stay flat, a value for each window.
struct Curve {
    name: &'static str,
    values: Vec<f64>,
}

pub(crate) fn run() {
    let rounds = std::env::var("ALLUVIUM_SOAK_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let batch = small();
    let (directory, store) = store();
    let options = TableOptions::new(batch.schema()).freshness(Duration::from_secs(3600));
    let table = store.create_table("t", hurried(options)).expect("a table");
    table
        .create_index("time", IndexKind::BTree)
        .expect("wanted");
    let lake = directory.path().join("store/lake/t.lance");
    let names = [
        "files of the lake",
        "versions of the lake",
        "fragments of the lake",
        "orphan bytes",
        "median round, ms",
        "anonymous memory, MiB",
    ];
    let mut curves = names.map(|name| Curve {
        name,
        values: Vec::new(),
    });
    let mut latencies = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        let _ = table.append(&batch).expect("appended");
        table.flush_to_lake().expect("tiered");
        latencies.push(begin.elapsed().as_secs_f64() * 1e3);
        if latencies.len() == WINDOW {
            let sample = sample(&table, &lake, &mut latencies);
            for (curve, value) in curves.iter_mut().zip(sample) {
                curve.values.push(value);
            }
            latencies.clear();
        }
        std::thread::sleep(BETWEEN_ROUNDS.saturating_sub(begin.elapsed()));
    }
    let report = table.verify().expect("verified");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for curve in &curves {
        curve.tell(rounds);
    }
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    draw(&curves, rounds, &results.join("tiering-soak.svg"));
}

fn sample(table: &Table, lake: &Path, latencies: &mut [f64]) -> [f64; 6] {
    let maintenance = table.status().expect("a status").maintenance;
    let manifests = std::fs::read_dir(lake.join("_versions")).expect("a directory");
    [
        files_below(lake) as f64,
        manifests.count() as f64,
        maintenance.fragments as f64,
        maintenance.orphan_bytes as f64,
        percentile(latencies, 0.5),
        status("RssAnon:"),
    ]
}

impl Curve {
    /// The medians of the beginning and of the end, as a row of the results.
    fn tell(&self, rounds: usize) {
        let median = |values: &[f64]| percentile(&mut values.to_vec(), 0.5);
        let after_start = self.values.get(ENDS..).unwrap_or_default();
        let (first, last) = (
            after_start.get(..ENDS).unwrap_or(after_start),
            &self.values[self.values.len().saturating_sub(ENDS)..],
        );
        println!(
            "| {rounds} rounds: {} | {:.1} at first, {:.1} at last, {:.1} at most |",
            self.name,
            median(first),
            median(last),
            self.values.iter().copied().fold(0.0, f64::max),
        );
    }
}

/// A panel for each curve, from 0 to its highest value.
fn draw(curves: &[Curve], rounds: usize, path: &Path) {
    let (columns, rows) = (2, curves.len().div_ceil(2));
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).expect("drawn");
    for (panel, curve) in area.split_evenly((rows, columns)).iter().zip(curves) {
        let most = curve.values.iter().copied().fold(1.0, f64::max);
        let text = |text: String, at: (i32, i32), size: i32| {
            let style = ("sans-serif", size).into_font().color(&BLACK);
            panel.draw(&Text::new(text, at, style)).expect("drawn");
        };
        text(curve.name.to_owned(), (20, 12), 18);
        text(format!("{most:.0}"), (20, 36), 13);
        text(format!("0 .. {rounds} rounds"), (70, 196), 13);
        let (width, height) = (f64::from(PANEL.0) - 100.0, 150.0);
        let step = width / (curve.values.len().max(2) - 1) as f64;
        let points = curve.values.iter().enumerate().map(|(index, value)| {
            let x = 70.0 + step * index as f64;
            (x as i32, (190.0 - height * value / most) as i32)
        });
        let points: Vec<_> = points.collect();
        panel
            .draw(&PathElement::new(points, LINE.stroke_width(2)))
            .expect("drawn");
        let axes = vec![(70, 40), (70, 190), (70 + width as i32, 190)];
        panel.draw(&PathElement::new(axes, BLACK)).expect("drawn");
    }
    area.present().expect("written");
}
