//! Removing old versions, and files that no version names.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lance::dataset::cleanup::{CleanupCandidateFile, CleanupPolicy};
use lance_io::object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;

use super::Lake;
use super::durable::{DELETIONS, TRANSACTIONS, blocking};
use super::progress::is_missing;
use crate::crash::crash_point;
use crate::log::now_us;
use crate::maintenance::Maintenance;
use crate::{Error, Result};

/// Unnamed files beyond so many wait for the next time.
const ORPHANS_MAX: usize = 10_000;

/// What a cleanup removed, and what it left for later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cleaned {
    /// Versions that were removed.
    pub(crate) versions: u64,
    /// Bytes of the files that were removed.
    pub(crate) bytes: u64,
    /// Bytes of files that no version names and that are too young to be called garbage: they may be of a commit that
    /// is under way.
    pub(crate) orphan_bytes: u64,
}

impl Lake {
    /// Removes the versions that the policy doesn't keep, with the files that only they name, and the files that no
    /// version names once they are old enough. Tagged versions stay. How far every table is, the removed versions
    /// included, is kept in a [checkpoint](super::checkpoint) before.
    pub(crate) async fn clean(&mut self, policy: &Maintenance) -> Result<Cleaned> {
        self.refresh().await?;
        let mut cleaned = Cleaned::default();
        if let Some(horizon) = self.horizon(policy).await?
            && let Some(kept) = self.checkpoint().await?
        {
            crash_point("cleanup: checkpoint written");
            let policy = CleanupPolicy {
                // Others may have committed between the two: what the checkpoint does not know stays.
                before_version: Some(horizon.min(kept + 1)),
                error_if_tagged_old_versions: false,
                ..CleanupPolicy::default()
            };
            let removed = self.dataset.cleanup(policy).execute().await;
            let removed = removed.map_err(self.error("remove old versions of"))?;
            crash_point("cleanup: versions removed");
            cleaned.versions = removed.old_versions;
            cleaned.bytes = removed.bytes_removed;
        }
        self.sweep(policy, &mut cleaned).await?;
        Ok(cleaned)
    }

    /// The first version that is kept; `None` when all are.
    async fn horizon(&self, policy: &Maintenance) -> Result<Option<u64>> {
        let versions = self.dataset.version_refs().await;
        let versions = versions.map_err(self.error("list the versions of"))?;
        let versions: Vec<u64> = versions.iter().map(|version| version.version).collect();
        let newest = versions.len().saturating_sub(1);
        let by_count = versions.len().saturating_sub(policy.versions_kept());
        // Versions only grow younger, so a search by halves finds the first that is young enough.
        let (mut low, mut high) = (by_count.min(newest), newest);
        while low < high {
            let middle = low.midpoint(high);
            let version = versions.get(middle).copied().unwrap_or_default();
            match self.is_older(version, policy).await? {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(versions.get(low).copied().filter(|_| low > 0))
    }

    async fn is_older(&self, version: u64, policy: &Maintenance) -> Result<bool> {
        match self.dataset.checkout_version(version).await {
            Ok(dataset) => {
                let age = now_us().saturating_sub(dataset.version().timestamp.timestamp_micros());
                let kept = i64::try_from(policy.keep_versions_for.as_micros()).unwrap_or(i64::MAX);
                Ok(age > kept)
            }
            // Somebody else removed it.
            Err(error) if is_missing(&error) => Ok(true),
            Err(error) => Err(self.error("read an old version of")(error)),
        }
    }

    /// Removes what no version names: files of commits that failed or were interrupted.
    async fn sweep(&self, policy: &Maintenance, cleaned: &mut Cleaned) -> Result<()> {
        let everything = CleanupPolicy {
            before_version: Some(0),
            delete_unverified: true,
            error_if_tagged_old_versions: false,
            ..CleanupPolicy::default()
        };
        let looked = self.dataset.cleanup(everything);
        let looked = looked.with_max_candidate_files(ORPHANS_MAX).explain().await;
        let looked = looked.map_err(self.error("look for garbage in"))?;
        let store = self.dataset.object_store(None).await;
        let store = store.map_err(self.error("look for garbage in"))?;
        for file in looked.candidate_files {
            match self.remove_if_old(&store, &file, policy).await? {
                true => cleaned.bytes += file.size_bytes,
                false => cleaned.orphan_bytes += file.size_bytes,
            }
        }
        if let Some(root) = self.place.root.clone() {
            let patience = policy.orphans_after;
            let (removed, left) = blocking(move || sweep_unfinished(&root, patience)).await?;
            cleaned.bytes += removed;
            cleaned.orphan_bytes += left;
        }
        Ok(())
    }

    async fn remove_if_old(
        &self,
        store: &ObjectStore,
        file: &CleanupCandidateFile,
        policy: &Maintenance,
    ) -> Result<bool> {
        let path = ObjectPath::from(file.path.as_str());
        let found = match store.inner.head(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(true),
            Err(error) => return Err(self.error("look for garbage in")(error.into())),
        };
        let age = now_us().saturating_sub(found.last_modified.timestamp_micros());
        if age < i64::try_from(policy.orphans_after.as_micros()).unwrap_or(i64::MAX) {
            return Ok(false);
        }
        tracing::info!(lake = self.uri(), file = %path, "removing a file that no version names");
        let removed = store.delete(&path).await;
        removed.map_err(self.error("remove garbage from"))?;
        crash_point("cleanup: garbage removed");
        Ok(true)
    }
}

/// Removes, once they are old enough, the files that a killed writer of a local lake had not named yet, where Lance looks for
/// named ones only; the bytes that were removed, and those that are left.
fn sweep_unfinished(root: &Path, patience: Duration) -> Result<(u64, u64)> {
    let (mut removed, mut left) = (0, 0);
    for path in unfinished(root) {
        // Else it has its name by now, or is gone.
        let Ok(about) = fs::metadata(&path) else {
            continue;
        };
        let written = about.modified().unwrap_or(SystemTime::now());
        if written.elapsed().unwrap_or_default() < patience {
            left += about.len();
            continue;
        }
        tracing::info!(file = %path.display(), "removing a file that was never finished");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => removed += about.len(),
        }
    }
    Ok((removed, left))
}

/// The names that tempfile and object_store's uploads give.
fn unfinished(root: &Path) -> impl Iterator<Item = PathBuf> {
    let directories = [TRANSACTIONS, DELETIONS].map(|name| root.join(name));
    let entries = directories
        .into_iter()
        .filter_map(|path| fs::read_dir(path).ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    paths.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(".tmp") || name.contains('#')
    })
}
