//! A table's staged log: opening it beside the raw log, adding to it, reading it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;

use crate::error::{Error, Result};
use crate::log::{Durability, Frame, Log, LogKind, LogOptions, LogReader, WhenFull};
use crate::metrics::LogSnapshot;
use crate::options::Settings;
use crate::pipeline::staged::{self, StagedRows};
use crate::transform::MadeRows;

/// What transforms make is small beside what they read: so are its segments.
const SEGMENT_BYTES_MAX: u64 = 32 << 20;
/// Segment files that are kept for reuse.
const RECYCLED_SEGMENTS: usize = 2;

/// What transforms made of a raw log's rows, up to some offset.
#[derive(Debug)]
pub(crate) struct StagedLog {
    log: Log,
}

/// What is needed to open a table's staged log.
#[derive(Debug, Clone)]
pub(crate) struct StagedPlace {
    options: LogOptions,
}

impl StagedPlace {
    /// The staged log of the table in a directory.
    pub(crate) fn new(
        name: &str,
        directory: &Path,
        table_id: uuid::Uuid,
        settings: &Settings,
    ) -> Self {
        let directory = directory.join(LogKind::Staged.directory());
        Self {
            options: LogOptions {
                segment_bytes: settings.segment_bytes.min(SEGMENT_BYTES_MAX),
                // What is lost is made again.
                durability: Durability::Buffered,
                recycled_segments: RECYCLED_SEGMENTS.min(settings.recycled_segments),
                max_bytes: settings.max_log_bytes,
                when_full: WhenFull::Fail,
                ..LogOptions::new(&directory, name, table_id, LogKind::Staged)
            },
        }
    }

    pub(crate) fn directory(&self) -> &PathBuf {
        &self.options.directory
    }

    pub(crate) fn exists(&self) -> bool {
        self.options.directory.is_dir()
    }

    /// Opens the log for adding to. It must go on within `from..=committed`, the raw rows that are there and not
    /// tiered; else, or when it is damaged, it begins anew at `from`. What it says of rows that the raw log has lost,
    /// from `committed` on, is cut: other rows will have their offsets.
    pub(crate) fn open(&self, from: u64, committed: u64) -> Result<StagedLog> {
        if self.exists() {
            match Log::open(self.options.clone(), 0, Some(committed)) {
                Ok(log) if log.first_offset() <= from && from <= log.committed() => {
                    return Ok(StagedLog { log });
                }
                Ok(log) => tracing::warn!(
                    log = %self.directory().display(),
                    from = log.first_offset(),
                    to = log.committed(),
                    wanted = from,
                    "staged rows are not the ones that are needed; they are made again"
                ),
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%error, "staged rows are damaged; they are made again");
                }
                Err(error) => return Err(error),
            }
        }
        self.begin(from)
    }

    /// Begins a log anew at an offset.
    pub(crate) fn begin(&self, from: u64) -> Result<StagedLog> {
        let directory = self.directory();
        if self.exists() {
            fs::remove_dir_all(directory).map_err(Error::io("remove", directory))?;
        }
        let options = LogOptions {
            begins_at: from,
            ..self.options.clone()
        };
        Ok(StagedLog {
            log: Log::open(options, 0, None)?,
        })
    }

    /// Opens the log beside its writer; `None` when there is none.
    pub(crate) fn open_read_only(&self) -> Result<Option<StagedLog>> {
        if !self.exists() {
            return Ok(None);
        }
        let log = Log::open_read_only(self.options.clone())?;
        Ok(Some(StagedLog { log }))
    }
}

impl StagedLog {
    /// About how many bytes what was made of the rows from an offset on has.
    pub(crate) fn bytes_from(&self, offset: u64) -> u64 {
        self.log.bytes_from(offset)
    }

    /// One past the last offset that is staged.
    pub(crate) fn committed(&self) -> u64 {
        self.log.committed()
    }

    /// How many segments there are, and their files' bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        self.log.size()
    }

    /// As [`Log::count_backlog`].
    pub(crate) fn count_backlog(&self, tiered: u64) {
        self.log.count_backlog(tiered);
    }

    /// As [`Log::metrics`].
    pub(crate) fn metrics(&self, tiered: u64) -> LogSnapshot {
        self.log.metrics(tiered)
    }

    /// Adds what a generation of transforms made of the next `offsets` rows.
    ///
    /// # Errors
    ///
    /// [`Error::LogFull`] until tiering makes room.
    pub(crate) fn append(&self, made: &MadeRows, generation: u16, offsets: u64) -> Result<()> {
        let (rows, schema_id) = staged::to_frame(made, generation)?;
        self.log.append_staged(&rows, schema_id, offsets).map(drop)
    }

    /// The first offset that is still in the log.
    pub(crate) fn first_offset(&self) -> u64 {
        self.log.first_offset()
    }

    /// The frames from the one on that holds an offset.
    pub(crate) fn read_from(&self, offset: u64) -> LogReader {
        self.log.read_from(offset)
    }

    /// The generations of transforms that made the frames from an offset on.
    pub(crate) fn generations_from(&self, offset: u64) -> Result<BTreeSet<u16>> {
        let mut reader = self.log.read_from(offset.max(self.first_offset()));
        let mut generations = BTreeSet::new();
        while let Some(frame) = reader.next_frame()? {
            generations.insert(staged::generation_of(frame.header.schema_id));
        }
        Ok(generations)
    }

    /// The rows of a frame of this log; `made` are the columns that its generation makes.
    pub(crate) fn rows(frame: &Frame, made: &SchemaRef) -> Result<StagedRows> {
        let schema_id = frame.header.schema_id;
        let batch = frame.batch(staged::frame_schema(made, schema_id))?;
        staged::from_frame(&batch, made, schema_id)
    }

    /// Lets go of what is tiered.
    pub(crate) fn release(&self, tiered: u64) -> Result<()> {
        self.log.release(tiered)
    }

    /// Takes no more rows.
    pub(crate) fn close(&self) -> Result<()> {
        self.log.close()
    }

    /// Whether an error is of this log's own files.
    pub(crate) fn is_damaged(&self, error: &Error) -> bool {
        matches!(error, Error::Corrupt { path, .. } if path.starts_with(self.log.directory()))
    }
}
