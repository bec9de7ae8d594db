//! `alluvium status`.

use std::time::Duration;

use alluvium::TableStatus;

use super::{open_to_read, tables};
use crate::args::Scope;
use crate::failure::Outcome;
use crate::output::{Output, bytes, count, plain, span, table};

/// Show how far the log and the lake of each table are
///
/// committed: rows that readers see. durable: rows that survive power loss. tiered: rows that are
/// settled in the lake, are dead letters or were filtered by a transform. lag: what is committed but
/// not tiered, in rows, bytes and the age of the oldest. untransformed: the rows that the transforms are
/// not done with, and the age of the oldest.
///
/// It works beside a process that writes to the store.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    scope: Scope,
    /// Print one JSON object a table, a line each
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  alluvium status ./store
  alluvium status ./store photos --json | jq .lag_rows";

impl Args {
    /// Prints the tables' status.
    pub(crate) fn run(self) -> Outcome {
        let store = open_to_read(&self.scope.store)?;
        let mut output = Output::new();
        let mut all = Vec::new();
        let mut failed = Ok(());
        for (_, table) in tables(&store, &self.scope)? {
            match table.and_then(|table| table.status()) {
                Ok(status) => all.push(status),
                Err(error) => failed = failed.and(Err(error.into())),
            }
        }
        if self.json {
            for status in &all {
                output.json(status)?;
            }
        } else if all.is_empty() && failed.is_ok() {
            output.line("the store has no tables yet")?;
        } else if !all.is_empty() {
            print(&all, &mut output)?;
        }
        output.flush()?;
        failed
    }
}

/// The numbers as a table, then what does not fit into one.
fn print(all: &[TableStatus], output: &mut Output) -> Outcome {
    let mut numbers = table([
        "table",
        "committed",
        "durable",
        "tiered",
        "dead",
        "filtered",
        "dropped",
        "lag",
        "untransformed",
        "segments",
        "log",
        "lake version",
    ]);
    for status in all {
        numbers.add_row([
            plain(&status.table),
            count(status.rows_committed),
            count(status.rows_durable),
            count(status.rows_tiered),
            count(status.dead_letters),
            count(status.filtered),
            count(status.dropped),
            lag(status),
            untransformed(status),
            count(status.segments as u64),
            log(status),
            status
                .lake_version
                .map_or_else(|| "none yet".to_owned(), |version| version.to_string()),
        ]);
    }
    output.line(numbers.trim_fmt())?;
    for status in all {
        output.line(format_args!(
            "{}: lake {}",
            plain(&status.table),
            plain(&status.lake_uri)
        ))?;
        let transforms = status.transforms.iter();
        let transforms: Vec<_> = transforms.map(|t| plain(&t.name)).collect();
        if !transforms.is_empty() {
            let (name, transforms) = (plain(&status.table), transforms.join(", "));
            output.line(format_args!("{name}: transforms {transforms}"))?;
        }
        if let Some(error) = &status.dead_letters_error {
            let (name, error) = (plain(&status.table), plain(error));
            output.line(format_args!(
                "{name}: dead letters are not settled: {error}"
            ))?;
        }
        if let Some(error) = &status.last_error {
            output.line(format_args!(
                "{}: last error: {}",
                plain(&status.table),
                plain(&error.to_string())
            ))?;
        }
    }
    Ok(())
}

/// The log's bytes, and how many it may have.
fn log(status: &TableStatus) -> String {
    match status.max_log_bytes {
        None => bytes(status.log_bytes),
        Some(limit) => format!("{} of {}", bytes(status.log_bytes), bytes(limit)),
    }
}

fn untransformed(status: &TableStatus) -> String {
    if status.transforms.is_empty() {
        return "no transforms".to_owned();
    }
    if status.transform_lag_rows == 0 {
        return "none".to_owned();
    }
    let age = Duration::try_from_secs_f64(status.transform_lag_seconds).unwrap_or_default();
    format!("{} rows, {}", count(status.transform_lag_rows), span(age))
}

fn lag(status: &TableStatus) -> String {
    if status.lag_rows == 0 {
        return "none".to_owned();
    }
    let age = Duration::try_from_secs_f64(status.lag_seconds).unwrap_or_default();
    format!(
        "{} rows, {}, {}",
        count(status.lag_rows),
        bytes(status.lag_bytes),
        span(age)
    )
}
