//! `alluvium run`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use alluvium::{Table, TableStatus};

use super::open_to_write;
use crate::failure::Outcome;
use crate::metrics::Endpoint;
use crate::output::{Output, count, plain, rows};
use crate::signals::Stop;

/// How often a signal is looked for.
const TICK: Duration = Duration::from_millis(50);

/// How often the tables are looked at.
const GLANCE: Duration = Duration::from_secs(1);

/// Settle rows into the lake in the background until stopped
///
/// Each table is settled when its oldest waiting row is older than the table's freshness, or when
/// enough bytes wait. A line is printed when a table got further or its lake failed. SIGINT (Ctrl-C)
/// or SIGTERM ends it cleanly: the round that is under way is finished, unless its lake cannot be opened,
/// the log synced and the store closed. A second one ends it at once, which is safe too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// The store's directory
    store: PathBuf,
    /// Serve metrics for Prometheus at http://ADDRESS/metrics, on loopback: 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Settle everything that waits before it ends, when it is asked to stop
    #[arg(long)]
    drain: bool,
}

const EXAMPLE: &str = "\
Example:
  alluvium run ./store
  alluvium run ./store --metrics 127.0.0.1:9464";

impl Args {
    /// Tiers until asked to stop.
    pub(crate) fn run(self) -> Outcome {
        let stop = Stop::listen()?;
        // Before the store is opened: its logs look for a recorder then.
        let endpoint = self.metrics.map(Endpoint::start).transpose()?;
        let store = open_to_write(&self.store, true)?;
        let tables = store
            .table_names()?
            .iter()
            .map(|name| store.table(name))
            .inspect(|table| {
                if let Err(error) = table {
                    tracing::error!("{}", plain(&error.to_string()));
                }
            })
            .filter_map(Result::ok)
            .collect::<Vec<_>>();
        let mut output = Output::new();
        output.line(format_args!(
            "settling {} {} of {}; stop with Ctrl-C",
            count(tables.len() as u64),
            if tables.len() == 1 { "table" } else { "tables" },
            self.store.display()
        ))?;
        if let Some(endpoint) = &endpoint {
            output.line(format_args!(
                "metrics: http://{}/metrics",
                endpoint.address()
            ))?;
        }
        output.flush()?;

        let mut watch = Watch::default();
        let mut next = Instant::now();
        while !stop.asked() {
            if Instant::now() >= next {
                next = Instant::now() + GLANCE;
                for table in &tables {
                    watch.look(table, &mut output)?;
                }
            }
            thread::sleep(TICK);
        }
        if self.drain {
            drain(&tables);
        }
        for table in &tables {
            if let Err(error) = table.sync() {
                warn(table, &error.to_string());
            }
        }
        drop(tables);
        store.close()?;
        output.line("stopped; every acknowledged row is safe in the log or the lake")?;
        output.flush()
    }
}

/// Settles what waits, all tables at once. One whose lake is down keeps its rows in the log.
fn drain(tables: &[Table]) {
    let flushes = tables.iter().map(|table| (table, table.start_flush()));
    for (table, flush) in flushes.collect::<Vec<_>>() {
        if let Err(error) = flush.and_then(|flush| flush.wait()) {
            warn(table, &error.to_string());
        }
    }
}

fn warn(table: &Table, error: &str) {
    tracing::warn!(table = table.name(), "{}", plain(error));
}

/// What was last seen of each table, so that only changes are told.
#[derive(Debug, Default)]
struct Watch {
    seen: HashMap<String, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    rows_tiered: Option<u64>,
    error: Option<String>,
}

impl Watch {
    /// Tells what is new of a table. What is wrong with one ends nothing: the others go on.
    fn look(&mut self, table: &Table, output: &mut Output) -> Outcome {
        let seen = self.seen.entry(table.name().to_owned()).or_default();
        let now = table.status();
        let error = match &now {
            Ok(now) => now.last_error.as_ref().map(ToString::to_string),
            Err(error) => Some(error.to_string()),
        };
        if error != seen.error {
            error.iter().for_each(|error| warn(table, error));
            seen.error = error;
        }
        let Ok(now) = now else { return Ok(()) };
        let before = seen.rows_tiered.replace(now.rows_tiered);
        if before.is_some_and(|before| before != now.rows_tiered) {
            output.line(progress(&now))?;
            output.flush()?;
        }
        Ok(())
    }
}

fn progress(status: &TableStatus) -> String {
    let version = status
        .lake_version
        .map_or_else(String::new, |version| format!(", version {version}"));
    format!(
        "{}: {} settled{version}; {} waiting",
        status.table,
        rows(status.rows_tiered),
        rows(status.lag_rows)
    )
}
