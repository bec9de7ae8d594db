//! The log: appending batches, and what readers and the syncing thread share with it.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::block::{LogKind, SegmentHeader};
use super::encode::EncodedBatch;
use super::frame::{FLAG_BARRIER, FRAME_HEADER_BYTES, FrameHeader};
use super::reader::LogReader;
use super::recovery::ValidPrefix;
use super::segment::{FRAMES_START, Segment, sync_directory};
use super::sync::Syncer;
use crate::error::{Error, Result};
use crate::log::Durability;

/// How a log is kept.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) directory: PathBuf,
    pub(crate) table_id: Uuid,
    pub(crate) kind: LogKind,
    pub(crate) segment_bytes: u64,
    pub(crate) durability: Durability,
}

impl LogOptions {
    /// The header of a new segment of this log.
    pub(crate) fn segment_header(
        &self,
        sequence: u64,
        base_offset: u64,
        capacity: u64,
        schema_id: u16,
    ) -> SegmentHeader {
        SegmentHeader {
            table_id: self.table_id,
            sequence,
            base_offset,
            capacity,
            created_us: now_us(),
            kind: self.kind,
            schema_id,
            salt: Uuid::new_v4().as_u64_pair().0,
        }
    }
}

/// An append-only sequence of frames over segments.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Mutex<Option<Writer>>,
    pub(crate) syncer: Option<Syncer>,
}

/// What readers, the writer and the syncing thread look at.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: LogOptions,
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    pub(crate) committed: AtomicU64,
    /// Where the frames of the active segment end.
    pub(crate) position: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) syncing: Mutex<()>,
    pub(crate) poison: OnceLock<String>,
}

/// Where the next frame goes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) active: Arc<Segment>,
    pub(crate) prefix: ValidPrefix,
    pub(crate) last_timestamp_us: i64,
    pub(crate) next_sequence: u64,
    pub(crate) schema_id: u16,
}

impl Writer {
    /// Now, or the last frame's time if the clock went back since.
    fn timestamp_us(&mut self) -> i64 {
        self.last_timestamp_us = now_us().max(self.last_timestamp_us);
        self.last_timestamp_us
    }
}

impl Shared {
    /// One past the last offset that readers see.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// One past the last offset that is known to survive power loss.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn segment_of(&self, offset: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|s| s.header.base_offset <= offset);
        segments.get(after.checked_sub(1)?).cloned()
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(reason) => Err(Error::Poisoned {
                path: self.options.directory.clone(),
                reason: reason.clone(),
            }),
        }
    }

    /// Lets the log acknowledge nothing more, as after a failed write or fsync nobody knows what is on disk.
    pub(crate) fn poisoned<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            tracing::error!(log = %self.options.directory.display(), %error, "the log stops");
            let _ = self.poison.set(error.to_string());
        })
    }
}

/// The offsets that an append was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: u64,
    pub(crate) end_offset: u64,
}

impl Log {
    /// Appends a batch as one frame, so that it is either there whole or not at all.
    ///
    /// When this returns, readers see the rows and they survive the death of the process; with
    /// [`Durability::Sync`] they survive power loss too.
    pub(crate) fn append(&self, batch: &RecordBatch, schema_id: u16) -> Result<Appended> {
        self.shared.check_poison()?;
        let encoded = EncodedBatch::new(batch)?;
        let appended = {
            let mut slot = self.writer.lock();
            let writer = slot.as_mut().ok_or(Error::Unavailable {
                action: "append",
                state: "closed or open read-only",
            })?;
            self.shared.check_poison()?;
            let frame_bytes = FRAME_HEADER_BYTES + u64::from(encoded.payload_length);
            if writer.prefix.end_position + frame_bytes > writer.active.frames_end() {
                self.roll(writer, frame_bytes, schema_id)?;
            }
            self.write(writer, &encoded, schema_id)?
        };
        if let Durability::Sync = self.shared.options.durability {
            self.sync_through(appended.end_offset)?;
        }
        Ok(appended)
    }

    fn write(
        &self,
        writer: &mut Writer,
        encoded: &EncodedBatch,
        schema_id: u16,
    ) -> Result<Appended> {
        let base_offset = writer.prefix.end_offset;
        let end_offset = base_offset + u64::from(encoded.row_count);
        if encoded.row_count > 0 {
            let header = FrameHeader {
                segment_sequence: writer.active.header.sequence,
                base_offset,
                end_offset,
                synced_offset: self.shared.durable().min(base_offset),
                timestamp_us: writer.timestamp_us(),
                payload_length: encoded.payload_length,
                payload_checksum: encoded.payload_checksum,
                row_count: encoded.row_count,
                schema_id,
                flags: 0,
            };
            self.write_frame(writer, &header, Some(encoded))?;
            let position = writer.prefix.end_position;
            self.shared.position.store(position, Ordering::Relaxed);
            self.shared.committed.store(end_offset, Ordering::Release);
        }
        Ok(Appended {
            base_offset,
            end_offset,
        })
    }

    /// Goes on in a new segment, and leaves the full one to be sealed in the background.
    fn roll(&self, writer: &mut Writer, frame_bytes: u64, schema_id: u16) -> Result<()> {
        let options = &self.shared.options;
        let capacity = options
            .segment_bytes
            .max(Segment::capacity_for(frame_bytes));
        let base_offset = writer.prefix.end_offset;
        let header = options.segment_header(writer.next_sequence, base_offset, capacity, schema_id);
        let fresh = Segment::prepare(&options.directory, header)?;
        let segment = Arc::new(self.shared.poisoned(fresh.publish())?);
        writer.next_sequence += 1;
        let full = std::mem::replace(&mut writer.active, Arc::clone(&segment));
        let footer = writer.prefix.footer(full.header.sequence);
        let mut segments = self.shared.segments.write();
        if writer.prefix.rows == 0 {
            // An empty segment makes way for one that is large enough, under the same name.
            segments.pop();
        } else if let Some(syncer) = &self.syncer {
            syncer.seal(full, footer);
        }
        segments.push(segment);
        writer.prefix = ValidPrefix::empty(writer.prefix.end_offset);
        Ok(())
    }

