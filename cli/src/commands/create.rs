//! `alluvium create`.

use std::path::PathBuf;
use std::time::Duration;

use alluvium::{Durability, Maintenance, TableOptions, WhenFull};
use arrow::datatypes::Field;

use super::store_options;
use super::transforms::read_transforms;
use crate::args::{parse_bytes, parse_durability, parse_duration, parse_pair};
use crate::columns::{describe, parse_column, schema};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// Create a table, and the store if there is none
///
/// A table has columns, perhaps transforms that make further ones, and a lake: the Lance dataset
/// into which its rows settle, beside __bucket, __offset and __timestamp.
///
/// Types: bool, int32, int64, float32, float64, utf8, binary, timestamp (microseconds, UTC) and
/// vector[N] (N float32 numbers). A question mark after the type lets the column be null.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// The store's directory; created when there is none
    store: PathBuf,
    /// The new table's name
    table: String,
    /// A column, as caption:utf8? or embedding:vector[256]; once for each column, in their order
    #[arg(long = "column", value_name = "NAME:TYPE", value_parser = parse_column, required = true)]
    columns: Vec<Field>,
    /// A TOML file with the transforms that make further columns; its paths start at its directory
    #[arg(long, value_name = "FILE.toml")]
    transforms: Option<PathBuf>,
    /// Where the lake is: a path, or a URI as s3://bucket/path. By default in the store
    ///
    /// az:// and gs:// too, if the command was built with the features azure and gcp.
    #[arg(long, value_name = "URI")]
    lake: Option<String>,
    /// An option of the lake's storage, as region=eu-west-1
    ///
    /// A value env:NAME is read from the environment whenever the lake is opened, so that a secret
    /// is not written into the store: aws_secret_access_key=env:AWS_SECRET_ACCESS_KEY.
    #[arg(long = "storage-option", value_name = "KEY=VALUE", value_parser = parse_pair)]
    storage_options: Vec<(String, String)>,
    /// Allow storage options that hold a secret to be written into the store
    #[arg(long)]
    secrets_in_clear: bool,
    /// How old a row may grow before it is settled into the lake, as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    freshness: Option<Duration>,
    /// What an acknowledged append survives: buffered, interval, interval=250ms or sync
    ///
    /// All modes survive the death of the process. buffered promises nothing about power loss;
    /// interval loses at most the last interval (100 ms by default); sync loses nothing.
    #[arg(long, value_name = "MODE", value_parser = parse_durability)]
    durability: Option<Durability>,
    /// The size of a segment file, which a table's log has at least one of: 128MiB by default
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    segment_size: Option<u64>,
    /// The bytes that the table's log may take on disk; no limit but the disk's by default
    ///
    /// A log that is full takes no more rows before tiering has made room; nothing is dropped.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    max_log_size: Option<u64>,
    /// How long an append waits for room in a full log before it fails; 0s: not at all. 60s by default
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait_when_full: Option<Duration>,
    /// Keep rows in the log, though they are tiered, until they are that old
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    retain_age: Option<Duration>,
    /// Keep tiered segments of that many bytes in the log at most
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    retain_size: Option<u64>,
    /// How many small neighbouring fragments of the lake are merged into one, 2 at least: 8 by default
    #[arg(long, value_name = "N")]
    merge_at: Option<usize>,
    /// How long a version of the lake is kept once there is a newer one: 1h by default
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    keep_versions_for: Option<Duration>,
    /// How many versions of the lake are kept at most: 1000 by default
    #[arg(long, value_name = "N")]
    keep_versions: Option<usize>,
    /// How old a file of the lake must be that no version names before it is removed: 24h by default
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    orphans_after: Option<Duration>,
    /// Leave merging, indexing and cleanup to `alluvium maintain`, or to another engine of the same lake
    #[arg(long)]
    no_maintenance: bool,
    /// A binary column that a new lake keeps as blobs: large values in files of their own; once for each column
    #[arg(long = "blob", value_name = "COLUMN")]
    blobs: Vec<String>,
    /// From which size on a value of a blob column lies outside of the data file; without --blob, of every binary column
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    blobs_above: Option<u64>,
    /// The version of Lance's file format that a new lake is written in: 2.0, 2.1, 2.2 (the default) or 2.3
    #[arg(long, value_name = "VERSION")]
    storage_version: Option<String>,
    /// The rows' __bucket in the lake, which tells tables apart that share one dataset
    #[arg(long, value_name = "N", default_value_t = 0)]
    bucket: i32,
}

