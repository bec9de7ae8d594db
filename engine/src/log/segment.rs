//! A segment: one preallocated file of frames, written with `pwritev`, read through a map.

use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_buffer::Buffer;
use rustix::fs::{FlockOperation, SeekFrom};

use super::block::{BLOCK_BYTES, LogKind, SegmentFooter, SegmentHeader};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, checksum_of};
use super::mapping::Mapping;
use super::storage::{Storage, StorageFile, sync_data, sync_names, write_all_at};
use crate::error::{Error, Result};

/// The ending of a segment's file.
pub(crate) const SEGMENT_ENDING: &str = "seg";

/// One file of a log. Its frames lie between the header block and the footer block.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// The first offset, by which the file is named.
    pub(crate) base_offset: u64,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) file: Box<dyn StorageFile>,
    pub(super) map: Mapping,
    footer: OnceLock<SegmentFooter>,
    /// Whether the file's name is durable.
    anchored: AtomicBool,
    /// Below this position payloads were verified, or written by this process.
    verified: AtomicU64,
    released: AtomicBool,
}

/// Where the first frame of a segment lies.
pub(crate) const FRAMES_START: u64 = BLOCK_BYTES;

impl Segment {
    /// The path of the segment that begins at an offset: twenty digits, so that names sort as offsets do.
    pub(crate) fn path_of(directory: &Path, base_offset: u64) -> PathBuf {
        directory.join(format!("{base_offset:020}.{SEGMENT_ENDING}"))
    }

    /// The capacity that a segment needs to hold one frame of that size.
    pub(crate) fn capacity_for(frame_bytes: u64) -> u64 {
        (frame_bytes + 2 * BLOCK_BYTES).next_multiple_of(BLOCK_BYTES)
    }

    /// A segment of a file that was just given its name, and which only this process has written.
    pub(super) fn named(
        path: PathBuf,
        base_offset: u64,
        header: SegmentHeader,
        storage: Arc<dyn Storage>,
        file: Box<dyn StorageFile>,
        map: Mapping,
    ) -> Self {
        Self {
            path,
            header,
            base_offset,
            storage,
            file,
            map,
            footer: OnceLock::new(),
            anchored: AtomicBool::new(false),
            verified: AtomicU64::new(u64::MAX),
            released: AtomicBool::new(false),
        }
    }

    /// Opens a segment's file and checks its header and length. One that is opened only for reading is
    /// pinned: its file is not used for another segment before it is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`]; [`Error::Io`] with `NotFound` also when the file is being reused right now.
    pub(crate) fn open(storage: &Arc<dyn Storage>, path: &Path, writable: bool) -> Result<Self> {
        let io = |source| Error::io("open", path)(source);
        let file = storage.open(path, writable).map_err(io)?;
        if !writable {
            pin(&*file, path).map_err(io)?;
        }
        let length = file
            .file()
            .metadata()
            .map_err(Error::io("look at", path))?
            .len();
        let corrupt = |position, reason: String| Error::Corrupt {
            path: path.to_path_buf(),
            position,
            reason,
        };
        if length < 2 * BLOCK_BYTES {
            let reason = "the file is too short for a segment".to_owned();
            return Err(corrupt(length, reason));
        }
        let header = read_block(&*file, path, 0)?;
        let header = SegmentHeader::from_block(&header).map_err(|reason| corrupt(0, reason))?;
        if header.capacity != length {
            let reason = format!("the file should have {} bytes", header.capacity);
            return Err(corrupt(length, reason));
        }
        let base_offset = base_offset_of(path)
            .ok_or_else(|| corrupt(0, "the file's name is not an offset".to_owned()))?;
        let footer = read_block(&*file, path, length - BLOCK_BYTES)?;
        let footer = SegmentFooter::from_block(&footer, header.sequence, header.salt);
        // What was copied to another's name would send appends to where rows are.
        let begins_at = footer.map(|f| f.end_offset.checked_sub(f.rows));
        if begins_at.is_some_and(|begins_at| begins_at != Some(base_offset)) {
            let reason = "the file's name is not the offset that its rows begin at".to_owned();
            return Err(corrupt(0, reason));
        }
        let map = Mapping::new(file.file(), path, length)?;
        let segment = Self::named(
            path.into(),
            base_offset,
            header,
            Arc::clone(storage),
            file,
            map,
        );
        segment.verified.store(FRAMES_START, Ordering::Relaxed);
        // Whoever named it may have been killed before the name was durable; not if it was sealed.
        segment.anchored.store(footer.is_some(), Ordering::Relaxed);
        if let Some(footer) = footer {
            let frames = FRAMES_START..=segment.frames_end();
            if !frames.contains(&footer.length) {
                let reason = "the footer is not that of a segment of this size".to_owned();
                return Err(corrupt(segment.frames_end(), reason));
            }
            let _ = segment.footer.set(footer);
        }
        Ok(segment)
    }

