//! Where it is measured: a directory of the run's own, of which nothing is left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::failure::{Failure, Outcome};
use crate::output::bytes;

/// How the run's directory is called, and some random letters after it.
const PREFIX: &str = ".alluvium-bench-";

/// A hidden directory within the one that the user named. Both the hidden one and what had to be made for
/// it are removed when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    within: PathBuf,
    hidden: Option<TempDir>,
    made: Vec<PathBuf>,
}

impl Place {
    /// Makes the directory, if there is room for what the run needs at a time.
    pub(super) fn make(within: &Path, needed: u64) -> Outcome<Self> {
        let cannot = |error: io::Error| {
            Failure::of(format_args!("cannot write in {}", within.display()), &error)
        };
        if within.exists() && !within.is_dir() {
            return Err(Failure::new(format!(
                "{} is not a directory",
                within.display()
            )));
        }
        let mut place = Self {
            within: within.to_path_buf(),
            hidden: None,
            made: Vec::new(),
        };
        let missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
        let missing: Vec<&Path> = within.ancestors().take_while(missing).collect();
        for directory in missing.into_iter().rev() {
            fs::create_dir(directory).map_err(cannot)?;
            place.made.push(directory.to_path_buf());
        }
        place.within = within.canonicalize().map_err(cannot)?;
        let hidden = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&place.within);
        place.hidden = Some(hidden.map_err(cannot)?);
        let room = rustix::fs::statvfs(&place.within).map_err(|errno| cannot(errno.into()))?;
        check_room(within, room.f_bavail.saturating_mul(room.f_frsize), needed)?;
        Ok(place)
    }

    /// The directory that the user named.
    pub(super) fn within(&self) -> &Path {
        &self.within
    }

    /// A path in the hidden directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let hidden = self.hidden.as_ref().map(TempDir::path);
        hidden.unwrap_or(&self.within).join(name)
    }

    /// Removes what was made, and tells if that failed.
    pub(super) fn remove(mut self) -> Outcome {
        let Some(hidden) = self.hidden.take() else {
            return Ok(());
        };
        let what = format!("cannot remove {}", hidden.path().display());
        hidden.close().map_err(|error| Failure::of(what, &error))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.hidden.take());
        for directory in self.made.iter().rev() {
            // Unless somebody else put something there.
            let _ = fs::remove_dir(directory);
        }
    }
}

fn check_room(within: &Path, free: u64, needed: u64) -> Outcome {
    if free >= needed {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} has {} free, and this needs {} at a time; make room, or measure elsewhere",
        within.display(),
        bytes(free),
        bytes(needed)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: Outcome<impl std::fmt::Debug>) -> String {
        match outcome {
            Err(Failure::Message(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_made_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::make(&dir.path().join("a/b"), 1).unwrap();
        fs::create_dir(place.path("store")).unwrap();
        assert!(place.path("store").is_dir());
        place.remove().unwrap();
        assert!(!dir.path().join("a").exists());

        fs::write(dir.path().join("kept"), "").unwrap();
        drop(Place::make(dir.path(), 1).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_disk_without_room_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let error = text(Place::make(&dir.path().join("new"), u64::MAX));
        assert!(
            error.contains("free") && error.contains("make room"),
            "{error}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(check_room(dir.path(), 2, 2).is_ok());
    }
}
