//! The commands, one module each.

pub(crate) mod alter;
pub(crate) mod bench;
pub(crate) mod create;
pub(crate) mod dead_letters;
pub(crate) mod index;
pub(crate) mod ingest;
pub(crate) mod maintain;
pub(crate) mod plugin;
pub(crate) mod query;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod status;
pub(crate) mod tier;
pub(crate) mod transforms;
pub(crate) mod verify;

use std::path::{Path, PathBuf};

use alluvium::transform::PluginHost;
use alluvium::{Store, StoreOptions, Table};

use crate::args::Scope;
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// Names a directory of compiled plugins that stores share.
const PLUGIN_CACHE: &str = "ALLUVIUM_PLUGIN_CACHE";

fn plugin_cache() -> Option<PathBuf> {
    let cache = std::env::var_os(PLUGIN_CACHE)?;
    (!cache.is_empty()).then(|| cache.into())
}

/// Every default, and the environment's cache of compiled plugins.
fn store_options() -> StoreOptions {
    let options = StoreOptions::new();
    match plugin_cache() {
        Some(cache) => options.plugin_cache(cache),
        None => options,
    }
}

/// A host of plugins without a store.
fn plugin_host() -> Outcome<PluginHost> {
    Ok(match plugin_cache() {
        Some(cache) => PluginHost::with_cache(&cache)?,
        None => PluginHost::new()?,
    })
}

/// Opens a store to look at it, beside a process that may be writing to it.
fn open_to_read(path: &Path) -> Outcome<Store> {
    Ok(store_options().read_only(true).open(path)?)
}

/// Opens a store that must be there already; `tiering` starts its background thread.
fn open_to_write(path: &Path, tiering: bool) -> Outcome<Store> {
    Ok(store_options().create(false).tiering(tiering).open(path)?)
}

/// The tables that are meant, the named one or all, with those that cannot be opened.
fn tables(store: &Store, scope: &Scope) -> Outcome<Vec<(String, alluvium::Result<Table>)>> {
    let names = match &scope.table {
        Some(name) => vec![name.clone()],
        None => store.table_names()?,
    };
    let open = |name: String| {
        let table = store.table(&name);
        (name, table)
    };
    Ok(names.into_iter().map(open).collect())
}

/// Opens a store to write, does something to each table that is meant, and prints the line that comes of it. What fails
/// keeps no other table from its turn.
fn each_table(scope: &Scope, work: impl Fn(&Table) -> Outcome<String>) -> Outcome {
    let store = open_to_write(&scope.store, false)?;
    let mut failures = Vec::new();
    let mut output = Output::new();
    for (name, table) in tables(&store, scope)? {
        match table.map_err(Failure::from).and_then(|table| work(&table)) {
            Ok(text) => output.line(text).and_then(|()| output.flush())?,
            Err(Failure::Message(text)) => failures.push(format!("{name}: {text}")),
            Err(Failure::Pipe) => return Err(Failure::Pipe),
        }
    }
    store.close()?;
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failures.join("; "))),
    }
}
