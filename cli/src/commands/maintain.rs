//! `alluvium maintain`.

use alluvium::MaintenanceStatus;

use super::each_table;
use crate::args::Scope;
use crate::failure::Outcome;
use crate::output::{bytes, count, rows};

/// Merge small fragments, keep indices up and remove old versions of the lake now, and exit
///
/// `alluvium run`, and every program that has the store open, does the same by itself; this is for
/// stores that nobody keeps open, or for those in a hurry. Readers of the lake are not disturbed, but for those
/// that read a version which is removed as older than the table keeps them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    scope: Scope,
}

const EXAMPLE: &str = "\
Example:
  alluvium maintain ./store photos";

impl Args {
    /// Maintains the tables' lakes.
    pub(crate) fn run(self) -> Outcome {
        each_table(&self.scope, |table| {
            Ok(told(table.name(), &table.maintain()?))
        })
    }
}

/// What was done, in one line.
fn told(table: &str, status: &MaintenanceStatus) -> String {
    let mut told = format!(
        "{table}: {} fragments merged, {} old versions removed, {} freed; {} in {} fragments of {}",
        count(status.fragments_merged),
        count(status.versions_removed),
        bytes(status.bytes_removed),
        rows(status.lake_rows),
        count(status.fragments),
        bytes(status.lake_bytes),
    );
    for index in &status.indices {
        told += &format!("; index {} {}", index.name, super::index::coverage(index));
    }
    told
}
