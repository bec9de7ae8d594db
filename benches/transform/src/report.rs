//! Ratios by turns, and the table of them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// How often each side of a ratio has its turn.
const TURNS: usize = 12;

/// One side of a ratio.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    /// Does the work once; all sides of a ratio do the same amount.
    pub(crate) run: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Side<'a> {
    /// A side whose time is the time that `run` takes.
    pub(crate) fn timed(name: &'static str, mut run: impl FnMut() + 'a) -> Self {
        let run = Box::new(move || {
            let begin = Instant::now();
            run();
            begin.elapsed()
        });
        Self { name, run }
    }
}

/// What was measured, a line each.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<String>,
}

impl Report {
    /// Adds a line: what, its target, what was reached, and what to know of it.
    pub(crate) fn line(&mut self, what: &str, target: &str, reached: String, met: Option<bool>) {
        let verdict = match met {
            Some(true) => "pass",
            Some(false) => "**miss**",
            None => "",
        };
        let line = format!("| {what} | {target} | {reached} | {verdict} |");
        println!("{line}");
        self.lines.push(line);
    }

    /// Writes `benches/results/transform.md`.
    pub(crate) fn write(&self) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
        fs::create_dir_all(&directory).expect("a directory");
        let text = format!(
            "# Transforms\n\n{}\n\n| what | target | measured | |\n|---|---|--:|---|\n{}\n",
            crate::machine::named(&directory),
            self.lines.join("\n"),
        );
        fs::write(directory.join("transform.md"), text).expect("written");
    }
}

/// Measures the sides by turns; each one's time, in the order of the sides.
pub(crate) fn by_turns(criterion: &mut Criterion, group: &str, sides: &mut [Side<'_>]) -> Vec<f64> {
    let mut measured = criterion.benchmark_group(group);
    measured.measurement_time(Duration::from_secs(3));
    for side in sides.iter_mut() {
        measured.bench_function(side.name, |b| {
            b.iter_custom(|n| (0..n).map(|_| (side.run)()).sum());
        });
    }
    measured.finish();
    let mut times = vec![Vec::new(); sides.len()];
    for _ in 0..TURNS {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            times.push((side.run)().as_secs_f64());
        }
    }
    let quarter = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 4]
    };
    times.iter_mut().map(quarter).collect()
}
