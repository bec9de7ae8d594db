//! A simulated disk at each of whose calls another thread may go first: before it, after it, and halfway through a write.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::time::Duration;

use shuttle::thread;

use crate::log::storage::{Storage, StorageFile};
use crate::log::tests::Planted;
use crate::log::tests::simulated::Simulated;

#[derive(Debug)]
pub(super) struct Stepped(pub(super) Simulated);

#[derive(Debug)]
struct SteppedFile(Box<dyn StorageFile>);

/// Lets the scheduler choose who goes on.
fn step() {
    thread::sleep(Duration::ZERO);
}

fn stepped(file: io::Result<Box<dyn StorageFile>>) -> io::Result<Box<dyn StorageFile>> {
    Ok(Box::new(SteppedFile(file?)))
}

impl Storage for Stepped {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        step();
        stepped(self.0.create(path))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn StorageFile>> {
        step();
        stepped(self.0.open(path, writable))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        step();
        self.0.rename(from, to)?;
        step();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        step();
        self.0.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        step();
        self.0.sync_directory(directory)?;
        step();
        Ok(())
    }

    fn has(&self, fault: Planted) -> bool {
        self.0.has(fault)
    }
}

impl StorageFile for SteppedFile {
    fn file(&self) -> &File {
        self.0.file()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        step();
        self.0.allocate(length)
    }

    fn write_some_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        step();
        // A frame's header comes first, and what it vouches for is not there yet.
        let half = slices.get(..slices.len().div_ceil(2)).unwrap_or(slices);
        self.0.write_some_at(half, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        step();
        self.0.sync_data()?;
        step();
        Ok(())
    }
}
