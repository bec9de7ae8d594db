//! How old the oldest row grows that is not in the lake.

use std::time::{Duration, Instant};

use alluvium::TableOptions;
use alluvium_benches::readings;

use crate::{hurried, percentile, store};

const RUN: Duration = Duration::from_secs(30);
const BETWEEN_APPENDS: Duration = Duration::from_millis(20);

pub(crate) fn kept() {
    let batch = readings(64 << 10, 0);
    let (_directory, store) = store();
    let options = TableOptions::new(batch.schema()).freshness(Duration::from_secs(1));
    let table = store.create_table("t", hurried(options)).expect("a table");
    let begin = Instant::now();
    let mut ages = Vec::new();
    while begin.elapsed() < RUN {
        let _ = table.append(&batch).expect("appended");
        std::thread::sleep(BETWEEN_APPENDS);
        ages.push(table.status().expect("a status").lag_seconds);
    }
    println!(
        "| age of the oldest untiered row, freshness 1 s, 3 MB/s, p50 and p99 | {:.2} s, {:.2} s |",
        percentile(&mut ages, 0.5),
        percentile(&mut ages, 0.99)
    );
}
