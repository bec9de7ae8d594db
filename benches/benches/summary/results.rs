//! Criterion's samples, read back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// One lane in one group.
#[derive(Debug, Clone)]
pub(crate) struct Estimate {
    pub(crate) group: String,
    pub(crate) lane: String,
    /// The time of one iteration that a quarter of the samples stayed below.
    pub(crate) seconds: f64,
    /// Bytes, or rows, of one iteration.
    pub(crate) amount: f64,
}

impl Estimate {
    /// Bytes, or rows, in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.amount / self.seconds
    }
}

/// Everything that one run measured.
#[derive(Debug)]
pub(crate) struct Results {
    estimates: Vec<Estimate>,
    /// By size: bytes written, bytes of payload.
    pub(crate) written: BTreeMap<String, (f64, f64)>,
    /// By name: what was measured by turns.
    ratios: BTreeMap<String, f64>,
}

impl Results {
    pub(crate) fn read(home: &Path) -> Self {
        let mut estimates = Vec::new();
        for group in directories(home) {
            for lane in directories(&group) {
                estimates.extend(estimate(&lane.join("new")));
            }
        }
        let written = json(&home.join("written.json"));
        let number = |value: &Value, name: &str| value[name].as_f64().unwrap_or(f64::NAN);
        let written = written.iter().filter_map(Value::as_object).flatten();
        let ratios = json(&home.join("ratios.json"));
        let ratios = ratios.iter().filter_map(Value::as_object).flatten();
        Self {
            estimates,
            written: written
                .map(|(size, v)| (size.clone(), (number(v, "written"), number(v, "payload"))))
                .collect(),
            ratios: ratios
                .filter_map(|(name, ratio)| Some((name.clone(), ratio.as_f64()?)))
                .collect(),
        }
    }

    /// The lane of that name in a group.
    pub(crate) fn find(&self, group: &str, lane: &str) -> Option<&Estimate> {
        let mut all = self.estimates.iter();
        all.find(|e| e.group == group && e.lane == lane)
    }

    /// What was measured by turns under that name.
    pub(crate) fn ratio(&self, name: &str) -> Option<f64> {
        self.ratios.get(name).copied()
    }

    /// The least of those whose names begin so, and the rest of its name.
    pub(crate) fn least_ratio(&self, begin: &str) -> Option<(&str, f64)> {
        let all = self.ratios.iter();
        all.filter_map(|(name, ratio)| Some((name.strip_prefix(begin)?, *ratio)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The lanes of a group, the fastest first.
    pub(crate) fn group(&self, group: &str) -> Vec<&Estimate> {
        let mut lanes: Vec<_> = self.estimates.iter().filter(|e| e.group == group).collect();
        lanes.sort_by(|a, b| b.rate().total_cmp(&a.rate()));
        lanes
    }
}

fn directories(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    paths.sort();
    paths
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn estimate(directory: &Path) -> Option<Estimate> {
    let benchmark = json(&directory.join("benchmark.json"))?;
    let sample = json(&directory.join("sample.json"))?;
    let numbers = |name: &str| -> Option<Vec<f64>> {
        let numbers = sample[name].as_array()?.iter();
        numbers.map(Value::as_f64).collect()
    };
    let (times, iterations) = (numbers("times")?, numbers("iters")?);
    let each = times.iter().zip(iterations).map(|(time, n)| time / n / 1e9);
    let mut each: Vec<f64> = each.collect();
    each.sort_by(f64::total_cmp);
    let throughput = &benchmark["throughput"];
    let amount = throughput["Bytes"].as_f64();
    let amount = amount.or_else(|| throughput["Elements"].as_f64());
    Some(Estimate {
        group: benchmark["group_id"].as_str()?.to_owned(),
        lane: benchmark["function_id"].as_str()?.to_owned(),
        // What else the machine does only ever adds to a time, and where it does often a median has it.
        seconds: *each.get(each.len() / 4)?,
        amount: amount.unwrap_or(1.0),
    })
}
