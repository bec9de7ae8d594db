//! A segment: one preallocated file of frames, written with `pwritev`, read through a map.

use std::fs::{self, File, OpenOptions};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_buffer::Buffer;
use rustix::fs::{FallocateFlags, SeekFrom};

use super::block::{BLOCK_BYTES, SegmentFooter, SegmentHeader};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, checksum_of};
use super::mapping::Mapping;
use crate::error::{Error, Result};

/// The most buffers that Linux takes in one `pwritev` (IOV_MAX).
const SLICES_PER_WRITE: usize = 1024;

/// One file of a log. Its frames lie between the header block and the footer block.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    footer: OnceLock<SegmentFooter>,
    file: File,
    map: Mapping,
    released: AtomicBool,
}

/// A segment that has no name yet.
#[derive(Debug)]
pub(crate) struct Fresh {
    segment: Segment,
    unnamed: PathBuf,
    parent: File,
}

impl Fresh {
    /// Gives the segment its name, durably. After an error it is not known whether it has it.
    pub(crate) fn publish(self) -> Result<Segment> {
        let path = &self.segment.path;
        fs::rename(&self.unnamed, path)
            .and_then(|()| self.parent.sync_all())
            .map_err(Error::io("name the segment", path))?;
        Ok(self.segment)
    }
}

/// Where the first frame of a segment lies.
pub(crate) const FRAMES_START: u64 = BLOCK_BYTES;

impl Segment {
    /// The file's name: its base offset in twenty digits, so that names sort as offsets do.
    fn file_name(base_offset: u64) -> String {
        format!("{base_offset:020}.seg")
    }

    /// The capacity that a segment needs to hold one frame of that size.
    pub(crate) fn capacity_for(frame_bytes: u64) -> u64 {
        (frame_bytes + 2 * BLOCK_BYTES).next_multiple_of(BLOCK_BYTES)
    }

    /// Allocates a segment's file and makes its header durable. It doesn't count before it is [published](Fresh::publish).
    pub(crate) fn prepare(directory: &Path, header: SegmentHeader) -> Result<Fresh> {
        let path = directory.join(Self::file_name(header.base_offset));
        let unnamed = path.with_extension("new");
        // Whatever can fail for want of a descriptor or of memory fails here, where it has no effect.
        let parent = File::open(directory).map_err(Error::io("open", directory))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unnamed)
            .map_err(Error::io("create", &unnamed))?;
        let block = header.to_block();
        let map = allocate(&file, header.capacity)
            .and_then(|()| write_all_at(&file, &mut [IoSlice::new(&block)], 0))
            .and_then(|()| file.sync_all())
            .map_err(Error::io("allocate the segment", &path))
            .and_then(|()| Mapping::new(&file, &path, header.capacity));
        let map = map.inspect_err(|_| {
            // What was allocated would only fill the disk; the error that matters is the first.
            let _ = fs::remove_file(&unnamed);
        })?;
        let segment = Self {
            path,
            header,
            footer: OnceLock::new(),
            file,
            map,
            released: AtomicBool::new(false),
        };
        Ok(Fresh {
            segment,
            unnamed,
            parent,
        })
    }

    /// Opens a segment's file and checks its header and length.
    pub(crate) fn open(path: &Path, writable: bool) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(writable)
            .open(path)
            .map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        let corrupt = |position, reason: String| Error::Corrupt {
            path: path.to_path_buf(),
            position,
            reason,
        };
        if length < 2 * BLOCK_BYTES {
            return Err(corrupt(
                length,
                "the file is too short for a segment".into(),
            ));
        }
        let map = Mapping::new(&file, path, length)?;
        let block = map.bytes(0..BLOCK_BYTES).unwrap_or_default();
        let header = SegmentHeader::from_block(block).map_err(|reason| corrupt(0, reason))?;
        if header.capacity != length {
            let reason = format!("the file should have {} bytes", header.capacity);
            return Err(corrupt(length, reason));
        }
        let block = map.bytes(length - BLOCK_BYTES..length).unwrap_or_default();
        let footer = OnceLock::new();
        if let Some(sealed) = SegmentFooter::from_block(block, header.sequence) {
            let _ = footer.set(sealed);
        }
        Ok(Self {
            path: path.to_path_buf(),
            header,
            footer,
            file,
            map,
            released: AtomicBool::new(false),
        })
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
        write_all_at(&self.file, slices, position).map_err(Error::io("write to", &self.path))
    }

    /// Makes everything that was written durable.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fdatasync(&self.file)
            .map_err(|errno| Error::io("fdatasync", &self.path)(errno.into()))
    }

    /// Writes the footer. The caller synced the frames before, as a footer vouches for them.
    pub(crate) fn seal(&self, footer: SegmentFooter) -> Result<()> {
        self.write_at(&mut [IoSlice::new(&footer.to_block())], self.frames_end())?;
        self.sync()?;
        let _ = self.footer.set(footer);
        Ok(())
    }

    /// Removes the file. Readers keep what they have mapped.
    pub(crate) fn release(&self) -> Result<()> {
        self.released.store(true, Ordering::Relaxed);
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
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
            && header.base_offset >= self.header.base_offset;
        let has_rows = header.end_offset - header.base_offset == u64::from(header.row_count);
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

    /// The parts of the frames' room from a position on that hold data; the rest reads as zeros.
    pub(crate) fn data_from(&self, position: u64) -> Vec<std::ops::Range<u64>> {
        let end = self.frames_end();
        let mut ranges = Vec::new();
        let mut at = position;
        while at < end {
            let start = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(rustix::io::Errno::NXIO) => break,
                // A file system that can't tell has data everywhere.
                Err(_) => at,
            };
            let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(start.max(at)));
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

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(Error::io("fsync the directory", directory))
}

/// Gives the file all its blocks, so that no later write finds the disk full and no read a hole.
fn allocate(file: &File, capacity: u64) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, capacity) {
        Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(file, capacity),
        done => Ok(done?),
    }
}

/// What `fallocate` does, for file systems without it.
fn write_zeros(file: &File, capacity: u64) -> std::io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let zeros = vec![0u8; CHUNK];
    let mut position = 0;
    while position < capacity {
        let length = (capacity - position).min(CHUNK as u64);
        let piece = zeros.get(..length as usize).unwrap_or(&zeros);
        write_all_at(file, &mut [IoSlice::new(piece)], position)?;
        position += length;
    }
    Ok(())
}

/// `pwritev` until everything is written, whatever the kernel takes at a time.
fn write_all_at(
    file: &File,
    mut slices: &mut [IoSlice<'_>],
    mut position: u64,
) -> std::io::Result<()> {
    while !slices.is_empty() {
        let few = slices.get(..SLICES_PER_WRITE).unwrap_or(slices);
        match rustix::io::pwritev(file, few, position) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
