//! One writer per store: an exclusive `flock` on the file `LOCK`, which the kernel drops with the process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::error::{Error, Result};

/// Held for as long as the store is open for writing.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes the lock and leaves this process's id in the file.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] with the holder's process id when another holds it.
    pub(crate) fn acquire(store: &Path) -> Result<Self> {
        let path = store.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(locked(store, &mut file)),
            Err(errno) => return Err(Error::io("lock", &path)(errno.into())),
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        noted.map_err(Error::io("write", &path))?;
        Ok(Self { _file: file })
    }
}

fn locked(store: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let holder = match file.read_to_string(&mut holder) {
        Ok(length) if length > 0 => format!("process {holder}"),
        _ => "another process".to_owned(),
    };
    Error::Locked {
        path: store.to_path_buf(),
        holder,
    }
}