const EXAMPLE: &str = "\
Example:
  alluvium create ./store photos --column path:utf8 --column caption:utf8? --column image:binary \\
    --transforms transforms.toml --freshness 10s

A transforms file:
  [[transform]]
  name = \"thumbnail\"
  plugin = \"resize-image\"              # a standard plugin, or a path to a component
  inputs = { image = \"image\" }         # the plugin's column = the table's column
  outputs = { image = \"thumbnail\" }
  config = { width = 128, height = 128, fit = \"inside\", format = \"jpeg\" }
  on_error = \"dead-letter\"             # dead-letter | null | fail";

impl Args {
    /// Creates the table.
    pub(crate) fn run(self) -> Outcome {
        let schema = schema(&self.columns).map_err(Failure::new)?;
        let mut options = TableOptions::new(schema)
            .bucket(self.bucket)
            .maintenance(self.maintenance())
            .blob_columns(self.blobs)
            .secrets_in_clear(self.secrets_in_clear);
        if let Some(path) = &self.transforms {
            options = options.transforms(read_transforms(path)?);
        }
        if let Some(lake) = self.lake {
            options = options.lake(lake);
        }
        for (key, value) in self.storage_options {
            options = options.storage_option(key, value);
        }
        if let Some(freshness) = self.freshness {
            options = options.freshness(freshness);
        }
        if let Some(bytes) = self.segment_size {
            options = options.segment_bytes(bytes);
        }
        if let Some(durability) = self.durability {
            options = options.durability(durability);
        }
        if let Some(bytes) = self.max_log_size {
            options = options.max_log_bytes(bytes);
        }
        if let Some(patience) = self.wait_when_full {
            options = options.when_full(match patience.is_zero() {
                true => WhenFull::Fail,
                false => WhenFull::Block(patience),
            });
        }
        if let Some(bytes) = self.blobs_above {
            options = options.blobs_above(bytes);
        }
        if let Some(version) = self.storage_version {
            options = options.storage_version(version);
        }
        if let Some(age) = self.retain_age {
            options = options.retain_age(age);
        }
        if let Some(bytes) = self.retain_size {
            options = options.retain_bytes(bytes);
        }
        let store = store_options()
            .create(true)
            .tiering(false)
            .open(&self.store)?;
        let table = store.create_table(&self.table, options)?;
        let lake = table.lake_uri().to_string();
        drop(table);
        store.close()?;

        let columns: Vec<String> = self.columns.iter().map(describe).collect();
        let mut output = Output::new();
        output.line(format_args!(
            "created table {} with {}",
            self.table,
            columns.join(", ")
        ))?;
        output.line(format_args!("its lake is {lake}"))?;
        output.line(format_args!(
            "append to it with: alluvium ingest {} {} PATH...",
            self.store.display(),
            self.table
        ))?;
        output.flush()
    }

    /// The defaults, and what was said otherwise.
    fn maintenance(&self) -> Maintenance {
        let mut policy = Maintenance::default().in_background(!self.no_maintenance);
        if let Some(fragments) = self.merge_at {
            policy = policy.merge_at(fragments);
        }
        if let Some(age) = self.keep_versions_for {
            policy = policy.keep_versions_for(age);
        }
        if let Some(versions) = self.keep_versions {
            policy = policy.keep_versions(versions);
        }
        if let Some(age) = self.orphans_after {
            policy = policy.orphans_after(age);
        }
        policy
    }
}
