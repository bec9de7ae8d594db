//! A spare: a segment's file that is ready but for its name. Rolling to it is one rename.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::block::SegmentHeader;
use super::frame::FrameHeader;
use super::mapping::Mapping;
use super::options::LogOptions;
use super::segment::{FRAMES_START, Segment};
use super::storage::{Storage, StorageFile, allocate, sync_data, write_all_at, write_zeros};
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

    /// Allocates a new file for a log, full of zeros if its appends wait for the disk.
    pub(crate) fn allocate(options: &LogOptions, header: SegmentHeader) -> Result<Self> {
        let storage = &options.storage;
        let path = Self::path_of(&options.directory, header.sequence);
        let file = storage.create(&path).map_err(Error::io("create", &path))?;
        let made = allocate(&*file, header.capacity)
            .and_then(|()| match options.fills_segments() {
                true => write_zeros(&*file, header.capacity),
                false => Ok(()),
            })
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
    ///
    /// After an error the segment is given back if its file still has its name.
    pub(crate) fn recycle(
        segment: Arc<Segment>,
        header: SegmentHeader,
    ) -> Result<Option<Self>, (Option<Arc<Segment>>, Error)> {
        let segment = match Arc::try_unwrap(segment) {
            Ok(segment) => segment,
            Err(shared) => return remove(shared).map(|()| None),
        };
        let is_unshared = segment.map.is_unshared();
        #[cfg(test)]
        let is_unshared = is_unshared || segment.storage.has(super::tests::Planted::RecycleHeld);
        let is_free = is_unshared
            && segment.header.capacity == header.capacity
            && segment
                .file
                .try_lock(FlockOperation::NonBlockingLockExclusive);
        if !is_free {
            return remove(Arc::new(segment)).map(|()| None);
        }
        let directory = segment.path.parent().unwrap_or(Path::new("."));
        let path = Self::path_of(directory, header.sequence);
        let storage = Arc::clone(&segment.storage);
        // Before the header is another's the segment must be gone for good.
        if let Err(source) = storage.rename(&segment.path, &path) {
            let error = Error::io("rename", &segment.path)(source);
            return Err((Some(Arc::new(segment)), error));
        }
        gone_for_good(&*storage, directory)
            .map_err(|source| (None, Error::io("fsync the directory", directory)(source)))?;
        let Segment { file, map, .. } = segment;
        // What was read of it is resident still.
        map.give_back(0..header.capacity);
        let spare = Self {
            path,
            header,
            storage,
            file,
            map,
        };
        let written = spare.write_header().map_err(|error| (None, error));
        written.map(|()| Some(spare))
    }

    fn write_header(&self) -> Result<()> {
        let block = self.header.to_block();
        write_all_at(&*self.file, &mut [IoSlice::new(&block)], 0)
            .and_then(|()| sync_data(&*self.file))
            .map_err(Error::io("write the header of", &self.path))
    }

    /// Writes the first frame, durably if `synced`.
    pub(crate) fn begin_with(
        &self,
        header: &FrameHeader,
        payload: &[u8],
        synced: bool,
    ) -> Result<()> {
        let head = header.to_bytes(self.header.salt);
        let mut slices = [IoSlice::new(&head), IoSlice::new(payload)];
        write_all_at(&*self.file, &mut slices, FRAMES_START)
            .and_then(|()| match synced {
                true => sync_data(&*self.file),
                false => Ok(()),
            })
            .map_err(Error::io("write the roll call of", &self.path))
    }

    /// The number that no other file of the log has or had.
    pub(crate) fn sequence(&self) -> u64 {
        self.header.sequence
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

/// Removes a segment's file, or gives the segment back with the error.
pub(crate) fn remove(segment: Arc<Segment>) -> Result<(), (Option<Arc<Segment>>, Error)> {
    segment.remove().map_err(|error| (Some(segment), error))
}

/// Makes it durable that a file hasn't its old name any more.
fn gone_for_good(storage: &dyn Storage, directory: &Path) -> std::io::Result<()> {
    #[cfg(test)]
    if storage.has(super::tests::Planted::RecycleBeforeDirectorySync) {
        return Ok(());
    }
    storage.sync_directory(directory)
}

/// The sequence that a left spare's file is named by; not one that leaves no others.
pub(crate) fn sequence_of(path: &Path) -> Option<u64> {
    let sequence = path.file_stem()?.to_str()?.parse().ok();
    sequence.filter(|sequence| *sequence < u64::MAX / 2)
}

/// Removes the spares that an earlier process left: there is nothing in them.
pub(crate) fn remove_left(storage: &dyn Storage, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        storage.remove(path).map_err(Error::io("remove", path))?;
    }
    Ok(())
}
