//! The one error type of the library.

pub(crate) mod kind;
#[cfg(feature = "lake")]
pub(crate) mod reported;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::ArrowError;

pub use kind::ErrorKind;

/// What every fallible call of this library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error that another library reported.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Everything that can go wrong, each variant saying what happened, to what, and what to do. [`Error::kind`] groups them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb: "create", "map".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },

    /// Another process has the store open for writing.
    #[error(
        "store {} is open for writing in {holder}; stop it, or open the store read-only",
        path.display()
    )]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// The process that holds the lock: "process 1234".
        holder: String,
    },

    /// The directory is not a store.
    #[error("{} is not a store: {reason}", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },

    /// A table of that name exists already.
    #[error("table {table:?} exists already; open it, or choose another name")]
    TableExists {
        /// The table's name.
        table: String,
    },

    /// There is no table of that name.
    #[error("there is no table {table:?}; the store has {tables:?}")]
    TableNotFound {
        /// The name that was asked for.
        table: String,
        /// The tables that there are.
        tables: Vec<String>,
    },

    /// A name, an option or a configuration file is wrong.
    #[error("{what}: {reason}")]
    Invalid {
        /// The option or name: "table name", "column \"x\"", "freshness".
        what: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },

    /// A batch doesn't fit its table.
    #[error("the batch does not fit table {table:?}: {reason}")]
    SchemaMismatch {
        /// The table.
        table: String,
        /// The difference.
        reason: String,
    },

    /// One record is larger than a frame can be.
    #[error(
        "a record of {bytes} bytes is larger than a frame can hold ({limit} bytes); split it, or keep it elsewhere and append a reference"
    )]
    RecordTooLarge {
        /// The encoded size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// A file is damaged.
    #[error(
        "{} is damaged at byte {position}: {reason}; restore the file from a copy, or move it away to go on without its rows",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The byte at which the damage was found.
        position: u64,
        /// What does not hold.
        reason: String,
    },

    /// An earlier write or fsync failed, so the log acknowledges nothing more.
    #[error(
        "the log in {} stopped after a failure ({reason}); what was acknowledged before is kept: mend the disk and reopen the store",
        path.display()
    )]
    Poisoned {
        /// The log's directory.
        path: PathBuf,
        /// The first failure.
        reason: String,
    },

    /// The log has as many bytes as it may take, and tiering made no room in time. Nothing was written.
    #[error(
        "the log in {} is full: it has {bytes} of {limit} bytes and needs {needed} more; see why tiering makes no room, raise max_log_bytes, or append smaller batches",
        path.display()
    )]
    LogFull {
        /// The log's directory.
        path: PathBuf,
        /// Bytes of its files.
        bytes: u64,
        /// Bytes of the file that it needs.
        needed: u64,
        /// What it may take.
        limit: u64,
    },

    /// The store was opened read-only, or was closed.
    #[error("cannot {action}: the store is {state}")]
    Unavailable {
        /// What was attempted.
        action: &'static str,
        /// "open read-only" or "closed".
        state: &'static str,
    },

    /// A file is not a plugin that this version can run.
    #[error("plugin {plugin}: {reason}")]
    Plugin {
        /// The plugin's name or path.
        plugin: String,
        /// Why it cannot be loaded.
        reason: String,
    },

    /// A transform's configuration or wiring is wrong.
    #[error("transform {transform:?}: {reason}")]
    Transform {
        /// The transform's name.
        transform: String,
        /// What is wrong.
        reason: String,
    },

    /// A record failed in a transform whose `on_error` is `fail`; tiering of its table halts.
    #[error(
        "transform {transform:?} failed on row {row} of the batch: {reason}; mend the transform, or set its on_error to dead-letter"
    )]
    TransformFailed {
        /// The transform's name.
        transform: String,
        /// The row in the batch that was being transformed.
        row: u64,
        /// The plugin's message.
        reason: String,
    },

    /// As [`Error::TransformFailed`], where the record is known by its offset.
    #[error(
        "transform {transform:?} failed on the record at offset {offset}: {reason}; its on_error is \"fail\", so the record stays where it is until the table's transforms are replaced"
    )]
    RecordFailed {
        /// The transform's name.
        transform: String,
        /// The record's offset in its table.
        offset: u64,
        /// The plugin's message.
        reason: String,
    },

    /// A transform made more of a batch than may be held in memory at once.
    #[error("transform {transform:?} made {reason} of {rows} rows; give it fewer at a time")]
    TransformOutput {
        /// The transform's name.
        transform: String,
        /// How many rows it was given.
        rows: u64,
        /// How much is too much.
        reason: String,
    },

    /// The lake could not be read or written.
    #[error("cannot {action} the lake {uri}: {source}")]
    Lake {
        /// What was attempted.
        action: &'static str,
        /// The lake's URI, without credentials.
        uri: String,
        /// What kind of trouble it is: a bucket that is missing, a credential, a full disk, an outage.
        kind: ErrorKind,
        /// The cause, as Lance tells it.
        source: Cause,
    },

    /// A round of tiering failed; the log keeps the rows, and tiering tries again.
    #[error("tiering failed: {source}")]
    Tiering {
        /// What failed, which is the table's last error too.
        source: Arc<Self>,
    },

    /// What went wrong in another process that has the store open, as it left word of it.
    #[error("{message}")]
    Reported {
        /// What kind of trouble it was.
        kind: ErrorKind,
        /// The error's text.
        message: String,
    },

    /// Another engine commits rows in this table's name: a copy of the store, usually. Nothing was committed.
    #[error("the lake {uri} has other rows in this table's place: {reason}")]
    Fenced {
        /// The lake's URI, without credentials.
        uri: String,
        /// What was found, and what to do.
        reason: String,
    },

    /// Something happened that never should. Nothing was acknowledged or committed that is not so.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },

    /// The dataset at the lake's URI isn't what this table can append to.
    #[error("the lake {uri} does not belong to this table: {reason}")]
    LakeMismatch {
        /// The lake's URI, without credentials.
        uri: String,
        /// The difference.
        reason: String,
    },

    /// A batch could not be encoded, decoded or computed upon.
    #[error("cannot {action}: {source}")]
    Arrow {
        /// What was attempted.
        action: &'static str,
        /// Arrow's error.
        source: ArrowError,
    },

    /// A query is wrong or could not be run.
    #[error("the query failed: {source}")]
    Query {
        /// The cause, as DataFusion tells it.
        source: Cause,
    },
}

impl Error {
    /// Wraps an I/O error with what was attempted and where, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Wraps an Arrow error with what was attempted, for `map_err`.
    pub(crate) fn arrow(action: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |source| Self::Arrow { action, source }
    }

    /// The same for whoever else is to be told of it: what a round failed with, without the round.
    #[cfg(feature = "lake")]
    pub(crate) fn shared(self) -> Arc<Self> {
        match self {
            Self::Tiering { source } => source,
            error => Arc::new(error),
        }
    }

    /// A wrong name or option.
    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }
}
