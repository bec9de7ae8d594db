//! `alluvium verify`.

use alluvium::VerifyReport;

use super::{open_to_read, tables};
use crate::args::Scope;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, plain};

/// Check every checksum and offset of the log, and the lake's rows against them
///
/// The lake must hold each offset up to the tiered one exactly once, but for those that are dead
/// letters, were dropped or were filtered by a transform. Exit status 1 when anything is wrong.
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
  alluvium verify ./store";

impl Args {
    /// Checks the tables, all of them even when one is damaged.
    pub(crate) fn run(self) -> Outcome {
        let store = open_to_read(&self.scope.store)?;
        let mut output = Output::new();
        let mut problems = 0;
        let mut damaged = Vec::new();
        for (name, table) in tables(&store, &self.scope)? {
            let report = match table.and_then(|table| table.verify()) {
                Ok(report) => report,
                Err(error) => VerifyReport::of_failure(&name, &error),
            };
            if !report.problems.is_empty() {
                problems += report.problems_total;
                damaged.push(name.clone());
            }
            if self.json {
                output.json(&report)?;
                continue;
            }
            if report.problems.is_empty() {
                output.line(format_args!("{}: sound", name))?;
            }
            for problem in &report.problems {
                output.line(format_args!("{}: {}", name, plain(problem)))?;
            }
        }
        output.flush()?;
        if damaged.is_empty() {
            return Ok(());
        }
        let noun = if problems == 1 { "problem" } else { "problems" };
        Err(Failure::new(format!(
            "{problems} {noun} in {}",
            damaged.join(", ")
        )))
    }
}
