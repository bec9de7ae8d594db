//! The throughput of every lane, for each size and number of producers.

use crate::results::Results;

pub(crate) const SIZES: [&str; 4] = ["4KiB", "64KiB", "1MiB", "4MiB"];
pub(crate) const PROMISES: [(&str, &str); 2] = [
    ("crash", "Survives the death of the process"),
    ("power", "Survives power loss"),
];

/// The lanes in the order of the report.
pub(crate) const LANES: [&str; 14] = [
    "limit-memcpy",
    "limit-pwrite",
    "limit-pwrite-one-file",
    "limit-pwrite-fdatasync",
    "limit-pwrite-fdatasync-one-file",
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

/// Over pages that were written before.
fn recycled(results: &Results) -> String {
    let mut text = String::new();
    for (group, title, producers) in [
        ("recycled", PROMISES[0].1, [1, 2]),
        ("recycled-power", PROMISES[1].1, [1, 8]),
    ] {
        let columns: Vec<(String, String)> = producers
            .iter()
            .flat_map(|p| ["4KiB", "64KiB", "1MiB"].map(|size| (p, size)))
            .map(|(p, size)| {
                let group = format!("{group} fixed {size} {p}p");
                (format!("{size} × {p}"), group)
            })
            .filter(|(_, group)| !results.group(group).is_empty())
            .collect();
        if columns.is_empty() {
            continue;
        }
        let headings: String = columns.iter().map(|(h, _)| format!(" {h} |")).collect();
        text += &format!(
            "\n### {title}: fixed, over pages that were written before\n\n\
             | batch × producers |{headings}\n|---|{}\n{}",
            "--:|".repeat(columns.len()),
            lanes(results, &columns)
        );
    }
    text
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
