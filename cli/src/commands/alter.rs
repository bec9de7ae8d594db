//! `alluvium alter`.

use alluvium::Alteration;
use arrow::datatypes::Field;

use super::open_to_write;
use crate::args::Place;
use crate::columns::{describe, parse_column};
use crate::failure::Outcome;
use crate::output::Output;

/// Add, widen and drop columns of a table
///
/// All of it or, on an error, nothing; dropping comes first, then widening, then adding. Rows that are
/// there already are read under the new columns, in the log and in the lake: added ones are null in
/// them, values of widened ones are cast, dropped ones are gone.
///
/// int32 can be widened to int64, and float32 to float64. An added column must be one that may be
/// null: caption:utf8?. Its transforms go on with the new columns; one that a transform reads can't be
/// dropped. A program that has the store open alters a table while it appends, by Table::alter; this
/// command is for a store that nobody writes to.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
#[command(group(clap::ArgGroup::new("alteration").required(true).multiple(true)))]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// A column to add, as caption:utf8?; once for each
    #[arg(long = "add", group = "alteration", value_name = "NAME:TYPE?", value_parser = parse_column)]
    added: Vec<Field>,
    /// A column and its wider type, as count:int64; once for each
    #[arg(long = "widen", group = "alteration", value_name = "NAME:TYPE", value_parser = parse_column)]
    widened: Vec<Field>,
    /// A column to drop; once for each
    #[arg(long = "drop", group = "alteration", value_name = "NAME")]
    dropped: Vec<String>,
}

const EXAMPLE: &str = "\
Example:
  alluvium alter ./store photos --add caption:utf8? --widen views:int64 --drop path";

impl Args {
    /// Alters the table.
    pub(crate) fn run(self) -> Outcome {
        let dropped = self.dropped.into_iter().map(Alteration::Drop);
        let widened = self.widened.into_iter().map(|field| Alteration::Widen {
            column: field.name().clone(),
            to: field.data_type().clone(),
        });
        let added = self.added.into_iter().map(Alteration::Add);
        let alterations: Vec<_> = dropped.chain(widened).chain(added).collect();
        let store = open_to_write(&self.place.store, false)?;
        let table = store.table(&self.place.table)?;
        table.alter(&alterations)?;
        let schema = table.schema();
        drop(table);
        store.close()?;
        let columns: Vec<_> = schema.fields().iter().map(|f| describe(f)).collect();
        let mut output = Output::new();
        output.line(format_args!(
            "table {} has {}",
            self.place.table,
            columns.join(", ")
        ))?;
        output.flush()
    }
}
