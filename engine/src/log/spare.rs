//! A spare: a segment's file that is ready but for its name. Rolling to it is one rename.

use std::fs;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::block::SegmentHeader;
use super::frame::OFFSET_MAX;
use super::mapping::Mapping;
use super::segment::Segment;
use super::storage::{Storage, StorageFile, write_all_at};
use crate::error::{Error, Result};

/// The ending of a spare's file.
pub(crate) const SPARE_ENDING: &str = "spare";

/// A file with all its blocks and a durable header. It counts for nothing before it is named.
#[derive(Debug)]
pub(crate) struct Spare {
    path: PathBuf,
    header: SegmentHeader,
    storage: Arc<dyn Storage>,
    file: Box<dyn StorageFile>,
    map: Mapping,
}

impl Spare {
    fn path_of(directory: &Path, sequence: u64) -> PathBuf {
        directory.join(format!("{sequence:020}.{SPARE_ENDING}"))
    }

    /// Allocates a new file.
    pub(crate) fn allocate(
        storage: &Arc<dyn Storage>,
        directory: &Path,
        header: SegmentHeader,
    ) -> Result<Self> {
        let path = Self::path_of(directory, header.sequence);
        let file = storage.create(&path).map_err(Error::io("create", &path))?;
        let made = file
            .allocate(header.capacity)
            .map_err(Error::io("allocate the segment", &path))
            .and_then(|()| Mapping::new(file.file(), &path, header.capacity))
            .and_then(|map| {
                let spare = Self {
                    path: path.clone(),
                    header,
                    storage: Arc::clone(storage),
                    file,
                    map,
                };
                spare.write_header().map(|()| spare)
            });
        made.inspect_err(|_| {
            // What was allocated would only fill the disk; the error that matters is the first.
            let _ = storage.remove(&path);
        })
    }

    /// Takes the file of a segment whose rows nobody needs any more, its blocks and cached pages being ready.
    /// `None` when somebody still reads it; then it is removed, and readers keep what they have mapped.
    pub(crate) fn recycle(segment: Arc<Segment>, header: SegmentHeader) -> Result<Option<Self>> {
        let segment = match Arc::try_unwrap(segment) {
            Ok(segment) => segment,
            Err(shared) => return shared.remove().map(|()| None),
        };
        let is_free = segment.map.is_unshared()
            && segment.header.capacity == header.capacity
            && segment
                .file
                .try_lock(FlockOperation::NonBlockingLockExclusive);
        if !is_free {
            return segment.remove().map(|()| None);
        }
        let directory = segment.path.parent().unwrap_or(Path::new("."));
        let path = Self::path_of(directory, header.sequence);
        let storage = Arc::clone(&segment.storage);
        // Before the header is another's the segment must be gone for good.
        storage
            .rename(&segment.path, &path)
            .and_then(|()| storage.sync_directory(directory))
            .map_err(Error::io("rename", &segment.path))?;
        let Segment { file, map, .. } = segment;
        let spare = Self {
            path,
            header,
            storage,
            file,
            map,
        };
        spare.write_header().map(|()| Some(spare))
    }

    fn write_header(&self) -> Result<()> {
        let block = self.header.to_block();
        write_all_at(&*self.file, &mut [IoSlice::new(&block)], 0)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("write the header of", &self.path))
    }

    /// The file's length in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.header.capacity
    }

    /// Gives the file its name as a segment, which [`Segment::sync`] makes durable. After an error it is a spare
    /// as before.
    pub(crate) fn name(self, base_offset: u64) -> Result<Segment, Box<(Self, Error)>> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let path = Segment::path_of(directory, base_offset);
        if let Err(source) = self.storage.rename(&self.path, &path) {
            let error = Error::io("name the segment", &path)(source);
            return Err(Box::new((self, error)));
        }
        self.file.try_lock(FlockOperation::NonBlockingUnlock);
        let Self {
            header,
            storage,
            file,
            map,
            ..
        } = self;
        Ok(Segment::named(
            path,
            base_offset,
            header,
            storage,
            file,
            map,
        ))
    }

    /// Removes the file.
    pub(crate) fn remove(self) -> Result<()> {
        let removed = self.storage.remove(&self.path);
        removed.map_err(Error::io("remove", &self.path))
    }
}

/// The sequence that a left spare's file is named by.
pub(crate) fn sequence_of(path: &Path) -> Option<u64> {
    let sequence = path.file_stem()?.to_str()?.parse().ok()?;
    // A log gives none that is larger, so nobody's frames have it.
    (sequence <= OFFSET_MAX).then_some(sequence)
}

/// Removes the spares that an earlier process left: there is nothing in them.
pub(crate) fn remove_left(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(())
}
