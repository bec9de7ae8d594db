//! `alluvium tier`.

use std::thread;
use std::time::{Duration, Instant};

use alluvium::Table;

use super::each_table;
use crate::args::Scope;
use crate::failure::{Failure, Outcome};
use crate::output::{plain, rows, rows_bar, span};

/// How often the progress bar looks at the table.
const GLANCE: Duration = Duration::from_millis(200);

/// Settle everything that waits in the log into the lake now, and exit
///
/// The rows pass through the table's transforms on their way. Interrupting it loses nothing and
/// repeats nothing: the next round goes on where the lake's last commit ends.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    scope: Scope,
}

const EXAMPLE: &str = "\
Example:
  alluvium tier ./store photos";

impl Args {
    /// Drains the tables.
    pub(crate) fn run(self) -> Outcome {
        each_table(&self.scope, drain)
    }
}

/// Drains one table with a progress bar, and tells what happened.
fn drain(table: &Table) -> Outcome<String> {
    let start = Instant::now();
    let before = table.status()?;
    let bar = rows_bar(before.rows_committed.saturating_sub(before.rows_tiered));
    bar.set_message(table.name().to_owned());
    let result = thread::scope(|scope| {
        let work = scope.spawn(|| table.flush_to_lake());
        while !work.is_finished() {
            if !bar.is_hidden()
                && let Ok(now) = table.status()
            {
                bar.set_position(now.rows_tiered.saturating_sub(before.rows_tiered));
            }
            thread::sleep(if bar.is_hidden() { GLANCE / 20 } else { GLANCE });
        }
        work.join()
    });
    bar.finish_and_clear();
    result.map_err(|_| Failure::new("tiering ended early"))??;

    let after = table.status()?;
    let version = after
        .lake_version
        .map_or_else(String::new, |version| format!(" (version {version})"));
    let letters = after.dead_letters_error.map_or_else(String::new, |error| {
        format!("; dead letters are not settled: {}", plain(&error))
    });
    Ok(format!(
        "{}: {} settled in {}; {} in {}{version}{letters}",
        table.name(),
        rows(after.rows_tiered.saturating_sub(before.rows_tiered)),
        span(start.elapsed()),
        rows(
            after
                .rows_tiered
                .saturating_sub(after.dead_letters)
                .saturating_sub(after.filtered)
                .saturating_sub(after.dropped)
        ),
        after.lake_uri,
    ))
}
