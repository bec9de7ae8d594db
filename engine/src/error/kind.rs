//! What kind of trouble an error tells of.

use std::io;

use serde::{Deserialize, Serialize};

use super::Error;

/// What kind of trouble an [`Error`] tells of: what a program can act upon. It is known of what failed in another process, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something that is needed is not there: the lake's bucket, one of its files, a table.
    Missing,
    /// A credential is missing, wrong or too old, or does not allow what was attempted.
    Denied,
    /// A disk, a quota or the log is full.
    Full,
    /// The lake's store does not answer, not in time, or with failures of its own.
    Unreachable,
    /// Another writer has the store, or commits this table's rows.
    Fenced,
    /// The lake is not the one that the table was settled in, or has other columns.
    Mismatch,
    /// A name, an option or a batch is wrong.
    Invalid,
    /// A file is damaged.
    Damaged,
    /// A plugin cannot be run, or a transform failed.
    Transform,
    /// None of these.
    #[serde(other)]
    Other,
}

impl Error {
    /// What kind of trouble this is. For [`Error::Tiering`], what kind the round's was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tiering { source } => source.kind(),
            Self::Lake { kind, .. } | Self::Reported { kind, .. } => *kind,
            Self::Io { source, .. } => of_io(source).unwrap_or(ErrorKind::Other),
            Self::NotAStore { .. } | Self::TableNotFound { .. } => ErrorKind::Missing,
            Self::LogFull { .. } => ErrorKind::Full,
            Self::Locked { .. } | Self::Fenced { .. } => ErrorKind::Fenced,
            Self::LakeMismatch { .. } => ErrorKind::Mismatch,
            Self::Invalid { .. }
            | Self::SchemaMismatch { .. }
            | Self::RecordTooLarge { .. }
            | Self::TableExists { .. } => ErrorKind::Invalid,
            Self::Corrupt { .. } => ErrorKind::Damaged,
            Self::Plugin { .. }
            | Self::Transform { .. }
            | Self::TransformFailed { .. }
            | Self::TransformOutput { .. }
            | Self::RecordFailed { .. } => ErrorKind::Transform,
            Self::Poisoned { .. }
            | Self::Unavailable { .. }
            | Self::Internal { .. }
            | Self::Arrow { .. }
            | Self::Query { .. } => ErrorKind::Other,
        }
    }
}

/// What kind of trouble the operating system tells of, if it is one of these.
pub(crate) fn of_io(error: &io::Error) -> Option<ErrorKind> {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound => Some(ErrorKind::Missing),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => Some(ErrorKind::Denied),
        Io::StorageFull | Io::QuotaExceeded => Some(ErrorKind::Full),
        Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown
        | Io::StaleNetworkFileHandle
        | Io::TimedOut => Some(ErrorKind::Unreachable),
        _ => None,
    }
}
