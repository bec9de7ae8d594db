//! `alluvium dead-letters`.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use alluvium::{DeadLetterFilter, Table};
use arrow::array::RecordBatch;

use super::{open_to_read, open_to_write};
use crate::args::Place;
use crate::batches::{Form, Printer};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, count, plain};

/// The engine's own columns, in the order in which they are shown.
const FIRST: [&str; 5] = [
    "__offset",
    "__timestamp",
    "__transform",
    "__plugin",
    "__error",
];

/// Show the rows that a transform failed on, retry them or drop them
///
/// Each with its offset, the time at which it was appended, the transform and its plugin, and the
/// error, followed by the row's own columns. In the table bytes are counted and long texts cut; in
/// JSON every value is whole, bytes as base64. They are a Lance dataset too, beside the lake:
/// photos.dead_letters.lance for photos.lance.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = EXAMPLE,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    change: Option<Change>,
    /// The store's directory
    #[arg(required = true)]
    store: Option<PathBuf>,
    /// The table's name
    #[arg(required = true)]
    table: Option<String>,
    /// Print one JSON object a row, a line each
    #[arg(long)]
    json: bool,
}

/// What else can be done with dead letters.
#[derive(Debug, clap::Subcommand)]
enum Change {
    Retry(Retry),
    Drop(Drop),
}

/// Put dead letters through the table's transforms again
///
/// What comes of them goes to the lake with the rows' own offsets and times, once; those that fail again
/// stay dead letters. Use it after `alluvium transforms set`. A program that has the store open calls
/// Table::retry_dead_letters; this command is for a store that nobody writes to.
#[derive(Debug, clap::Args)]
#[command(after_long_help = RETRY_EXAMPLE)]
struct Retry {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
}

/// Drop dead letters for good
///
/// The status of the table counts them from then on. Say which, or --all. A program that has the store open calls
/// Table::drop_dead_letters; this command is for a store that nobody writes to.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DROP_EXAMPLE)]
#[command(group(clap::ArgGroup::new("meant").args(["transform", "offsets", "limit", "all"]).required(true).multiple(true)))]
struct Drop {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// All dead letters of the table
    #[arg(long, conflicts_with_all = ["transform", "offsets", "limit"])]
    all: bool,
}

/// Which dead letters are meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only those that this transform failed on
    #[arg(long, value_name = "NAME")]
    transform: Option<String>,
    /// Only those of rows with these offsets, the last one not included: 100..200
    #[arg(long, value_name = "FROM..TO", value_parser = parse_offsets)]
    offsets: Option<Range<u64>>,
    /// So many at most, from the lowest offset on
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

const EXAMPLE: &str = "\
Example:
  alluvium dead-letters ./store photos
  alluvium dead-letters ./store photos --json | jq -r '[.path, .__error] | @tsv'
  alluvium dead-letters retry ./store photos --transform thumbnail
  alluvium dead-letters drop ./store photos --all";

const RETRY_EXAMPLE: &str = "\
Example:
  alluvium transforms set ./store photos mended.toml
  alluvium dead-letters retry ./store photos --transform thumbnail";

const DROP_EXAMPLE: &str = "\
Example:
  alluvium dead-letters drop ./store photos --transform thumbnail
  alluvium dead-letters drop ./store photos --all";

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match (self.change, self.store, self.table) {
            (Some(Change::Retry(retry)), ..) => retry.run(),
            (Some(Change::Drop(drop)), ..) => drop.run(),
            (None, Some(store), Some(table)) => list(&Place { store, table }, self.json),
            // What is required is there.
            (None, ..) => Err(Failure::new("name a store and a table")),
        }
    }
}

/// Prints the dead letters.
fn list(place: &Place, is_json: bool) -> Outcome {
    let store = open_to_read(&place.store)?;
    let letters = store.table(&place.table)?.dead_letters()?;
    let mut output = Output::new();
    let form = if is_json { Form::Json } else { Form::Table };
    let schema = arrange(&RecordBatch::new_empty(letters.schema()))?.schema();
    let mut letters = letters.peekable();
    if letters.peek().is_none() {
        if !is_json {
            output.line(format_args!("table {} has no dead letters", place.table))?;
        }
        return output.flush();
    }
    let mut printer = Printer::new(form, schema, &mut output);
    for batch in letters {
        printer.write(&arrange(&batch?)?)?;
    }
    printer.finish()
}

impl Retry {
    fn run(self) -> Outcome {
        let filter = self.which.filter();
        let report = at(&self.place, |table| table.retry_dead_letters(&filter))?;
        let mut output = Output::new();
        output.line(format_args!(
            "{}: {} retried; {} in the lake, {} filtered, {} failed again",
            plain(&self.place.table),
            letters(report.retried),
            count(report.recovered),
            count(report.filtered),
            count(report.failed)
        ))?;
        output.flush()
    }
}

impl Drop {
    fn run(self) -> Outcome {
        let filter = self.which.filter();
        let dropped = at(&self.place, |table| table.drop_dead_letters(&filter))?;
        let mut output = Output::new();
        let name = plain(&self.place.table);
        output.line(format_args!("{name}: {} dropped", letters(dropped)))?;
        output.flush()
    }
}

impl Which {
    fn filter(&self) -> DeadLetterFilter {
        let mut filter = DeadLetterFilter::all();
        if let Some(transform) = &self.transform {
            filter = filter.transform(transform);
        }
        if let Some(offsets) = &self.offsets {
            filter = filter.offsets(offsets.clone());
        }
        match self.limit {
            Some(limit) => filter.limit(limit),
            None => filter,
        }
    }
}

/// Does something to a table of a store that nobody else writes to.
fn at<T>(place: &Place, work: impl FnOnce(&Table) -> alluvium::Result<T>) -> Outcome<T> {
    let store = open_to_write(&place.store, false)?;
    let done = work(&store.table(&place.table)?)?;
    store.close()?;
    Ok(done)
}

fn letters(number: u64) -> String {
    let noun = if number == 1 { "letter" } else { "letters" };
    format!("{} dead {noun}", count(number))
}

/// Reads `100..200`.
fn parse_offsets(text: &str) -> Result<Range<u64>, String> {
    let range = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    range.ok_or_else(|| "write FROM..TO, as 100..200".to_owned())
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
