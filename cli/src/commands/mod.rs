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

use std::path::Path;

use alluvium::{Store, StoreOptions, Table};

use crate::args::Scope;
use crate::failure::Outcome;

/// Opens a store to look at it, beside a process that may be writing to it.
fn open_to_read(path: &Path) -> Outcome<Store> {
    Ok(StoreOptions::new().read_only(true).open(path)?)
}

/// Opens a store that must be there already; `tiering` starts its background thread.
fn open_to_write(path: &Path, tiering: bool) -> Outcome<Store> {
    Ok(StoreOptions::new()
        .create(false)
        .tiering(tiering)
        .open(path)?)
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
