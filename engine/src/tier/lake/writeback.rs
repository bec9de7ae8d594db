//! A local lake's data files on their way to the disk while they are written, so that the sync before a commit has little left
//! to wait for. As RocksDB's `bytes_per_sync` it promises nothing: what a version names is synced in [`durable`](super::durable).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// After so many bytes of rows: smaller rounds have nothing to gain.
const EVERY_BYTES: u64 = 16 << 20;
/// What the names of files begin with that Lance has not finished (tempfile's default).
const UNFINISHED: &[u8] = b".tmp";

/// Counts the bytes of rows that go to the files of a directory, and sends these to the disk now and then. Copies count
/// together.
#[derive(Debug, Clone)]
pub(super) struct Writeback {
    since: Arc<AtomicU64>,
    files: Arc<Mutex<Files>>,
}

impl Writeback {
    pub(super) fn new(directory: PathBuf) -> Self {
        let files = Files {
            directory,
            unfinished: HashMap::new(),
        };
        Self {
            since: Arc::default(),
            files: Arc::new(Mutex::new(files)),
        }
    }

    /// Within a runtime.
    pub(super) fn passed(&self, bytes: u64) {
        if self.since.fetch_add(bytes, Ordering::Relaxed) + bytes < EVERY_BYTES {
            return;
        }
        self.since.store(0, Ordering::Relaxed);
        let files = Arc::clone(&self.files);
        tokio::task::spawn_blocking(move || {
            // Else a slow disk is still at the last one.
            if let Some(mut files) = files.try_lock() {
                files.write_back();
            }
        });
    }
}

#[derive(Debug)]
struct Files {
    directory: PathBuf,
    /// By the names that they had when they were seen first.
    unfinished: HashMap<OsString, File>,
}

impl Files {
    /// What fails here is told by the sync that counts.
    fn write_back(&mut self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        let names = entries.flatten().map(|entry| entry.file_name());
        let names = names.filter(|name| name.as_encoded_bytes().starts_with(UNFINISHED));
        let mut now = HashMap::new();
        for name in names {
            let before = self.unfinished.remove(&name).map(Ok);
            let file = before.unwrap_or_else(|| File::open(self.directory.join(&name)));
            now.extend(file.ok().map(|file| (name, file)));
        }
        // Those that have been finished since go once more.
        for file in now.values().chain(self.unfinished.values()) {
            let _ = file.sync_data();
        }
        self.unfinished = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sent_to_the_disk_until_once_after_they_are_finished() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("older.lance"), "rows").unwrap();
        fs::write(at(".tmpA"), "rows").unwrap();
        let mut files = Files {
            directory: directory.path().to_path_buf(),
            unfinished: HashMap::new(),
        };
        let followed = |files: &Files| files.unfinished.keys().cloned().collect::<Vec<_>>();
        files.write_back();
        assert_eq!(followed(&files), [".tmpA"]);
        fs::rename(at(".tmpA"), at("finished.lance")).unwrap();
        fs::write(at(".tmpB"), "rows").unwrap();
        files.write_back();
        assert_eq!(followed(&files), [".tmpB"]);
        fs::remove_file(at(".tmpB")).unwrap();
        files.write_back();
        assert!(files.unfinished.is_empty());
    }
}
