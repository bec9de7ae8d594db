//! What an acknowledged append survives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an acknowledged append survives. Whatever the mode, a process that is killed loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Durability {
    /// The death of the process (SIGKILL included), not that of the machine. The fastest.
    Buffered,
    /// Power loss, all but what was appended in the last interval (and while its `fdatasync` ran).
    /// The log is synced that often in the background.
    Interval(Duration),
    /// Power loss: an append returns once the disk has the rows. Producers that wait at the same time
    /// share one `fdatasync`.
    Sync,
}

impl Default for Durability {
    /// [`Durability::Interval`] of 100 ms.
    fn default() -> Self {
        Self::Interval(Duration::from_millis(100))
    }
}
