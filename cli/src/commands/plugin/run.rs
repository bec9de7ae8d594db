//! `alluvium plugin run`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use alluvium::transform::{
    BoundTransform, Chain, Grant, Limits, OnError, Plugin, TransformSpec, Transformed,
    resolve_plugin,
};
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};
use serde_json::{Value, json};

use super::super::plugin_host;
use super::parse_config;
use crate::args::parse_pair;
use crate::batches::{Form, Printer};
use crate::columns::{parse_column, schema};
use crate::failure::{Failure, Outcome};
use crate::input::{self, Options, Source};
use crate::output::{Output, count, plain, rows};
use crate::output_file::OutputFile;

/// How many rows are read before they are given to the plugin.
const BATCH_ROWS: usize = 8192;
/// And how many bytes.
const BATCH_BYTES: usize = 8 << 20;

/// Apply a component to a file's rows, and show what it makes of them
///
/// The rows go through the plugin as they would on their way to a lake: in the same sandbox, within
/// the same limits, checked in the same way. No store is needed. Rows that fail are told on standard
/// error with their number and the reason, and are not in the result; RUST_LOG=info shows what the
/// plugin logs.
///
/// The input is a .jsonl, .ndjson, .csv, .parquet, .arrow, .arrows or .feather file, a directory whose
/// files are the rows, or - for an Arrow IPC stream. The columns' types are the file's; for text
/// formats they are guessed from the first rows, unless --column says them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// The component's file, or the name of a standard plugin
    plugin: String,
    /// Where the rows come from
    input: PathBuf,
    /// The configuration, a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_config)]
    config: Option<Value>,
    /// A file that the plugin may load, as tokenizer.json=model/tokenizer.json
    #[arg(long = "asset", value_name = "NAME=FILE", value_parser = parse_pair)]
    assets: Vec<(String, String)>,
    /// Something of the system that the plugin may use: clocks or random
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,
    /// A column to read from the input; needed for a directory and for standard input
    #[arg(long = "column", value_name = "NAME:TYPE", value_parser = parse_column)]
    columns: Vec<Field>,
    /// Write the result to a .parquet or .arrow file, in place of one that is there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "csv"])]
    output: Option<PathBuf>,
    /// Print one JSON object a row, a line each
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values with a header
    #[arg(long)]
    csv: bool,
    /// End with a failure when a row failed
    #[arg(long)]
    strict: bool,
}

const EXAMPLE: &str = "\
Example:
  alluvium plugin run embed-text notes.jsonl --asset tokenizer.json=model/tokenizer.json \\
    --asset model.safetensors=model/model.safetensors --asset config.json=model/config.json";

impl Args {
    /// Applies the plugin and prints or writes what it makes.
    pub(crate) fn run(self) -> Outcome {
        let options = Options {
            schema: self.schema()?,
            limits: input::Limits {
                rows: BATCH_ROWS,
                bytes: BATCH_BYTES,
            },
            ignore_unknown: true,
        };
        let source = Source::find(&self.input, &options)?;
        let mut chain = self.chain(Arc::clone(&options.schema))?;
        let mut output = Output::new();
        let mut sink = self.sink(chain.output_schema(), &mut output)?;
        let mut tally = Tally::default();
        for batch in source.open(&options)? {
            let batch = batch?;
            let made = chain.apply(&batch)?;
            tally.add(&batch, &made);
            sink.write(&made.batch)?;
        }
        sink.finish()?;
        eprintln!("{tally}");
        match tally.failed {
            failed if self.strict && failed > 0 => Err(Failure::new(format!(
                "the plugin failed on {}",
                rows(failed)
            ))),
            _ => Ok(()),
        }
    }

    /// The input's columns: those that were said, or else the file's own.
    fn schema(&self) -> Outcome<SchemaRef> {
        match self.columns.as_slice() {
            [] => Ok(input::schema_of(&self.input)?),
            columns => schema(columns).map_err(Failure::new),
        }
    }

    /// The plugin, open.
    fn chain(&self, schema: SchemaRef) -> Outcome<Chain> {
        let path = resolve_plugin(&self.plugin, &[])?;
        let binary = std::fs::read(&path)
            .map_err(|error| Failure::of(format_args!("cannot read {}", path.display()), &error))?;
        let host = plugin_host()?;
        let plugin = Plugin::compile(&host, &self.plugin, &binary)?;
        let spec = TransformSpec {
            name: self.plugin.clone(),
            plugin: self.plugin.clone(),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            config: self.config.clone().unwrap_or_else(|| json!({})),
            assets: self
                .assets
                .iter()
                .map(|(name, file)| (name.clone(), PathBuf::from(file)))
                .collect(),
            grants: self.grants.iter().copied().collect(),
            on_error: OnError::DeadLetter,
        };
        let bound = BoundTransform::new(spec, plugin);
        Ok(Chain::new(&host, schema, vec![bound], Limits::default())?)
    }

    fn sink<'o>(&self, schema: SchemaRef, output: &'o mut Output) -> Outcome<Sink<'o>> {
        if let Some(path) = &self.output {
            return Ok(Sink::File(OutputFile::create(path, &schema)?));
        }
        let form = match (self.json, self.csv) {
            (true, _) => Form::Json,
            (_, true) => Form::Csv,
            _ => Form::Table,
        };
        Ok(Sink::Printer(Printer::new(form, schema, output)))
    }
}

/// Where the rows go.
enum Sink<'o> {
    Printer(Printer<'o>),
    File(OutputFile),
}

impl Sink<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Outcome {
        match self {
            Self::Printer(printer) => printer.write(batch),
            Self::File(file) => file.write(batch),
        }
    }

    fn finish(self) -> Outcome {
        match self {
            Self::Printer(printer) => printer.finish(),
            Self::File(file) => file.finish(),
        }
    }
}

/// What became of the rows.
#[derive(Debug, Default)]
struct Tally {
    read: u64,
    made: u64,
    filtered: u64,
    failed: u64,
}

impl Tally {
    /// Counts a batch, and tells of the rows that failed.
    fn add(&mut self, batch: &RecordBatch, made: &Transformed) {
        for failure in &made.failures {
            let row = self.read + u64::from(failure.row) + 1;
            eprintln!("row {row}: {}", plain(&failure.message));
        }
        self.read += batch.num_rows() as u64;
        self.made += made.batch.num_rows() as u64;
        self.filtered += u64::from(made.filtered);
        self.failed += made.failures.len() as u64;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} read, {} made", rows(self.read), count(self.made))?;
        for (number, what) in [(self.filtered, "filtered"), (self.failed, "failed")] {
            if number > 0 {
                write!(f, ", {} {what}", count(number))?;
            }
        }
        Ok(())
    }
}
