//! What a log holds, and which of it may go.

use std::sync::Arc;
use std::time::Duration;

use super::append::{Log, now_us};
use super::concurrency::atomic::Ordering;
use super::pool::Pool;
use super::reader::LogReader;
use super::segment::{FRAMES_START, Segment};
use crate::error::Result;
use crate::metrics::LogSnapshot;

impl Log {
    /// A reader of the committed frames from an offset on.
    pub(crate) fn read_from(&self, offset: u64) -> LogReader {
        LogReader::new(Arc::clone(&self.shared), offset)
    }

    /// How long ago the row at an offset was appended, or the oldest one that is left; `None` when there is none.
    pub(crate) fn age_from(&self, offset: u64) -> Result<Option<Duration>> {
        let oldest = self
            .read_from(offset.max(self.first_offset()))
            .next_frame()?;
        Ok(oldest.map(|frame| {
            let us = now_us().saturating_sub(frame.header.timestamp_us);
            Duration::from_micros(u64::try_from(us).unwrap_or_default())
        }))
    }

    /// One past the last offset that readers see.
    pub(crate) fn committed(&self) -> u64 {
        self.shared.committed()
    }

    /// Waits for rows at or behind an offset, that long at most, or until [`Log::wake`].
    pub(crate) fn wait_beyond(&self, offset: u64, timeout: Duration) {
        self.shared.wait_beyond(offset, timeout);
    }

    /// Wakes those who wait for rows.
    pub(crate) fn wake(&self) {
        self.shared.wake_committed();
    }

    /// Where the log's files are.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.shared.options.directory
    }

    /// One past the last offset that is known to survive power loss.
    pub(crate) fn durable(&self) -> u64 {
        self.shared.durable()
    }

    /// The first offset that is still in the log.
    pub(crate) fn first_offset(&self) -> u64 {
        let segments = self.shared.segments.read();
        segments.first().map_or(0, |s| s.base_offset)
    }

    /// Whether the log was opened beside its writer.
    pub(crate) fn is_read_only(&self) -> bool {
        self.keeper.is_none()
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
        let ends = segments.iter().skip(1).map(|s| s.base_offset);
        let bytes = segments
            .iter()
            .zip(ends.chain([committed]))
            .map(|(segment, end)| {
                let base = segment.base_offset;
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

    /// How many spare segments there are.
    pub(crate) fn spares(&self) -> usize {
        self.pool.as_ref().map_or(0, Pool::spares)
    }

    /// The sequence of a producer's newest batch.
    pub(crate) fn last_sequence(&self, producer: u64) -> Option<u64> {
        let slot = self.writer.lock();
        slot.as_ref()?.producers.last_sequence(producer)
    }

    /// Counts the bytes of the rows that are not tiered: those from an offset on.
    pub(crate) fn count_backlog(&self, tiered: u64) {
        let metrics = &self.shared.options.metrics;
        metrics.backlog(self.bytes_from(tiered));
    }

    /// What the log has counted, with the rows below an offset being tiered.
    pub(crate) fn metrics(&self, tiered: u64) -> LogSnapshot {
        self.count_backlog(tiered);
        self.shared.options.metrics.snapshot()
    }

    /// Notes that everything below an offset is tiered, and lets go of the segments that nothing holds any
    /// longer: sealed, tiered, out of retention. Their files are kept for reuse, as many as the options say.
    pub(crate) fn release(&self, tiered: u64) -> Result<()> {
        self.tiered.fetch_max(tiered, Ordering::AcqRel);
        if let Some(keeper) = &self.keeper {
            // Only what is sealed can go, and that happens in the background.
            keeper.settle();
        }
        self.release_tiered()
    }

    /// As [`Log::release`], with what is known to be tiered.
    pub(crate) fn release_tiered(&self) -> Result<()> {
        self.release_while(&|| true, false)
    }

    /// Lets go of tiered segments, whatever the retention, until there is room for a file of that capacity.
    pub(super) fn release_for_room(&self, capacity: u64) -> Result<()> {
        let is_full = || {
            self.pool
                .as_ref()
                .is_some_and(|pool| !pool.has_room(capacity) && pool.spares() == 0)
        };
        self.release_while(&is_full, true)
    }

    /// Releases from the first segment on. One caller at a time: a kill between two would leave a gap else.
    fn release_while(&self, goes_on: &dyn Fn() -> bool, for_room: bool) -> Result<()> {
        let Some(pool) = &self.pool else {
            return Ok(());
        };
        let _alone = self.releasing.lock();
        let tiered = self.tiered.load(Ordering::Acquire);
        while goes_on() {
            let segment = {
                let mut segments = self.shared.segments.write();
                match self.may_release(&segments, tiered, for_room) {
                    true => segments.remove(0),
                    false => return Ok(()),
                }
            };
            // What could not go may still be there after a crash, so nothing behind it may go: as long as the file
            // has its name it is the first again, and else nobody knows what is on disk.
            if let Err((segment, error)) = pool.retire(segment) {
                return match segment {
                    Some(segment) => {
                        self.shared.segments.write().insert(0, segment);
                        Err(error)
                    }
                    None => self.shared.poisoned(Err(error)),
                };
            }
        }
        Ok(())
    }

    /// Whether the first of the segments may go.
    fn may_release(&self, segments: &[Arc<Segment>], tiered: u64, for_room: bool) -> bool {
        let Some(footer) = segments.first().and_then(|first| first.footer()) else {
            return false;
        };
        if segments.len() < 2 || footer.end_offset > tiered {
            return false;
        }
        let retention = self.shared.options.retention;
        let is_kept_by_age = retention.age.map(|age| {
            let age_us = now_us().saturating_sub(footer.timestamp_us_max).max(0);
            Duration::from_micros(age_us.unsigned_abs()) < age
        });
        let is_kept_by_size = retention.bytes.map(|limit| {
            let ends = segments.iter().skip(1).map(|s| s.base_offset);
            let tiered_segments = segments.iter().zip(ends).filter(|(_, end)| *end <= tiered);
            tiered_segments.map(|(s, _)| s.header.capacity).sum::<u64>() <= limit
        });
        let is_kept = match (is_kept_by_age, is_kept_by_size) {
            (None, None) => false,
            (age, size) => age.unwrap_or(true) && size.unwrap_or(true),
        };
        for_room || !is_kept
    }
}
