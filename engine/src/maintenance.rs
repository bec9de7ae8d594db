//! How a table's lake is kept healthy: the policy that a user can set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What is done to a table's lake beside its rounds: small fragments are merged, old versions and garbage removed,
/// indices kept up. The defaults are good for a table that nobody looks at.
///
/// ```
/// # use std::time::Duration;
/// use alluvium::Maintenance;
/// let policy = Maintenance::default().keep_versions_for(Duration::from_secs(24 * 3600));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[must_use]
pub struct Maintenance {
    pub(crate) in_background: bool,
    pub(crate) every: Duration,
    pub(crate) merge_at: usize,
    pub(crate) fragment_bytes: u64,
    pub(crate) fragment_rows: u64,
    pub(crate) keep_versions: usize,
    pub(crate) keep_versions_for: Duration,
    pub(crate) orphans_after: Duration,
    pub(crate) unindexed_rows: u64,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            in_background: true,
            every: Duration::from_secs(10),
            merge_at: 8,
            fragment_bytes: 512 << 20,
            fragment_rows: 1 << 20,
            keep_versions: 1000,
            keep_versions_for: Duration::from_secs(3600),
            orphans_after: Duration::from_secs(24 * 3600),
            unindexed_rows: 50_000,
        }
    }
}

/// Fragments that are not full from which on merging does not wait for its time, and rounds wait a little for it.
const CROWDED: usize = 256;
/// How much longer rounds wait for each one more, and at most.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Maintenance {
    /// Whether a lake with so many fragments that are not full is merged without delay.
    pub(crate) fn is_crowded(&self, unmerged: usize) -> bool {
        self.in_background && unmerged >= CROWDED
    }

    /// Whether a fragment is large enough to stay as it is.
    pub(crate) fn is_full(&self, bytes: u64, rows: u64) -> bool {
        bytes >= self.fragment_bytes || rows >= self.fragment_rows
    }

    /// How long a round should wait so that merging keeps up, as log-structured stores slow their writers down: each commit
    /// names all fragments, so what falls behind falls behind ever faster.
    pub(crate) fn pause(&self, unmerged: usize) -> Duration {
        let beyond = match self.is_crowded(unmerged) {
            true => u32::try_from(unmerged - CROWDED).unwrap_or(u32::MAX),
            false => 0,
        };
        PAUSE.saturating_mul(beyond).min(PAUSE_MAX)
    }

    /// Whether all of this is done without being asked. Of the engines that tier into one dataset one is enough; more do
    /// no harm. Without, [`Table::maintain`](crate::Table::maintain) does it. Default: true.
    pub fn in_background(mut self, in_background: bool) -> Self {
        self.in_background = in_background;
        self
    }

    /// How often is looked whether there is something to do. Default: 10 s.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// How many neighbouring fragments of about the same size are merged into one, at least 2: fewer files with a lower
    /// number, less to rewrite with a higher one. A row is rewritten once for each factor by which fragments grow on the
    /// way to their full size. Default: 8.
    pub fn merge_at(mut self, fragments: usize) -> Self {
        self.merge_at = fragments;
        self
    }

    /// The bytes of a full fragment, which is not merged any more, at least 1 MiB. One merge reads and writes no more than
    /// about that. Default: 512 MiB.
    pub fn fragment_bytes(mut self, bytes: u64) -> Self {
        self.fragment_bytes = bytes;
        self
    }

    /// The rows of a full fragment. Default: 1,048,576.
    pub fn fragment_rows(mut self, rows: u64) -> Self {
        self.fragment_rows = rows;
        self
    }

    /// How many versions of the dataset are kept at most, at least 1. A reader that still reads an older one gets errors.
    /// Tagged versions are kept besides. Default: 1000.
    pub fn keep_versions(mut self, versions: usize) -> Self {
        self.keep_versions = versions;
        self
    }

    /// How long a version is kept once there is a newer one. Default: 1 h.
    pub fn keep_versions_for(mut self, age: Duration) -> Self {
        self.keep_versions_for = age;
        self
    }

    /// How old a file must be that no version names before it is removed as garbage. It must be longer than any round or
    /// merge of any engine may take, as their files look the same before they are committed. Default: 24 h.
    pub fn orphans_after(mut self, age: Duration) -> Self {
        self.orphans_after = age;
        self
    }

    /// How many rows may lack in an index before it is extended. Default: 50,000.
    pub fn unindexed_rows(mut self, rows: u64) -> Self {
        self.unindexed_rows = rows;
        self
    }

    pub(crate) fn versions_kept(&self) -> usize {
        self.keep_versions.max(1)
    }

    /// Refuses numbers that cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |what: &str, reason: &str| Err(Error::invalid(what, reason));
        if self.merge_at < 2 {
            return refuse("merge_at", "is at least 2: one fragment is merged already");
        }
        if self.fragment_bytes < 1 << 20 {
            return refuse("fragment_bytes", "is at least 1 MiB");
        }
        if self.fragment_rows == 0 {
            return refuse("fragment_rows", "is at least 1");
        }
        if self.keep_versions == 0 {
            return refuse(
                "keep_versions",
                "is at least 1: the newest version is the table",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_wait_for_merging_only_where_it_falls_behind_and_never_for_long() {
        let policy = Maintenance::default();
        assert_eq!(policy.pause(CROWDED), Duration::ZERO);
        assert_eq!(policy.pause(CROWDED + 100), Duration::from_millis(200));
        assert_eq!(policy.pause(usize::MAX), Duration::from_secs(1));
        let nobody_merges = policy.in_background(false);
        assert_eq!(nobody_merges.pause(1000), Duration::ZERO);
    }
}
