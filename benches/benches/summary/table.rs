//! The throughput of every lane, for each size and number of producers.

use crate::results::Results;

pub(crate) const SIZES: [&str; 4] = ["4KiB", "64KiB", "1MiB", "4MiB"];
pub(crate) const PROMISES: [(&str, &str); 2] = [
    ("crash", "Survives the death of the process"),
    ("power", "Survives power loss"),
];

/// The lanes in the order of the report.
pub(crate) const LANES: [&str; 12] = [
    "limit-memcpy",
    "limit-pwrite",
    "limit-pwrite-fdatasync",
    "alluvium",
    "arrow-ipc",
    "parquet",
    "fjall",
    "redb",
    "sqlite",
    "lance-append",
    "lance-memwal-default",
    "lance-memwal-tuned",
];

pub(crate) fn tables(results: &Results) -> String {
    let mut text =
        "MB/s of payload, 1 MB = 1,000,000 bytes; a quarter of the samples were faster.\n"
            .to_owned();
    for (promise, title) in PROMISES {
        for (kind, producers) in [
            ("fixed", &[1, 2, 8][..]),
            ("strings", &[1]),
            ("images", &[1]),
        ] {
            let columns: Vec<(String, String)> = producers
                .iter()
                .flat_map(|p| SIZES.map(|size| (p, size)))
                .map(|(p, size)| {
                    let heading = size.replace("iB", " iB").replace(' ', "");
                    (
                        format!("{heading} × {p}"),
                        format!("{promise} {kind} {size} {p}p"),
                    )
                })
                .filter(|(_, group)| !results.group(group).is_empty())
                .collect();
            if columns.is_empty() {
                continue;
            }
            text += &format!("\n### {title}: {kind}\n\n| batch × producers |");
            columns
                .iter()
                .for_each(|(heading, _)| text += &format!(" {heading} |"));
            text += &format!("\n|---|{}\n", "--:|".repeat(columns.len()));
            text += &lanes(results, &columns);
        }
    }
    text + &recycled(results) + &rows(results)
}

fn lanes(results: &Results, columns: &[(String, String)]) -> String {
    let mut text = String::new();
    for lane in LANES {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, group)| results.find(group, lane))
            .collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        text += &format!("| {lane} |");
        for cell in cells {
            text += &cell.map_or(" |".to_owned(), |e| format!(" {} |", short(e.rate() / 1e6)));
        }
        text += "\n";
    }
    text
}

fn recycled(results: &Results) -> String {
    let columns: Vec<(String, String)> = [1, 2]
        .iter()
        .flat_map(|p| ["64KiB", "1MiB"].map(|size| (p, size)))
        .map(|(p, size)| {
            (
                format!("{size} × {p}"),
                format!("recycled fixed {size} {p}p"),
            )
        })
        .filter(|(_, group)| !results.group(group).is_empty())
        .collect();
    if columns.is_empty() {
        return String::new();
    }
    let headings: String = columns.iter().map(|(h, _)| format!(" {h} |")).collect();
    format!(
        "\n### Survives the death of the process: fixed, over pages that were written before\n\n\
         | batch × producers |{headings}\n|---|{}\n{}",
        "--:|".repeat(columns.len()),
        lanes(results, &columns)
    )
}

fn rows(results: &Results) -> String {
    let rows = results.group("rows");
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "\n### Single rows, one producer\n\n| | rows/s |\n|---|--:|\n".to_owned();
    for estimate in rows {
        text += &format!("| {} | {} |\n", estimate.lane, short(estimate.rate()));
    }
    text
}

/// A number with three digits, or all of its whole ones with separators.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if n >= 100.0 => {
            let digits = format!("{n:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}
