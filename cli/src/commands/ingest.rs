//! `alluvium ingest`.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use alluvium::Table;
use indicatif::ProgressBar;
use serde_json::json;

use super::open_to_write;
use crate::args::Place;
use crate::failure::{Failure, Outcome};
use crate::input::{InputError, Limits, Options, Source, batch_bytes};
use crate::output::{Output, bytes, bytes_bar, rows, span};
use crate::signals::Stop;

/// How many bytes are read before they are appended.
const BATCH_BYTES: usize = 8 << 20;

/// Append the rows of files, directories or standard input to a table
///
/// A path is read by what it is:
///
///   .jsonl .ndjson           one JSON object a line
///   .csv                     comma-separated values with a header
///   .parquet                 a Parquet file
///   .arrow .arrows .feather  an Arrow IPC file or stream
///   -                        an Arrow IPC stream on standard input
///   a directory              each file in it, however deep, is a row: its bytes go into the
///                            table's one binary column, its path into the utf8 column "path" if
///                            there is one; hidden files are skipped, and all other columns must
///                            be nullable
///
/// Columns are found by name, in any order. A column that is missing is null, if it may be; one that
/// the table does not have is an error, unless --ignore-unknown is given. Types are converted: a
/// value that does not fit is an error and never a null (a number in a float column is rounded to
/// it, a timestamp cut to microseconds).
///
/// In JSON and CSV a binary value is base64, or "@file" for the content of a file, whose path starts
/// at the directory of the .jsonl or .csv (base64 has no @, so nothing needs escaping; any file that
/// you may read can be named). A timestamp is 2026-01-31T12:00:00Z or a number of microseconds, a
/// vector an array of numbers. An empty CSV field is null, or an empty text where the column is utf8
/// and may not be null.
///
/// A bad line is reported with its number. Everything before it is appended and synced, and nothing
/// after it; the exit status is 1. Interrupting has the same effect; a second interrupt ends at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE, verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Files, directories, or - for an Arrow IPC stream on standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How many rows at most are appended at once; 8 MiB end a batch too
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_rows: u32,
    /// Pass over columns that the table does not have
    #[arg(long)]
    ignore_unknown: bool,
    /// Print {"from":0,"to":4096} once those offsets are as safe as the table's durability promises,
    /// and {"rows":..,"bytes":..,"seconds":..} at the end, a line each
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  alluvium ingest ./store photos ~/Pictures
  alluvium ingest ./store events events-*.parquet more.jsonl
  producer | alluvium ingest ./store events -";

/// What was appended.
#[derive(Debug, Default)]
struct Appended {
    rows: u64,
    bytes: u64,
    offsets: Option<Range<u64>>,
}

impl Appended {
    fn add(&mut self, offsets: Range<u64>, bytes: u64) {
        self.rows += offsets.end - offsets.start;
        self.bytes += bytes;
        let start = self.offsets.as_ref().map_or(offsets.start, |all| all.start);
        self.offsets = Some(start..offsets.end);
    }

    fn range(&self) -> String {
        self.offsets.as_ref().map_or_else(String::new, |all| {
            format!("offsets {}..{}", all.start, all.end)
        })
    }

    /// What a failure leaves behind, for its message.
    fn kept(&self) -> String {
        if self.rows == 0 {
            return "nothing was appended".to_owned();
        }
        format!(
            "the {} before it {} kept ({})",
            rows(self.rows),
            if self.rows == 1 { "is" } else { "are" },
            self.range()
        )
    }
}

impl Args {
    /// Appends the rows.
    pub(crate) fn run(self) -> Outcome {
        let stop = Stop::listen()?;
        let store = open_to_write(&self.place.store, true)?;
        let table = store.table(&self.place.table)?;
        let options = Options {
            schema: table.schema(),
            limits: Limits {
                rows: usize::try_from(self.batch_rows).unwrap_or(usize::MAX),
                bytes: BATCH_BYTES,
            },
            ignore_unknown: self.ignore_unknown,
        };
        // All of them first: a name that is mistyped is told before anything is appended.
        let sources = self
            .paths
            .iter()
            .map(|path| Source::find(path, &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::new(error.to_string()))?;

        let start = Instant::now();
        let mut work = Work {
            table: &table,
            options,
            stop: &stop,
            bar: bytes_bar(sources.iter().map(Source::size).sum()),
            acknowledgements: self.json.then(Output::new),
            appended: Appended::default(),
        };
        let mut before = 0;
        let result = sources.iter().try_for_each(|source| {
            work.append(source, before)?;
            before += source.size().unwrap_or(0);
            Ok(())
        });
        work.bar.finish_and_clear();
        let appended = work.appended;
        // What came before an error is made as safe as the rest.
        let result = result.and(table.sync().map_err(Failure::from));
        drop(table);
        let result = result.and(store.close().map_err(Failure::from));
        match result {
            Ok(()) => self.summary(&appended, start),
            Err(Failure::Message(text)) => {
                Err(Failure::Message(format!("{text}; {}", appended.kept())))
            }
            Err(Failure::Pipe) => Err(Failure::Pipe),
        }
    }

    fn summary(&self, appended: &Appended, start: Instant) -> Outcome {
        let time = start.elapsed();
        let mut output = Output::new();
        if self.json {
            output.json(&json!({
                "rows": appended.rows,
                "bytes": appended.bytes,
                "seconds": time.as_secs_f64(),
            }))?;
            return output.flush();
        }
        let mut text = format!(
            "{} ({}) in {}",
            rows(appended.rows),
            bytes(appended.bytes),
            span(time)
        );
        if appended.rows > 0 {
            text = format!("{text}; {}", appended.range());
        }
        output.line(text)?;
        output.line(format_args!(
            "to settle them in the lake now: alluvium tier {} {}",
            self.place.store.display(),
            self.place.table
        ))?;
        output.flush()
    }
}

/// Appending, source after source.
struct Work<'a> {
    table: &'a Table,
    options: Options,
    stop: &'a Stop,
    bar: ProgressBar,
    /// Where appends are acknowledged, until nobody reads it any more.
    acknowledgements: Option<Output>,
    appended: Appended,
}

impl Work<'_> {
    /// Appends one source's rows; the bar stands at `before` when it begins.
    fn append(&mut self, source: &Source, before: u64) -> Outcome {
        let failed = |error: InputError| Failure::new(error.to_string());
        let mut reader = source.open(&self.options).map_err(failed)?;
        while let Some(batch) = reader.next() {
            let batch = batch.map_err(failed)?;
            // When this returns, what the table's durability promises holds; waiting for the ticket
            // would force a sync that only one of the modes asks for.
            let offsets = self.table.append(&batch)?.offsets();
            self.appended
                .add(offsets.clone(), batch_bytes(&batch) as u64);
            self.acknowledge(&offsets)?;
            self.bar.set_position(before + reader.consumed());
            self.bar.set_message(rows(self.appended.rows));
            if self.stop.asked() {
                return Err(Failure::new("interrupted"));
            }
        }
        Ok(())
    }

    /// Prints a line for an append. When nobody reads them any more the rows are appended all the
    /// same: they are what the command is for.
    fn acknowledge(&mut self, offsets: &Range<u64>) -> Outcome {
        let Some(output) = &mut self.acknowledgements else {
            return Ok(());
        };
        let line = json!({ "from": offsets.start, "to": offsets.end });
        match output.json(&line).and_then(|()| output.flush()) {
            Err(Failure::Pipe) => {
                self.acknowledgements = None;
                Ok(())
            }
            written => written,
        }
    }
}