    /// Where frames must end: the start of the footer block.
    pub(crate) fn frames_end(&self) -> u64 {
        self.header.capacity - BLOCK_BYTES
    }

    /// The footer, once the segment is sealed.
    pub(crate) fn footer(&self) -> Option<&SegmentFooter> {
        self.footer.get()
    }

    /// Writes pieces one after the other from a position on.
    pub(crate) fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> Result<()> {
        write_all_at(&*self.file, slices, position).map_err(Error::io("write to", &self.path))
    }

    /// Makes everything that was written durable, and the file's name if it isn't yet.
    pub(crate) fn sync(&self) -> Result<()> {
        sync_data(&*self.file).map_err(Error::io("fdatasync", &self.path))?;
        #[cfg(test)]
        if self.storage.has(super::tests::Planted::SkipAnchor) {
            return Ok(());
        }
        if !self.is_anchored() {
            let directory = self.path.parent().unwrap_or(Path::new("."));
            sync_names(&*self.storage, directory)?;
            self.anchored.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether the file's name is durable, and what was written before it was made so.
    pub(crate) fn is_anchored(&self) -> bool {
        self.anchored.load(Ordering::Acquire)
    }

    /// Writes the footer. The caller synced the frames before, as a footer vouches for them.
    pub(crate) fn seal(&self, footer: SegmentFooter) -> Result<()> {
        self.write_at(
            &mut [IoSlice::new(&footer.to_block(self.header.salt))],
            self.frames_end(),
        )?;
        self.sync()?;
        let _ = self.footer.set(footer);
        Ok(())
    }

    /// Removes the file. Readers keep what they have mapped.
    pub(crate) fn remove(&self) -> Result<()> {
        self.mark_released();
        let removed = self.storage.remove(&self.path);
        removed.map_err(Error::io("remove", &self.path))
    }

    /// Lets nobody seal the segment any more, as its file is about to go.
    pub(crate) fn mark_released(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    /// Whether the file was removed.
    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    /// The header of the frame at a position, if a valid one of this segment lies there.
    pub(crate) fn frame_header(&self, position: u64) -> Option<FrameHeader> {
        let bytes = self.map.bytes(position..position + FRAME_HEADER_BYTES)?;
        let header = FrameHeader::from_bytes(bytes, self.header.salt)?;
        let fits = position + header.frame_bytes() <= self.frames_end();
        let is_of_here = header.segment_sequence == self.header.sequence
            && header.base_offset >= self.base_offset;
        let has_rows = header.end_offset - header.base_offset == u64::from(header.row_count)
            || self.header.kind == LogKind::Staged;
        (fits && is_of_here && has_rows).then_some(header)
    }

    /// The payload of a frame, if its checksum is right.
    pub(crate) fn payload(&self, position: u64, header: &FrameHeader) -> Option<Buffer> {
        let start = position + FRAME_HEADER_BYTES;
        let payload = self
            .map
            .buffer(start..start + u64::from(header.payload_length))?;
        (checksum_of(&payload) == header.payload_checksum).then_some(payload)
    }

    /// The payload of a frame; its checksum is looked at once, in the order of the frames.
    pub(crate) fn payload_verified_once(
        &self,
        position: u64,
        header: &FrameHeader,
    ) -> Option<Buffer> {
        let verified = self.verified.load(Ordering::Relaxed);
        if position >= verified {
            let payload = self.payload(position, header)?;
            self.pass(position, header);
            return Some(payload);
        }
        let start = position + FRAME_HEADER_BYTES;
        self.map
            .buffer(start..start + u64::from(header.payload_length))
    }

    /// Notes that a frame needs no further look at its payload, if all before it don't either: one that was looked
    /// at, or has no rows.
    pub(crate) fn pass(&self, position: u64, header: &FrameHeader) {
        let end = position + header.frame_bytes();
        let (order, verified) = (Ordering::Relaxed, &self.verified);
        let _ = verified.compare_exchange(position, end, order, order);
    }

    /// Notes that the payloads of all frames were looked at, and that what follows is this process's own.
    pub(crate) fn trust(&self) {
        self.verified.store(u64::MAX, Ordering::Relaxed);
    }

    /// The parts of the frames' room from a position on that hold data; the rest reads as zeros.
    pub(crate) fn data_from(&self, position: u64) -> Vec<std::ops::Range<u64>> {
        let end = self.frames_end();
        let mut ranges = Vec::new();
        let mut at = position;
        while at < end {
            let start = match rustix::fs::seek(self.file.file(), SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(rustix::io::Errno::NXIO) => break,
                // A file system that can't tell has data everywhere.
                Err(_) => at,
            };
            let hole = rustix::fs::seek(self.file.file(), SeekFrom::Hole(start.max(at)));
            at = hole.unwrap_or(end).clamp(start + 1, end.max(start + 1));
            if start < end {
                ranges.push(start.max(position)..at.min(end));
            }
        }
        ranges
    }

    /// Writes frames once more as they are. After a failed fsync the kernel may hold pages for clean
    /// that never reached the disk; only pages that were written again are synced again.
    pub(crate) fn rewrite(&self, range: std::ops::Range<u64>) -> Result<()> {
        const CHUNK: usize = 1 << 20;
        let mut position = range.start;
        for chunk in self.map.bytes(range).unwrap_or_default().chunks(CHUNK) {
            // A copy, as the map's pages are the ones that are written to.
            let copy = chunk.to_vec();
            self.write_at(&mut [IoSlice::new(&copy)], position)?;
            position += chunk.len() as u64;
        }
        Ok(())
    }

    /// A [`Error::Corrupt`] at a position of this segment.
    pub(crate) fn corrupt(&self, position: u64, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            position,
            reason: reason.into(),
        }
    }
}

/// Reads a header or footer. Through the map it would cost a page fault, and most segments are opened without being read.
fn read_block(
    file: &dyn StorageFile,
    path: &Path,
    position: u64,
) -> Result<[u8; BLOCK_BYTES as usize]> {
    let mut block = [0; BLOCK_BYTES as usize];
    let read = file.file().read_exact_at(&mut block, position);
    read.map_err(Error::io("read", path))?;
    Ok(block)
}

/// Locks a file against being reused, and makes sure that it still has its name.
fn pin(file: &dyn StorageFile, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let is_pinned = file.try_lock(FlockOperation::NonBlockingLockShared);
    let (opened, named) = (file.file().metadata()?, std::fs::metadata(path)?);
    match is_pinned && opened.ino() == named.ino() {
        true => Ok(()),
        false => Err(std::io::ErrorKind::NotFound.into()),
    }
}

/// The offset that a segment's file is named by.
fn base_offset_of(path: &Path) -> Option<u64> {
    let digits = path.file_stem()?.to_str()?;
    let offset = digits.parse().ok()?;
    (digits.len() == 20 && offset <= super::frame::OFFSET_MAX).then_some(offset)
}
