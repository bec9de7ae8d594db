//! Bars, one drawing for each promise and number of producers.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::results::{Estimate, Results};
use crate::table::{LANES, PROMISES, SIZES, short};

const WIDTH: i32 = 1000;
const LABELS: i32 = 190;
const BAR: i32 = 16;
const GAP: i32 = 4;

const LIMIT: RGBColor = RGBColor(150, 150, 150);
const ALLUVIUM: RGBColor = RGBColor(200, 80, 30);
const PEER: RGBColor = RGBColor(70, 120, 180);

pub(crate) fn draw(results: &Results, directory: &Path) {
    for (promise, title) in PROMISES {
        for producers in [1, 2, 8] {
            let sizes: Vec<_> = SIZES
                .iter()
                .map(|size| {
                    (
                        *size,
                        bars(results, &format!("{promise} fixed {size} {producers}p")),
                    )
                })
                .filter(|(_, bars)| !bars.is_empty())
                .collect();
            if sizes.is_empty() {
                continue;
            }
            let path = directory.join(format!("ingest-{promise}-{producers}.svg"));
            let title = match producers {
                1 => format!("{title}: 1 producer, MB/s (logarithmic)"),
                n => format!("{title}: {n} producers, MB/s (logarithmic)"),
            };
            chart(&path, &title, &sizes);
        }
    }
}

/// The lanes of a group in the order of the report.
fn bars<'a>(results: &'a Results, group: &str) -> Vec<&'a Estimate> {
    let lanes = LANES.iter();
    lanes.filter_map(|lane| results.find(group, lane)).collect()
}

fn chart(path: &Path, title: &str, sizes: &[(&str, Vec<&Estimate>)]) {
    let bars: i32 = sizes.iter().map(|(_, bars)| bars.len() as i32).sum();
    let height = 50 + sizes.len() as i32 * 34 + bars * (BAR + GAP);
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).expect("drawn");
    let rates = || {
        sizes
            .iter()
            .flat_map(|(_, bars)| bars.iter().map(|e| e.rate() / 1e6))
    };
    let least = rates().fold(f64::MAX, f64::min).log10().floor();
    let most = rates().fold(f64::MIN, f64::max).log10();
    let room = f64::from(WIDTH - LABELS - 100);
    let length = |rate: f64| (room * ((rate / 1e6).log10() - least) / (most - least)) as i32;
    let write = |text: &str, at: (i32, i32), size: i32, right: bool| {
        let side = if right { HPos::Right } else { HPos::Left };
        let style = ("sans-serif", size)
            .into_font()
            .color(&BLACK)
            .pos(Pos::new(side, VPos::Center));
        area.draw(&Text::new(text.to_owned(), at, style))
            .expect("drawn");
    };
    write(title, (20, 22), 20, false);
    let mut y = 50;
    for (size, bars) in sizes {
        write(&format!("{size} batches"), (20, y + 12), 16, false);
        y += 26;
        for estimate in bars {
            let end = LABELS + length(estimate.rate()).max(1);
            write(&estimate.lane, (LABELS - 8, y + BAR / 2), 13, true);
            let color = color_of(&estimate.lane);
            area.draw(&Rectangle::new(
                [(LABELS, y), (end, y + BAR)],
                color.filled(),
            ))
            .expect("drawn");
            write(
                &short(estimate.rate() / 1e6),
                (end + 6, y + BAR / 2),
                13,
                false,
            );
            y += BAR + GAP;
        }
        y += 8;
    }
    area.present().expect("written");
}

fn color_of(lane: &str) -> RGBColor {
    match lane {
        "alluvium" => ALLUVIUM,
        lane if lane.starts_with("limit-") => LIMIT,
        _ => PEER,
    }
}
