//! A disk that syncs as slowly as a test wants, and remembers what happened to its directory.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::storage::{FileSystem, Storage, StorageFile};

/// What was done to a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// A file lost this name, its new one or none taking its place.
    Gone(PathBuf),
    Synced,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// How long an `fdatasync` and a removal take; without it nothing is synced.
    pub(super) delay: Option<Duration>,
    pub(super) done: Mutex<Vec<Done>>,
}

impl Disk {
    /// A disk for tests in which nothing depends on syncs.
    pub(super) fn unsynced() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(super) fn slow(milliseconds: u64) -> Arc<Self> {
        Arc::new(Self {
            delay: Some(Duration::from_millis(milliseconds)),
            done: Mutex::default(),
        })
    }

    fn open_file(&self, file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        let delay = self.delay;
        Box::new(DiskFile { file, delay })
    }

    fn gone(&self, path: &Path) {
        self.done.lock().push(Done::Gone(path.to_path_buf()));
    }
}

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        FileSystem.create(path).map(|file| self.open_file(file))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn StorageFile>> {
        FileSystem
            .open(path, writable)
            .map(|file| self.open_file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.delay.iter().for_each(|d| std::thread::sleep(*d));
        FileSystem.rename(from, to)?;
        self.gone(from);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.delay.iter().for_each(|d| std::thread::sleep(*d));
        FileSystem.remove(path)?;
        self.gone(path);
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        self.done.lock().push(Done::Synced);
        Ok(())
    }
}

#[derive(Debug)]
struct DiskFile {
    file: Box<dyn StorageFile>,
    delay: Option<Duration>,
}

impl StorageFile for DiskFile {
    fn file(&self) -> &File {
        self.file.file()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn write_some_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        // Others see the log with a frame that is reserved and not written.
        self.delay.iter().for_each(|_| std::thread::yield_now());
        self.file.write_some_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.delay.iter().for_each(|d| std::thread::sleep(*d));
        Ok(())
    }
}
