//! What is about to become of dead letters, kept beside the table while the lake and the dataset of dead letters do not
//! agree about it: `dead.json`. Two datasets have no common commit; this file tells after a crash which of them is ahead.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalog::{read_json, remove_file, replace_file};
use crate::error::{Error, Result};
use crate::log::sync_directory;
use crate::tier::lake::Progress;

const FILE_NAME: &str = "dead.json";

/// Dead letters that are no longer any once the lake has committed so: they were retried or dropped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Resolution {
    /// The lake's progress without that commit, and with it.
    pub(super) before: Progress,
    pub(super) after: Progress,
    pub(crate) offsets: Vec<u64>,
    /// Whether the lake is known to have committed.
    pub(super) is_committed: bool,
}

impl Resolution {
    /// The one that was begun and not brought to its end, if any.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>> {
        read_json(&directory.join(FILE_NAME))
    }

    /// Whether one was begun.
    pub(crate) fn is_there(directory: &Path) -> bool {
        directory.join(FILE_NAME).exists()
    }

    /// Keeps it; it survives power loss once this returned.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let text = serde_json::to_vec(self)
            .map_err(|e| Error::invalid(path.display().to_string(), e.to_string()))?;
        replace_file(&path, &text)
    }

    /// Forgets it, as both datasets agree.
    pub(super) fn remove(directory: &Path) -> Result<()> {
        remove_file(&directory.join(FILE_NAME))?;
        sync_directory(directory)
    }

    /// Whether the lake has committed it, by the lake's progress.
    pub(crate) fn is_in(&self, lake: &Progress) -> bool {
        // Where the history was cleaned up, the rows tell, if there were any.
        let by_rows = self.before.rows < self.after.rows && lake.rows == self.after.rows;
        self.is_committed || *lake == self.after || by_rows
    }
}
