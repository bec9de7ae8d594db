//! The files of a log, in memory and on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// The files of a log by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    /// What lies in a directory.
    pub fn of(directory: &Path) -> Self {
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.expect("a directory that we made").path();
            let name = path.file_name()?.to_str()?.to_owned();
            // A spare may be taken away meanwhile.
            Some((name, fs::read(path).ok()?))
        };
        let entries = fs::read_dir(directory).expect("a directory that we made");
        Self(entries.filter_map(read).collect())
    }

    /// A new directory with these files.
    pub fn lay_out(&self) -> TempDir {
        let directory = new_directory();
        for (name, bytes) in &self.0 {
            fs::write(directory.path().join(name), bytes).expect("room for a small file");
        }
        directory
    }

    /// One of the names.
    pub fn name(&self, which: u8) -> Option<String> {
        let count = self.0.len().max(1);
        self.0.keys().nth(usize::from(which) % count).cloned()
    }

    /// One of the files.
    pub fn file(&mut self, which: u8) -> Option<&mut Vec<u8>> {
        let count = self.0.len().max(1);
        self.0.values_mut().nth(usize::from(which) % count)
    }
}

/// A directory in memory, where there is such a thing.
pub fn new_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => TempDir::with_prefix_in("alluvium-fuzz-", memory),
        false => TempDir::with_prefix("alluvium-fuzz-"),
    };
    made.expect("a temporary directory")
}
