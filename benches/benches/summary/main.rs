//! Makes of a run's estimates a table, the targets with what was reached, and plots.
//!
//! What it reads is in `CRITERION_HOME`, as `make bench-ingest` sets it; what it writes is in `benches/results/`.

mod machine;
mod plots;
mod results;
mod table;
mod targets;

use std::fs;
use std::path::Path;

use results::Results;

fn main() {
    let home = std::env::var_os("CRITERION_HOME").expect("CRITERION_HOME, as make sets it");
    let results = Results::read(Path::new(&home));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&directory).expect("a directory");
    let text = format!(
        "# Ingest\n\n{}\n\n## Targets\n\n{}\n\n## Throughput\n\n{}\n",
        machine::named(Path::new(&home)),
        targets::table(&results),
        table::tables(&results),
    );
    fs::write(directory.join("ingest.md"), &text).expect("written");
    plots::draw(&results, &directory);
    println!("{text}\nwritten to {}", directory.display());
}