    /// A reader of the committed frames from an offset on.
    pub(crate) fn read_from(&self, offset: u64) -> LogReader {
        LogReader::new(Arc::clone(&self.shared), offset)
    }

    /// One past the last offset that readers see.
    pub(crate) fn committed(&self) -> u64 {
        self.shared.committed()
    }

    /// One past the last offset that is known to survive power loss.
    pub(crate) fn durable(&self) -> u64 {
        self.shared.durable()
    }

    /// The first offset that is still in the log.
    pub(crate) fn first_offset(&self) -> u64 {
        let segments = self.shared.segments.read();
        segments.first().map_or(0, |s| s.header.base_offset)
    }

    /// Whether the log was opened beside its writer.
    pub(crate) fn is_read_only(&self) -> bool {
        self.syncer.is_none()
    }

    /// How many segments there are, and their files' bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        let segments = self.shared.segments.read();
        let bytes = segments.iter().map(|s| s.header.capacity).sum();
        (segments.len(), bytes)
    }

    /// About how many bytes of frames hold the rows from an offset on: whole segments are counted as they
    /// are, the one that the offset is in by its share of the rows.
    pub(crate) fn bytes_from(&self, offset: u64) -> u64 {
        let segments = self.shared.segments.read();
        let committed = self.committed();
        let ends = segments.iter().skip(1).map(|s| s.header.base_offset);
        let bytes = segments
            .iter()
            .zip(ends.chain([committed]))
            .map(|(segment, end)| {
                let base = segment.header.base_offset;
                let rows = end.saturating_sub(base);
                let wanted = end.saturating_sub(base.max(offset));
                let used = match segment.footer() {
                    Some(footer) => footer.length,
                    None if end == committed => self.shared.position.load(Ordering::Relaxed),
                    None => segment.frames_end(),
                };
                let used = u128::from(used.saturating_sub(FRAMES_START));
                (used * u128::from(wanted) / u128::from(rows.max(1))) as u64
            });
        bytes.sum()
    }

    /// Removes the segments all of whose offsets are below `offset`; the active one stays.
    pub(crate) fn release(&self, offset: u64) -> Result<()> {
        loop {
            let mut segments = self.shared.segments.write();
            let (Some(first), Some(second)) = (segments.first(), segments.get(1)) else {
                return Ok(());
            };
            if second.header.base_offset > offset {
                return Ok(());
            }
            first.release()?;
            segments.remove(0);
        }
    }

    /// Records in the log that everything before is durable, so that later damage to it is known as such.
    pub(crate) fn write_barrier(&self, writer: &mut Writer) -> Result<()> {
        let offset = writer.prefix.end_offset;
        let has_room =
            writer.prefix.end_position + FRAME_HEADER_BYTES <= writer.active.frames_end();
        if writer.prefix.ends_in_barrier || !has_room || writer.prefix.end_position == FRAMES_START
        {
            return Ok(());
        }
        let header = FrameHeader {
            segment_sequence: writer.active.header.sequence,
            base_offset: offset,
            end_offset: offset,
            synced_offset: offset,
            timestamp_us: writer.timestamp_us(),
            payload_length: 0,
            payload_checksum: 0,
            row_count: 0,
            schema_id: writer.schema_id,
            flags: FLAG_BARRIER,
        };
        self.write_frame(writer, &header, None)
    }

    /// Writes a header, and the payload where there is one, behind the last frame, in one call. A failure
    /// poisons the log.
    fn write_frame(
        &self,
        writer: &mut Writer,
        header: &FrameHeader,
        payload: Option<&EncodedBatch>,
    ) -> Result<()> {
        let head = header.to_bytes(writer.active.header.salt);
        let mut slices = vec![IoSlice::new(&head)];
        slices.extend(payload.iter().flat_map(|encoded| encoded.slices()));
        let position = writer.prefix.end_position;
        self.shared
            .poisoned(writer.active.write_at(&mut slices, position))?;
        writer.prefix.add(header);
        Ok(())
    }

    /// Makes everything durable, says so in the log, and takes no more appends.
    pub(crate) fn close(&self) -> Result<()> {
        let writer = self.writer.lock().take();
        let closed = writer.map_or(Ok(()), |mut writer| {
            self.sync_through(writer.prefix.end_offset)?;
            self.write_barrier(&mut writer)
        });
        if let Some(syncer) = &self.syncer {
            syncer.stop();
        }
        closed
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.shared.poison.get().is_some() {
            self.syncer.iter().for_each(Syncer::stop);
        } else if let Err(error) = self.close() {
            tracing::error!(log = %self.shared.options.directory.display(), %error, "cannot close the log");
        }
    }
}

/// Microseconds since 1970-01-01 UTC.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// Creates a directory and the ones above it that are missing, durably.
pub(crate) fn create_directory(path: &Path) -> Result<()> {
    let missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(missing).collect();
    for directory in missing.into_iter().rev() {
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(Error::io("create the directory", directory))?,
        }
        let parent = directory.parent().filter(|p| !p.as_os_str().is_empty());
        sync_directory(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}
