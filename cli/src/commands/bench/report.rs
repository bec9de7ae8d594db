//! What was found out, for people and for programs.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use serde::Serialize;

use super::machine::Machine;
use super::turn::Tally;
use crate::failure::Outcome;
use crate::output::{Output, bytes, count, rows, table};

/// One run, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) directory: String,
    pub(super) machine: Machine,
    /// Whether the figures mean anything: an unoptimized build's do not.
    pub(super) optimized: bool,
    pub(super) durability: String,
    pub(super) producers: u32,
    pub(super) batch_bytes: u64,
    pub(super) batch_rows: u64,
    pub(super) segment_bytes: u64,
    /// How often each lane had its turn.
    pub(super) turns: usize,
    pub(super) alluvium: Lane,
    pub(super) raw: Lane,
    pub(super) share: Share,
}

/// What one lane did.
#[derive(Debug, Serialize)]
pub(super) struct Lane {
    operation: &'static str,
    bytes: u64,
    rows: u64,
    appends: u64,
    seconds: f64,
    bytes_per_second: f64,
    rows_per_second: f64,
    appends_per_second: f64,
    latency_us: Latency,
}

/// How long an append took.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// Alluvium's throughput as a share of the raw one: of the whole run, and of the two turns side by side in
/// which it was least and most.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) overall: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Share {
    /// The shares that pairs of turns (Alluvium's, the raw one) had, and that they have together.
    pub(super) fn of(pairs: &[(Tally, Tally)], alluvium: &Tally, raw: &Tally) -> Self {
        let share = |alluvium: &Tally, raw: &Tally| {
            alluvium.rate(alluvium.bytes) / raw.rate(raw.bytes).max(f64::MIN_POSITIVE)
        };
        let each = pairs.iter().map(|(alluvium, raw)| share(alluvium, raw));
        Self {
            overall: share(alluvium, raw),
            least: each.clone().fold(f64::INFINITY, f64::min),
            most: each.fold(0.0, f64::max),
        }
    }
}

impl Lane {
    /// The figures of what was counted.
    pub(super) fn of(operation: &'static str, tally: &Tally) -> Self {
        let micros = |latency: Duration| latency.as_nanos() as f64 / 1e3;
        let quantile = |share| micros(tally.latencies.quantile(share));
        Self {
            operation,
            bytes: tally.bytes,
            rows: tally.rows,
            appends: tally.appends,
            seconds: tally.time.as_secs_f64(),
            bytes_per_second: tally.rate(tally.bytes),
            rows_per_second: tally.rate(tally.rows),
            appends_per_second: tally.rate(tally.appends),
            latency_us: Latency {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: micros(tally.latencies.max()),
            },
        }
    }

    /// The cells of the lane's column.
    fn column(&self) -> [String; 8] {
        let latency = &self.latency_us;
        [
            format!("{}/s", bytes(self.bytes_per_second as u64)),
            rate(self.rows_per_second),
            rate(self.appends_per_second),
            micros(latency.p50),
            micros(latency.p90),
            micros(latency.p99),
            micros(latency.p999),
            micros(latency.max),
        ]
    }
}

impl Report {
    /// Prints it as one JSON object.
    pub(super) fn print_json(&self, output: &mut Output) -> Outcome {
        output.json(self)
    }

    /// Prints it for people.
    pub(super) fn print(&self, output: &mut Output) -> Outcome {
        output.line(self.machine.describe())?;
        output.line(format_args!(
            "durability {}, {} {}, batches of {} ({}); {} of each, {:.1} s and {:.1} s",
            self.durability,
            self.producers,
            if self.producers == 1 {
                "producer"
            } else {
                "producers"
            },
            bytes(self.batch_bytes),
            rows(self.batch_rows),
            match self.turns {
                1 => "1 turn".to_owned(),
                turns => format!("{turns} turns"),
            },
            self.alluvium.seconds,
            self.raw.seconds,
        ))?;
        output.line("")?;
        output.line(self.table())?;
        output.line("")?;
        output.line(format_args!(
            "Alluvium writes {:.2} of what {} does here ({:.2} to {:.2} from turn to turn)",
            self.share.overall, self.raw.operation, self.share.least, self.share.most
        ))
    }

    fn table(&self) -> comfy_table::Table {
        const NAMES: [&str; 8] = [
            "throughput",
            "rows/s",
            "appends/s",
            "latency p50",
            "latency p90",
            "latency p99",
            "latency p99.9",
            "latency max",
        ];
        let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
        let mut table = table([Cell::new(""), right("Alluvium"), right(self.raw.operation)]);
        let columns = self.alluvium.column().into_iter().zip(self.raw.column());
        for (name, (alluvium, raw)) in NAMES.into_iter().zip(columns) {
            table.add_row([Cell::new(name), right(&alluvium), right(&raw)]);
        }
        table
    }
}

/// A number of something a second: whole, unless there are few.
fn rate(number: f64) -> String {
    if number < 100.0 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// A short time with the unit that fits it.
fn micros(number: f64) -> String {
    match number {
        _ if number < 1e3 => format!("{number:.1} µs"),
        _ if number < 1e6 => format!("{:.2} ms", number / 1e3),
        _ => format!("{:.2} s", number / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_and_rates_are_written_for_people() {
        assert_eq!(micros(12.34), "12.3 µs");
        assert_eq!(micros(1234.0), "1.23 ms");
        assert_eq!(micros(2_500_000.0), "2.50 s");
        assert_eq!(rate(3.25), "3.2");
        assert_eq!(rate(12_345.6), "12,346");
    }

    #[test]
    fn a_share_is_told_with_how_it_varied() {
        let tally = |bytes, millis| Tally {
            bytes,
            time: Duration::from_millis(millis),
            ..Tally::new()
        };
        let pairs = [
            (tally(80, 100), tally(100, 100)),
            (tally(100, 100), tally(100, 100)),
        ];
        let share = Share::of(&pairs, &tally(180, 200), &tally(200, 200));
        let all = [share.overall, share.least, share.most];
        for (found, right) in all.into_iter().zip([0.9, 0.8, 1.0]) {
            assert!((found - right).abs() < 1e-9, "{all:?}");
        }
    }
}
