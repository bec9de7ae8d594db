//! What is measured: a fresh Alluvium table, and beside it the same bytes written by hand.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use alluvium::{Durability, Store, StoreOptions, Table, TableOptions};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::samples::{Sample, schema};
use crate::failure::{Failure, Outcome};

/// The size of the files that both lanes preallocate; a larger batch gets a larger one.
pub(super) const SEGMENT_BYTES: u64 = 128 << 20;

/// A table that was just made, in a store of its own.
#[derive(Debug)]
pub(super) struct AlluviumLane {
    directory: PathBuf,
    store: Store,
    table: Table,
}

impl AlluviumLane {
    /// Makes the store in a directory that does not exist.
    pub(super) fn open(directory: PathBuf, durability: Durability) -> Outcome<Self> {
        let store = StoreOptions::new().tiering(false).open(&directory)?;
        let options = TableOptions::new(schema())
            .durability(durability)
            .segment_bytes(SEGMENT_BYTES);
        let table = store.create_table("readings", options)?;
        Ok(Self {
            directory,
            store,
            table,
        })
    }

    /// Appends a batch.
    pub(super) fn append(&self, sample: &Sample) -> Outcome {
        let _ = self.table.append(&sample.batch)?;
        Ok(())
    }

    /// Removes the store.
    pub(super) fn close(self) -> Outcome {
        // Closing makes the log durable; what is not there any more needs not be written to the disk.
        drain(&self.directory.join("tables/readings/raw"));
        drop(self.table);
        let closed = self.store.close().map_err(Failure::from);
        closed.and(remove(&self.directory))
    }
}

/// Takes the blocks of a directory's files away, where the file system can; they keep their lengths, as
/// they are mapped.
fn drain(directory: &Path) {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in files {
        if let Ok(file) = OpenOptions::new().write(true).open(entry.path())
            && let Ok(metadata) = file.metadata()
        {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(&file, flags, 0, metadata.len());
        }
    }
}

/// Preallocated files that are written one after the other, as the log's segments are.
#[derive(Debug)]
pub(super) struct RawLane {
    directory: PathBuf,
    file_bytes: u64,
    sync: bool,
    place: Mutex<Place>,
}

/// Where the next bytes go.
#[derive(Debug)]
struct Place {
    file: Arc<File>,
    position: u64,
    files: u64,
}

impl RawLane {
    /// Makes the first file, in a directory that does not exist; `sync` asks for an `fdatasync` after each
    /// write.
    pub(super) fn open(directory: PathBuf, batch_bytes: u64, sync: bool) -> Outcome<Self> {
        let file_bytes = SEGMENT_BYTES.max(batch_bytes);
        let file = fs::create_dir(&directory)
            .and_then(|()| preallocated(&directory.join("0"), file_bytes))
            .map_err(|error| failed(&directory, &error))?;
        Ok(Self {
            directory,
            file_bytes,
            sync,
            place: Mutex::new(Place {
                file: Arc::new(file),
                position: 0,
                files: 1,
            }),
        })
    }

    /// Writes a batch's bytes.
    pub(super) fn append(&self, sample: &Sample) -> Outcome {
        let written = self.reserve(sample.bytes.len() as u64);
        written
            .and_then(|(file, position)| {
                file.write_all_at(&sample.bytes, position)?;
                match self.sync {
                    true => file.sync_data(),
                    false => Ok(()),
                }
            })
            .map_err(|error| failed(&self.directory, &error))
    }

    fn reserve(&self, bytes: u64) -> std::io::Result<(Arc<File>, u64)> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.position + bytes > self.file_bytes {
            let path = self.directory.join(place.files.to_string());
            place.file = Arc::new(preallocated(&path, self.file_bytes)?);
            place.files += 1;
            place.position = 0;
        }
        let position = place.position;
        place.position += bytes;
        Ok((Arc::clone(&place.file), position))
    }

    /// Removes the files.
    pub(super) fn close(self) -> Outcome {
        remove(&self.directory)
    }
}

fn preallocated(path: &Path, bytes: u64) -> std::io::Result<File> {
    const CHUNK: usize = 1 << 20;
    let file = File::create_new(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        // As the log does on file systems without it.
        Err(Errno::OPNOTSUPP) => {
            let zeros = vec![0; CHUNK];
            for position in (0..bytes).step_by(CHUNK) {
                let length = (bytes - position).min(CHUNK as u64) as usize;
                file.write_all_at(zeros.get(..length).unwrap_or_default(), position)?;
            }
        }
        done => done?,
    }
    Ok(file)
}

fn remove(directory: &Path) -> Outcome {
    let what = || format!("cannot remove {}", directory.display());
    fs::remove_dir_all(directory).map_err(|error| Failure::of(what(), &error))
}

fn failed(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::of(
        format_args!("cannot write in {}", directory.display()),
        error,
    )
}
