//! What the benchmarks in `benches/` reach of the log when they are built without the lake. It is no part of the
//! library's interface.

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use uuid::Uuid;

use crate::error::Result;
use crate::log::{Decoder, Durability, Log, LogKind, LogOptions, LogRows};

const SCHEMA_ID: u16 = 1;

/// A table's raw log without its table: nothing checks the batches' schema, and nothing tiers them.
#[derive(Debug)]
pub struct BareLog {
    log: Log,
    schema: SchemaRef,
}

impl BareLog {
    /// Opens the log in a directory, which is created if need be; `segment_bytes` and `recycled_segments` are as in
    /// `TableOptions`.
    pub fn open(
        directory: &Path,
        schema: SchemaRef,
        durability: Durability,
        segment_bytes: u64,
        recycled_segments: usize,
    ) -> Result<Self> {
        let options = LogOptions {
            durability,
            segment_bytes,
            recycled_segments,
            ..LogOptions::new(directory, "bench", Uuid::nil(), LogKind::Raw)
        };
        let log = Log::open(options, SCHEMA_ID, None)?;
        Ok(Self { log, schema })
    }

    /// Appends a batch.
    pub fn append(&self, batch: &RecordBatch) -> Result<()> {
        self.log.append(batch, SCHEMA_ID, None).map(drop)
    }

    /// Makes durable what was appended.
    pub fn sync(&self) -> Result<()> {
        self.log.sync_through(self.log.committed())
    }

    /// Lets go of what was appended, as if it were tiered.
    pub fn release(&self) -> Result<()> {
        self.sync()?;
        self.log.release(self.log.committed())
    }

    /// How many segments hold rows.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.log.size().0
    }

    /// The rows from an offset on.
    pub fn read(&self, from: u64) -> LogRows {
        let decoder = Decoder::new(SchemaRef::clone(&self.schema));
        LogRows::new(&self.log, Box::new(decoder), from)
    }
}
