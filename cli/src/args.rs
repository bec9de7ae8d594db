//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use alluvium::Durability;
use clap::{Parser, Subcommand};

use crate::commands::{
    alter, bench, create, dead_letters, index, ingest, maintain, plugin, query, run, search,
    status, tier, transforms, verify,
};

/// An embedded storage engine: an append-only log, sandboxed transforms, and a Lance dataset
///
/// Rows are appended to a table's log, where they are safe at once; transforms, which are
/// WebAssembly components, make new columns of them; and a background thread settles both into a
/// Lance dataset, the lake, which any tool that knows Lance can read.
///
/// A store is a directory. One process writes to it at a time (ingest, tier or run); status,
/// verify, dead-letters, query and search work beside it.
#[derive(Debug, Parser)]
#[command(name = "alluvium", version, after_help = EXAMPLE, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLE: &str = "\
Example: a folder of photos becomes a Lance dataset
  alluvium create ./store photos --column path:utf8 --column image:binary
  alluvium ingest ./store photos ~/Pictures
  alluvium tier   ./store
  alluvium query  ./store \"SELECT path, image FROM photos LIMIT 5\"

Exit status: 0 when all went well, 1 when something failed (one line on standard error says what),
2 when the command line is wrong. RUST_LOG=info shows more of what the engine does.
ALLUVIUM_PLUGIN_CACHE names a directory that keeps compiled plugins for all stores, in place of a
cache in each; without it, plugin run and check compile each time.";

/// What to do.
// The variants have no texts of their own: these would stand in place of the longer ones that the
// arguments' types have.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(Box<create::Args>),
    Alter(alter::Args),
    Ingest(ingest::Args),
    Tier(tier::Args),
    Run(run::Args),
    Status(status::Args),
    Verify(verify::Args),
    DeadLetters(dead_letters::Args),
    Maintain(maintain::Args),
    #[command(subcommand)]
    Index(index::Command),
    Query(query::Args),
    Search(search::Args),
    Bench(bench::Args),
    #[command(subcommand)]
    Transforms(transforms::Command),
    #[command(subcommand)]
    Plugin(plugin::Command),
}

/// The store and the table that most commands name.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The store's directory
    pub(crate) store: PathBuf,
    /// The table's name
    pub(crate) table: String,
}

/// A store, and a table where only one is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Scope {
    /// The store's directory
    pub(crate) store: PathBuf,
    /// The table's name; all tables when it is left out
    pub(crate) table: Option<String>,
}

/// Reads `30s`, `5m`, `1h 30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and its unit, as 500ms, 30s, 5m or 1h"))
}

/// Reads `4MiB`, `64KiB`, `1GiB`, the same of powers of ten (`64KB`), or a number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let unit = units
        .iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (number, size) = unit.unwrap_or((text, 1));
    let bytes = number
        .trim()
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(size));
    bytes.ok_or_else(|| "write a number of bytes, as 64KiB, 16MiB or 1GiB".to_owned())
}

/// Reads `buffered`, `interval`, `interval=250ms` or `sync`.
pub(crate) fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "buffered" => Ok(Durability::Buffered),
        "interval" => Ok(Durability::default()),
        "sync" => Ok(Durability::Sync),
        _ => match text.strip_prefix("interval=") {
            Some(interval) => match parse_duration(interval)? {
                Duration::ZERO => Err("an interval of 0 is no interval; write sync".to_owned()),
                interval => Ok(Durability::Interval(interval)),
            },
            None => Err("write buffered, interval, interval=250ms or sync".to_owned()),
        },
    }
}

/// Reads `KEY=VALUE`; the value may hold further equal signs.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_teaches_by_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command
            .get_subcommands()
            .filter(|sub| !sub.has_subcommands())
        {
            let mut sub = sub.clone();
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
            let (about, _) = help.split_once("Usage:").unwrap();
            assert!(
                about.trim().contains("\n\n"),
                "more than one paragraph: {about}"
            );
        }
    }

    #[test]
    fn durability_and_durations_are_read() {
        assert_eq!(parse_durability("sync"), Ok(Durability::Sync));
        assert_eq!(
            parse_durability("interval=250ms"),
            Ok(Durability::Interval(Duration::from_millis(250)))
        );
        assert!(
            parse_durability("interval=0s")
                .unwrap_err()
                .contains("write sync")
        );
        assert!(parse_durability("fast").is_err());
        assert_eq!(parse_bytes("16MiB"), Ok(16 << 20));
        assert_eq!(parse_bytes("64KB"), Ok(64_000));
        assert!(parse_bytes("many").is_err());
        assert!(parse_duration("30").unwrap_err().contains("unit"));
        assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse_pair("=b").is_err());
    }
}
