//! `alluvium query`.

use std::path::PathBuf;

use super::open_to_read;
use crate::batches::{Form, Printer};
use crate::failure::Outcome;
use crate::output::Output;

/// Run SQL over the lake
///
/// Each table of the store is a table of the query, with what was settled into its lake so far: its
/// columns, those that the transforms made, and __bucket, __offset and __timestamp.
///
/// By default the rows are shown as a table, in which bytes are counted and vectors and long texts
/// cut. --json prints one object a line and --csv comma-separated values; both hold every value
/// whole, bytes as base64. Rows are printed as they are found.
///
/// It works beside a process that writes to the store.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// The store's directory
    store: PathBuf,
    /// The query
    sql: String,
    /// Print one JSON object a row, a line each
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values with a header
    #[arg(long)]
    csv: bool,
}

const EXAMPLE: &str = "\
Example:
  alluvium query ./store \"SELECT path, caption FROM photos WHERE caption LIKE '%cat%' LIMIT 5\"";

impl Args {
    /// Runs the query.
    pub(crate) fn run(self) -> Outcome {
        let store = open_to_read(&self.store)?;
        let form = match (self.json, self.csv) {
            (true, _) => Form::Json,
            (_, true) => Form::Csv,
            _ => Form::Table,
        };
        let result = store.query(&self.sql)?;
        let mut output = Output::new();
        let mut printer = Printer::new(form, result.schema(), &mut output);
        for batch in result {
            printer.write(&batch?)?;
        }
        printer.finish()
    }
}
