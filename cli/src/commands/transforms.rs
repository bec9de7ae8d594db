//! `alluvium transforms`.

use std::path::{Path, PathBuf};

use alluvium::TransformSpec;
use alluvium::transform::parse_transforms_toml;

use super::{open_to_read, open_to_write};
use crate::args::Place;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, plain, table};

/// Show a table's transforms, or give it others
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Show(Show),
    Set(Set),
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
        let mut rows = table(["transform", "plugin", "version", "sha256", "may use"]);
        for transform in &status.transforms {
            let assets = transform.assets.iter().map(String::as_str);
            let granted: Vec<&str> = transform.grants.iter().copied().chain(assets).collect();
            rows.add_row([
                plain(&transform.name),
                plain(&transform.plugin),
                plain(transform.version.as_deref().unwrap_or("")),
                transform.sha256.clone(),
                plain(&granted.join(", ")),
            ]);
        }
        output.line(rows.trim_fmt())?;
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

/// Reads a file of transforms.
pub(crate) fn read_transforms(path: &Path) -> Outcome<Vec<TransformSpec>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::of(format_args!("cannot read {}", path.display()), &error))?;
    let base = path.parent().unwrap_or(Path::new(""));
    parse_transforms_toml(&text, base).map_err(|error| Failure::of(path.display(), &error))
}
