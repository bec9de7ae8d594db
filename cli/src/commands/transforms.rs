//! `alluvium transforms`.

use std::path::{Path, PathBuf};

use alluvium::TransformSpec;
use alluvium::transform::parse_transforms_toml;

use super::{open_to_read, open_to_write};
use crate::args::Place;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, count, plain, rows, table};

/// Show a table's transforms, or give it others
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Show(Show),
    Set(Set),
    Backfill(Backfill),
    MadeBy(MadeBy),
}

/// Show the transforms that a table's rows go through
///
/// Each with its plugin, and the version and the SHA-256 of the component, as the commits in the lake have them, and what
/// it was granted of the system: time, random numbers, files.
#[derive(Debug, clap::Args)]
#[command(after_long_help = SHOW_EXAMPLE)]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
}

/// Give a table other transforms
///
/// Their components are copied into the store, compiled and checked against the table's columns first;
/// if that fails the old ones go on. They make what is not transformed yet; the lake keeps its columns and
/// gets the new ones, null in the rows that it has. A program that has the store open replaces them
/// while it appends, by Table::replace_transforms; this command is for a store that nobody writes to.
#[derive(Debug, clap::Args)]
#[command(after_long_help = SET_EXAMPLE)]
pub(crate) struct Set {
    #[command(flatten)]
    place: Place,
    /// A TOML file with the transforms; its paths start at its directory. An empty one takes all away
    file: PathBuf,
}

/// Let a transform make its columns for the rows that are in the lake already
///
/// Those of before the table had it, and those of before its plugin, its configuration or a transform before it was another.
/// Rows that it fails on or filters keep what they have. A fragment of the lake at a time: when it is interrupted, the same
/// command goes on where it stopped. Transforms that make several rows of one, or that read what they overwrite, can't.
#[derive(Debug, clap::Args)]
#[command(after_long_help = BACKFILL_EXAMPLE)]
pub(crate) struct Backfill {
    #[command(flatten)]
    place: Place,
    /// The transform's name
    transform: String,
}

/// Show which versions of which plugins made how many rows of the lake
#[derive(Debug, clap::Args)]
#[command(after_long_help = MADE_BY_EXAMPLE)]
pub(crate) struct MadeBy {
    #[command(flatten)]
    place: Place,
}

const BACKFILL_EXAMPLE: &str = "\
Example:
  alluvium transforms set ./store photos transforms.toml
  alluvium transforms backfill ./store photos thumbnail";

const MADE_BY_EXAMPLE: &str = "\
Example:
  alluvium transforms made-by ./store photos";

const SHOW_EXAMPLE: &str = "\
Example:
  alluvium transforms show ./store photos";

const SET_EXAMPLE: &str = "\
Example:
  alluvium transforms set ./store photos transforms.toml";

impl Command {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Show(args) => args.run(),
            Self::Set(args) => args.run(),
            Self::Backfill(args) => args.run(),
            Self::MadeBy(args) => args.run(),
        }
    }
}

impl Show {
    fn run(self) -> Outcome {
        let status = open_to_read(&self.place.store)?
            .table(&self.place.table)?
            .status()?;
        let mut output = Output::new();
        if status.transforms.is_empty() {
            output.line("the table has no transforms")?;
            return output.flush();
        }
        let mut told = table(["transform", "plugin", "version", "sha256", "may use"]);
        for transform in &status.transforms {
            let assets = transform.assets.iter().map(String::as_str);
            let granted: Vec<&str> = transform.grants.iter().copied().chain(assets).collect();
            told.add_row([
                plain(&transform.name),
                plain(&transform.plugin),
                plain(transform.version.as_deref().unwrap_or("")),
                transform.sha256.clone(),
                plain(&granted.join(", ")),
            ]);
        }
        output.line(told.trim_fmt())?;
        output.flush()
    }
}

impl Set {
    fn run(self) -> Outcome {
        let transforms = read_transforms(&self.file)?;
        let store = open_to_write(&self.place.store, false)?;
        store
            .table(&self.place.table)?
            .replace_transforms(&transforms)?;
        store.close()?;
        let names: Vec<&str> = transforms.iter().map(|spec| spec.name.as_str()).collect();
        let mut output = Output::new();
        output.line(match names.is_empty() {
            true => format!("table {} has no transforms any more", self.place.table),
            false => format!(
                "table {} has the transforms {}",
                self.place.table,
                names.join(", ")
            ),
        })?;
        output.flush()
    }
}

impl Backfill {
    fn run(self) -> Outcome {
        let store = open_to_write(&self.place.store, false)?;
        let report = store.table(&self.place.table)?.backfill(&self.transform)?;
        store.close()?;
        let mut output = Output::new();
        if report.fragments == 0 {
            output.line("there was nothing to make anew")?;
            return output.flush();
        }
        output.line(format_args!(
            "{} of {} in {} fragments made anew, {} kept what they had",
            report.columns.join(", "),
            rows(report.rows),
            count(report.fragments),
            count(report.kept),
        ))?;
        if let Some(failure) = &report.first_failure {
            output.line(format_args!("the first failure: {}", plain(failure)))?;
        }
        output.flush()
    }
}

impl MadeBy {
    fn run(self) -> Outcome {
        let made = open_to_read(&self.place.store)?
            .table(&self.place.table)?
            .made_by()?;
        let mut output = Output::new();
        let mut told = table(["transform", "plugin", "version", "sha256", "rows", "share"]);
        for made in &made {
            told.add_row([
                plain(made.transform.as_deref().unwrap_or("(none)")),
                plain(&made.plugin),
                plain(made.version.as_deref().unwrap_or("")),
                made.sha256.clone(),
                count(made.rows),
                format!("{:.1} %", made.share * 100.0),
            ]);
        }
        output.line(told.trim_fmt())?;
        output.flush()
    }
}

/// Reads a file of transforms.
pub(crate) fn read_transforms(path: &Path) -> Outcome<Vec<TransformSpec>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::of(format_args!("cannot read {}", path.display()), &error))?;
    let base = path.parent().unwrap_or(Path::new(""));
    parse_transforms_toml(&text, base).map_err(|error| Failure::of(path.display(), &error))
}
