//! `alluvium dead-letters`.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::open_to_read;
use crate::args::Place;
use crate::batches::{Form, Printer};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// The engine's own columns, in the order in which they are shown.
const FIRST: [&str; 5] = [
    "__offset",
    "__timestamp",
    "__transform",
    "__plugin",
    "__error",
];

/// Show the rows that a transform failed on
///
/// Each with its offset, the time at which it was appended, the transform and its plugin, and the
/// error, followed by the row's own columns. In the table bytes are counted and long texts cut; in
/// JSON every value is whole, bytes as base64.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object a row, a line each
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  alluvium dead-letters ./store photos
  alluvium dead-letters ./store photos --json | jq -r '[.path, .__error] | @tsv'";

impl Args {
    /// Prints the dead letters.
    pub(crate) fn run(self) -> Outcome {
        let store = open_to_read(&self.place.store)?;
        let letters = store.table(&self.place.table)?.dead_letters()?;
        let mut output = Output::new();
        let Some(first) = letters.first() else {
            if !self.json {
                output.line(format_args!(
                    "table {} has no dead letters",
                    self.place.table
                ))?;
            }
            return output.flush();
        };
        let form = if self.json { Form::Json } else { Form::Table };
        let mut printer = Printer::new(form, arrange(first)?.schema(), &mut output);
        for batch in &letters {
            printer.write(&arrange(batch)?)?;
        }
        printer.finish()
    }
}

/// The batch with the columns that tell what happened before those of the row.
fn arrange(batch: &RecordBatch) -> Outcome<RecordBatch> {
    let schema = Arc::clone(batch.schema_ref());
    let own = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| !FIRST.contains(&field.name().as_str()))
        .map(|(index, _)| index);
    let order: Vec<usize> = FIRST
        .iter()
        .filter_map(|name| schema.index_of(name).ok())
        .chain(own)
        .collect();
    batch
        .project(&order)
        .map_err(|error| Failure::of("cannot show the dead letters", &error))
}
