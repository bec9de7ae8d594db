//! What the log asks of a file system: a trait, so that tests can let it fail or lose power, and the real one.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::error::{Error, Result};

/// The most buffers that Linux takes in one `pwritev` (IOV_MAX).
const SLICES_PER_WRITE: usize = 1024;

/// Directories and the files in them.
pub(crate) trait Storage: Debug + Send + Sync {
    /// Creates a file for reading and writing; one that is there is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Opens a file for reading, and for writing if `writable`.
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn StorageFile>>;

    /// Renames a file within its directory, in place of one that has the name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's entries durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Whether a test planted this fault, where there is no [`LogOptions`](super::LogOptions) to ask.
    #[cfg(test)]
    fn has(&self, _fault: super::tests::Planted) -> bool {
        false
    }
}

/// An open file.
pub(crate) trait StorageFile: Debug + Send + Sync {
    /// The file that is read through a map, whatever writes do.
    fn file(&self) -> &File;

    /// Gives the file all its blocks, so that no later write finds the disk full and no read a hole.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Writes as much as the system takes at a time from a position on; gives the bytes written.
    fn write_some_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Makes what was written durable, and the file's length.
    fn sync_data(&self) -> io::Result<()>;

    /// Locks the file against other processes (and other handles) without waiting; whether that worked.
    fn try_lock(&self, how: FlockOperation) -> bool {
        rustix::fs::flock(self.file(), how).is_ok()
    }
}

/// The file system that the operating system has.
#[derive(Debug)]
pub(crate) struct FileSystem;

impl Storage for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true);
        Ok(Box::new(file.open(path)?))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(writable).open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

impl StorageFile for File {
    fn file(&self) -> &File {
        self
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, length) {
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(self, length),
            done => Ok(done?),
        }
    }

    fn write_some_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, slices, position)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(self)?)
    }
}

/// Fills a file with zeros: what `fallocate` does, for file systems without it, and blocks that need no further note once
/// something is written to them.
pub(crate) fn write_zeros(file: &dyn StorageFile, length: u64) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let zeros = vec![0u8; CHUNK];
    let mut position = 0;
    while position < length {
        let bytes = (length - position).min(CHUNK as u64);
        let piece = zeros.get(..bytes as usize).unwrap_or(&zeros);
        write_all_at(file, &mut [IoSlice::new(piece)], position)?;
        position += bytes;
    }
    Ok(())
}

/// Gives a file all its blocks, however often a signal interrupts.
pub(crate) fn allocate(file: &dyn StorageFile, length: u64) -> io::Result<()> {
    uninterrupted(|| file.allocate(length))
}

/// Makes what was written to a file durable, however often a signal interrupts.
pub(crate) fn sync_data(file: &dyn StorageFile) -> io::Result<()> {
    uninterrupted(|| file.sync_data())
}

/// Calls until no signal interrupts.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Writes until everything is written, however often a signal interrupts and whatever is taken at a time.
pub(crate) fn write_all_at(
    file: &dyn StorageFile,
    mut slices: &mut [IoSlice<'_>],
    mut position: u64,
) -> io::Result<()> {
    while !slices.is_empty() {
        let few = slices.get(..SLICES_PER_WRITE).unwrap_or(slices);
        match uninterrupted(|| file.write_some_at(few, position))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                position += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
        }
    }
    Ok(())
}

/// The files of a directory with that ending, in the order of their names.
pub(crate) fn files_ending_in(directory: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", directory))?.path();
        if path.extension().is_some_and(|found| found == ending) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    sync_names(&FileSystem, directory)
}

/// As [`sync_directory`], of a directory on that storage.
pub(crate) fn sync_names(storage: &dyn Storage, directory: &Path) -> Result<()> {
    let synced = storage.sync_directory(directory);
    synced.map_err(Error::io("fsync the directory", directory))
}

/// Creates a directory and the ones above it that are missing, durably.
pub(crate) fn create_directory(path: &Path) -> Result<()> {
    let missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(missing).collect();
    for directory in missing.into_iter().rev() {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(Error::io("create the directory", directory))?,
        }
        let parent = directory.parent().filter(|p| !p.as_os_str().is_empty());
        sync_directory(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}
