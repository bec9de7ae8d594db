//! `alluvium index`.

use alluvium::{IndexKind, IndexStatus};

use super::{open_to_read, open_to_write};
use crate::args::Place;
use crate::failure::Outcome;
use crate::output::{Output, count, plain, table};

/// Show, create or drop the indices of a table's lake
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    List(List),
    Create(Create),
    Drop(Drop),
}

/// Show the indices that a table's lake has or is to have
///
/// Each with the rows that it has and those that it lacks, as of the last pass of maintenance.
#[derive(Debug, clap::Args)]
#[command(after_long_help = LIST_EXAMPLE)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
}

/// Have a table's lake keep an index of a column
///
/// It is built by `alluvium run`, `alluvium maintain` or any program that has the store open, once there are
/// rows enough for it to pay (10,000 for vectors, 4096 otherwise), and then extended as rows arrive.
#[derive(Debug, clap::Args)]
#[command(after_long_help = CREATE_EXAMPLE)]
pub(crate) struct Create {
    #[command(flatten)]
    place: Place,
    /// A column of the lake
    column: String,
    /// auto, ivf_pq or ivf_hnsw (vectors), btree, bitmap, full_text
    #[arg(long, default_value = "auto")]
    kind: IndexKind,
}

/// Drop an index from a table's lake
///
/// Searches and filters that used it look at every row from then on.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DROP_EXAMPLE)]
pub(crate) struct Drop {
    #[command(flatten)]
    place: Place,
    /// The index, as `alluvium index list` names it
    name: String,
}

const LIST_EXAMPLE: &str = "\
Example:
  alluvium index list ./store photos";

const CREATE_EXAMPLE: &str = "\
Example:
  alluvium index create ./store photos vector
  alluvium index create ./store photos caption --kind full_text";

const DROP_EXAMPLE: &str = "\
Example:
  alluvium index drop ./store photos vector_auto";

impl Command {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::List(args) => args.run(),
            Self::Create(args) => args.run(),
            Self::Drop(args) => args.run(),
        }
    }
}

impl List {
    fn run(self) -> Outcome {
        let store = open_to_read(&self.place.store)?;
        let status = store.table(&self.place.table)?.status()?;
        let mut output = Output::new();
        if status.indices.is_empty() {
            output.line("the table has no indices")?;
            return output.flush();
        }
        let mut shown = table(["index", "column", "kind", "rows"]);
        for index in &status.indices {
            shown.add_row([
                plain(&index.name),
                plain(&index.column),
                index.kind.to_string(),
                coverage(index),
            ]);
        }
        output.line(shown.trim_fmt())?;
        output.flush()
    }
}

impl Create {
    fn run(self) -> Outcome {
        let store = open_to_write(&self.place.store, false)?;
        let table = store.table(&self.place.table)?;
        table.create_index(&self.column, self.kind)?;
        store.close()?;
        Ok(())
    }
}

impl Drop {
    fn run(self) -> Outcome {
        let store = open_to_write(&self.place.store, false)?;
        store.table(&self.place.table)?.drop_index(&self.name)?;
        store.close()?;
        Ok(())
    }
}

/// How much of the lake an index has.
pub(crate) fn coverage(index: &IndexStatus) -> String {
    match index.segments {
        0 => "not built yet".to_owned(),
        _ => format!(
            "has {} of {}",
            count(index.indexed_rows),
            count(index.indexed_rows + index.unindexed_rows)
        ),
    }
}
