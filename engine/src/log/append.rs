//! The log: appending batches, side by side, and what readers and the background threads share with it.

use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use parking_lot::{Mutex, RwLock};

use super::encode::EncodedBatch;
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, OFFSET_MAX};
use super::keeper::Keeper;
use super::options::{Durability, LogOptions};
use super::pool::Pool;
use super::producers::{Newest, Source};
use super::publish::InFlight;
use super::segment::Segment;
use super::sync::Syncing;
use super::writer::Writer;
use crate::error::{Error, Result};

/// An append-only sequence of frames over segments.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Mutex<Option<Writer>>,
    /// `None` in a log that is open for reading.
    pub(crate) keeper: Option<Keeper>,
    pub(crate) pool: Option<Pool>,
    /// Offsets below are tiered.
    pub(crate) tiered: AtomicU64,
    /// Held while segments go: one after the other, so that none is missing between others after a crash.
    pub(crate) releasing: Mutex<()>,
}

/// What readers, the writers and the background threads look at.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: LogOptions,
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    pub(crate) committed: AtomicU64,
    /// Where the committed frames of the active segment end.
    pub(crate) position: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) in_flight: InFlight,
    pub(crate) syncing: Syncing,
    pub(crate) poison: OnceLock<String>,
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
        let after = segments.partition_point(|s| s.base_offset <= offset);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// The segment that begins at an offset.
    pub(crate) fn segment_at(&self, offset: u64) -> Option<Arc<Segment>> {
        self.segment_of(offset).filter(|s| s.base_offset == offset)
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
        result.inspect_err(|error| self.poison(error.to_string()))
    }

    fn poison(&self, reason: String) {
        tracing::error!(log = %self.options.directory.display(), reason, "the log stops");
        let _ = self.poison.set(reason);
        self.wake_all();
    }
}

/// The offsets that an append was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: u64,
    pub(crate) end_offset: u64,
    /// Whether the rows were in the log already, as their producer had sent them before.
    pub(crate) is_duplicate: bool,
}

/// Room in a segment for one frame, which its writer alone may fill. If it doesn't, the log is poisoned.
struct Reservation<'a> {
    log: &'a Log,
    segment: Arc<Segment>,
    position: u64,
    header: FrameHeader,
    number: u64,
    is_written: bool,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_written {
            let reason = format!("the append at offset {} broke off", self.header.base_offset);
            self.log.shared.poison(reason);
        }
    }
}

impl Reservation<'_> {
    /// Writes the frame in one call, publishes it, and returns once readers see it.
    fn fill(mut self, encoded: &EncodedBatch) -> Result<()> {
        let head = self.header.to_bytes(self.segment.header.salt);
        let mut slices = vec![IoSlice::new(&head)];
        slices.extend(encoded.slices());
        let shared = &self.log.shared;
        let written = self.segment.write_at(&mut slices, self.position);
        self.is_written = true;
        shared.poisoned(written)?;
        shared.publish(self.number, self.header.end_offset)
    }
}

/// What became of a batch that asked for room.
enum Reserved<'a> {
    Room(Reservation<'a>),
    Known(Newest),
}

impl Log {
    /// Appends a batch as one frame, so that it is either there whole or not at all.
    ///
    /// When this returns, readers see the rows and they survive the death of the process; with
    /// [`Durability::Sync`] they survive power loss too. Many threads may append at a time: each reserves its
    /// room under a short lock and writes without it. A batch whose `source` was appended before is not
    /// appended again. An empty batch leaves no trace.
    pub(crate) fn append(
        &self,
        batch: &RecordBatch,
        schema_id: u16,
        source: Option<Source>,
    ) -> Result<Appended> {
        let started = Instant::now();
        self.shared.check_poison()?;
        self.append_encoded(
            &EncodedBatch::new(batch, source)?,
            schema_id,
            source,
            started,
        )
    }

    /// Appends to a staged log what was made of the next `offsets` rows, which may be none.
    pub(crate) fn append_staged(
        &self,
        batch: &RecordBatch,
        schema_id: u16,
        offsets: u64,
    ) -> Result<Appended> {
        let started = Instant::now();
        self.shared.check_poison()?;
        let mut encoded = EncodedBatch::new(batch, None)?;
        encoded.offsets = offsets;
        self.append_encoded(&encoded, schema_id, None, started)
    }

    fn append_encoded(
        &self,
        encoded: &EncodedBatch,
        schema_id: u16,
        source: Option<Source>,
        started: Instant,
    ) -> Result<Appended> {
        if encoded.offsets == 0 {
            return self.append_nothing();
        }
        let rows = u64::from(encoded.row_count);
        let metrics = &self.shared.options.metrics;
        let appended = match self.reserve(encoded, schema_id, source)? {
            Reserved::Room(reservation) => {
                let (base_offset, end_offset) = (
                    reservation.header.base_offset,
                    reservation.header.end_offset,
                );
                let bytes = reservation.header.frame_bytes();
                reservation.fill(encoded)?;
                metrics.appended(rows, bytes, started.elapsed());
                Appended {
                    base_offset,
                    end_offset,
                    is_duplicate: false,
                }
            }
            Reserved::Known(newest) => {
                metrics.duplicate();
                self.shared.wait_committed(newest.offsets.end)?;
                let is_newest = source.is_some_and(|s| s.sequence == newest.sequence);
                Appended {
                    base_offset: match is_newest {
                        true => newest.offsets.start,
                        // Where an older batch lies is not remembered.
                        false => newest.offsets.end,
                    },
                    end_offset: newest.offsets.end,
                    is_duplicate: true,
                }
            }
        };
        if let Durability::Sync = self.shared.options.durability {
            self.sync_through(appended.end_offset)?;
        }
        Ok(appended)
    }

    fn append_nothing(&self) -> Result<Appended> {
        let slot = self.writer.lock();
        let writer = slot.as_ref().ok_or(CLOSED)?;
        let end_offset = writer.prefix.end_offset;
        drop(slot);
        self.shared.wait_committed(end_offset)?;
        Ok(Appended {
            base_offset: end_offset,
            end_offset,
            is_duplicate: false,
        })
    }

    /// Gives a frame its offsets and its room, in a new segment when the active one is full.
    fn reserve(
        &self,
        encoded: &EncodedBatch,
        schema_id: u16,
        source: Option<Source>,
    ) -> Result<Reserved<'_>> {
        let frame_bytes = FRAME_HEADER_BYTES + u64::from(encoded.payload_length);
        let started = Instant::now();
        let mut has_waited = false;
        loop {
            let mut slot = self.writer.lock();
            let writer = slot.as_mut().ok_or(CLOSED)?;
            self.shared.check_poison()?;
            if let Some(newest) = source.and_then(|source| writer.producers.known(source)) {
                return Ok(Reserved::Known(newest.clone()));
            }
            if writer.prefix.end_offset + encoded.offsets > OFFSET_MAX {
                return Err(Error::invalid(
                    "table",
                    "has as many rows as offsets can number",
                ));
            }
            let capacity = self.capacity_for(writer, frame_bytes);
            let is_ready = writer.has_room(frame_bytes) || self.roll(writer, capacity)?;
            if is_ready {
                if has_waited {
                    self.shared
                        .options
                        .metrics
                        .waited_for_space(started.elapsed());
                }
                return Ok(Reserved::Room(
                    self.reserve_in(writer, encoded, schema_id, source),
                ));
            }
            let taken = self.pool.as_ref().map_or(0, Pool::taken);
            drop(slot);
            has_waited = true;
            self.make_room(capacity, taken, started)?;
        }
    }

    fn reserve_in(
        &self,
        writer: &mut Writer,
        encoded: &EncodedBatch,
        schema_id: u16,
        source: Option<Source>,
    ) -> Reservation<'_> {
        let shared = &self.shared;
        let base_offset = writer.prefix.end_offset;
        let header = FrameHeader {
            segment_sequence: writer.active.header.sequence,
            base_offset,
            end_offset: base_offset + encoded.offsets,
            synced_offset: shared.durable().min(base_offset),
            timestamp_us: writer.timestamp_us(),
            payload_length: encoded.payload_length,
            payload_checksum: encoded.payload_checksum,
            row_count: encoded.row_count,
            schema_id,
            flags: encoded.flags,
        };
        let position = writer.prefix.end_position;
        writer.prefix.add(&header);
        if let Some(source) = source {
            writer
                .producers
                .note(source, base_offset..header.end_offset);
        }
        let half = writer.active.header.capacity / 2;
        if position < half
            && writer.prefix.end_position >= half
            && let Some(pool) = &self.pool
        {
            pool.want();
        }
        Reservation {
            log: self,
            segment: Arc::clone(&writer.active),
            position,
            number: shared
                .in_flight
                .add(header.end_offset, writer.prefix.end_position),
            header,
            is_written: false,
        }
    }

    /// Makes everything durable, says so in the log, and takes no more appends.
    pub(crate) fn close(&self) -> Result<()> {
        let writer = self.writer.lock().take();
        let closed = writer.map_or(Ok(()), |mut writer| {
            self.shared.wait_committed(writer.prefix.end_offset)?;
            self.sync_through(writer.prefix.end_offset)?;
            self.write_barrier(&mut writer)
        });
        if let Some(keeper) = &self.keeper {
            keeper.stop();
        }
        if let Some(pool) = &self.pool {
            pool.stop();
        }
        closed
    }
}

/// Why a closed log takes nothing.
pub(super) const CLOSED: Error = Error::Unavailable {
    action: "append",
    state: "closed or open read-only",
};

impl Drop for Log {
    fn drop(&mut self) {
        if self.shared.poison.get().is_some() {
            self.keeper.iter().for_each(Keeper::stop);
            self.pool.iter().for_each(Pool::stop);
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
