//! Power loss and local lakes: Lance writes local files without a single fsync, so the fsyncs are made here.
//!
//! The order is what counts. Whatever a new manifest names that the one before it did not (data files, blobs, deletions,
//! indices, the transaction) and the manifest itself are synced before the manifest gets its name. A manifest that can be
//! seen after power loss is thus whole, and so is everything that it names, whoever commits: rounds and maintenance alike.

use std::collections::HashSet;
use std::fs::{self, File};
#[cfg(not(test))]
use std::fs::{hard_link, remove_file};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lance_io::object_store::ObjectStore;
use lance_table::format::{Fragment, IndexMetadata, Manifest, Transaction};
use lance_table::io::commit::{
    CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter,
    write_version_hint,
};
use lance_table::io::deletion::relative_deletion_file_path;
use object_store::path::Path as ObjectPath;
use parking_lot::Mutex;
use uuid::Uuid;

#[cfg(test)]
use super::tests::faulty::files::{hard_link, remove_file};
use crate::crash::crash_point;
use crate::{Error, Result};

pub(super) const DATA: &str = "data";
const INDICES: &str = "_indices";
const VERSIONS: &str = "_versions";
pub(super) const TRANSACTIONS: &str = "_transactions";
pub(super) const DELETIONS: &str = "_deletions";

fn sync(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    #[cfg(test)]
    let synced = synced.and_then(|()| super::tests::synced(path));
    synced.map_err(Error::io("sync", path))
}

/// Runs file operations where they don't hold up the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => Err(Error::Io {
            action: "sync",
            path: PathBuf::new(),
            source: io::Error::other(stopped),
        }),
    }
}

/// Syncs a directory's files, then itself; nothing when there is none. Blob columns keep files in a directory beside
/// their data file, named as it is but for the extension.
fn sync_files(directory: &Path) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        sync(&entry.map_err(Error::io("list", directory))?.path())?;
    }
    sync(directory)
}

/// What a version is made of, by path from the dataset's directory: its data files, its deletions, its indices' directories.
fn named<'a>(
    fragments: &'a [Fragment],
    indices: &'a [IndexMetadata],
) -> impl Iterator<Item = PathBuf> + 'a {
    let here = |base: Option<u32>| base.is_none();
    let files = fragments.iter().flat_map(move |fragment| {
        let data = fragment.files.iter().filter(move |file| here(file.base_id));
        let data = data.map(|file| Path::new(DATA).join(&file.path));
        let deletions = fragment
            .deletion_file
            .iter()
            .filter(move |file| here(file.base_id));
        let deletions =
            deletions.map(|file| PathBuf::from(relative_deletion_file_path(fragment.id, file)));
        data.chain(deletions)
    });
    let indices = indices.iter().filter(move |index| here(index.base_id));
    files.chain(indices.map(|index| Path::new(INDICES).join(index.uuid.to_string())))
}

/// Syncs a file, or a directory's files and the directory; whatever lies beside a data file; and the directory it is in.
fn sync_named(root: &Path, name: &Path) -> Result<()> {
    let path = root.join(name);
    match path.is_dir() {
        true => sync_files(&path)?,
        // Some indices are wholly in the manifest.
        false if name.starts_with(INDICES) && !path.exists() => return Ok(()),
        false => sync(&path)?,
    }
    if name.starts_with(DATA) {
        sync_files(&path.with_extension(""))?;
    }
    path.parent().map_or(Ok(()), sync)
}

/// Syncs a version that is already visible, whoever committed it: its manifest and the directories that lead to it.
/// A process that was killed between a commit and its fsync, or a foreign writer, may not have done so.
pub(super) async fn sync_version(root: &Path, location: &ManifestLocation) -> Result<()> {
    let (root, name) = (
        root.to_path_buf(),
        location.path.filename().unwrap_or_default().to_owned(),
    );
    blocking(move || {
        let versions = root.join(VERSIONS);
        sync(&versions.join(name))?;
        sync(&versions)?;
        sync(&root)
    })
    .await
}

/// The directories on the way to `root` that are not there yet, and the one in which the first of them will be made.
pub(super) fn missing(root: &Path) -> Vec<PathBuf> {
    let mut missing = Vec::new();
    for directory in root.ancestors() {
        missing.push(directory.to_path_buf());
        if directory.exists() {
            break;
        }
    }
    missing
}

/// Syncs directories that were made since [`missing`] listed them.
pub(super) async fn sync_directories(directories: Vec<PathBuf>) -> Result<()> {
    blocking(move || directories.iter().try_for_each(|directory| sync(directory))).await
}

/// Commits to a local lake so that power loss leaves either no trace of a version, or all of it.
#[derive(Debug)]
pub(super) struct LocalCommit {
    root: PathBuf,
    /// What the newest version that was committed here is made of. Nothing at first: a version that was found may be of a
    /// writer that syncs nothing, and what ours removes later may be what it was made from.
    synced: Arc<Mutex<HashSet<PathBuf>>>,
}

impl LocalCommit {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            synced: Arc::default(),
        }
    }
}

#[async_trait::async_trait]
impl CommitHandler for LocalCommit {
    fn is_version_not_found_definitive(&self) -> bool {
        true
    }

    // A manifest that is visible and whose directory could not be synced is not a success.
    fn propagate_commit_error_after_success(&self) -> bool {
        true
    }

    async fn commit(
        &self,
        manifest: &mut Manifest,
        indices: Option<Vec<IndexMetadata>>,
        base_path: &ObjectPath,
        object_store: &ObjectStore,
        manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        transaction: Option<Transaction>,
    ) -> Result<ManifestLocation, CommitError> {
        let path = naming_scheme.manifest_path(base_path, manifest.version);
        let files = named(&manifest.fragments, indices.as_deref().unwrap_or_default()).collect();
        let (memory, draft) = (ObjectStore::memory(), ObjectPath::from("manifest"));
        manifest_writer(&memory, manifest, indices, &draft, transaction).await?;
        let bytes = memory.read_one_all(&draft).await?;
        let size = bytes.len() as u64;

        let publication = Publication {
            root: self.root.clone(),
            files,
            synced: Arc::clone(&self.synced),
            name: path.filename().unwrap_or_default().to_owned(),
            transaction: manifest
                .transaction_file
                .clone()
                .filter(|name| !name.is_empty()),
        };
        let published = blocking(move || publication.publish(&bytes)).await;
        if !published
            .map_err(|error| CommitError::OtherError(lance::Error::external(Box::new(error))))?
        {
            return Err(CommitError::CommitConflict);
        }
        write_version_hint(object_store, base_path, manifest.version).await;
        Ok(ManifestLocation {
            version: manifest.version,
            path,
            size: Some(size),
            naming_scheme,
            e_tag: None,
            identity: None,
        })
    }
}

/// A manifest about to get its name.
struct Publication {
    root: PathBuf,
    files: HashSet<PathBuf>,
    synced: Arc<Mutex<HashSet<PathBuf>>>,
    name: String,
    transaction: Option<String>,
}

impl Publication {
    /// Publishes the manifest, durably; false when another writer has the version.
    fn publish(&self, bytes: &[u8]) -> Result<bool> {
        let versions = self.root.join(VERSIONS);
        fs::create_dir_all(&versions).map_err(Error::io("create", &versions))?;
        let fresh: Vec<_> = self
            .files
            .difference(&self.synced.lock())
            .cloned()
            .collect();
        fresh
            .iter()
            .try_for_each(|name| sync_named(&self.root, name))?;
        // The directories that these lie in may be new themselves.
        sync(&self.root)?;
        self.synced.lock().clone_from(&self.files);
        if let Some(name) = &self.transaction {
            let transactions = self.root.join(TRANSACTIONS);
            sync(&transactions.join(name))?;
            sync(&transactions)?;
        }
        let draft = draft(&versions, &self.name);
        let written = write_synced(&draft, bytes);
        crash_point("commit: manifest written");
        let linked = written.and_then(|()| link(&draft, &versions.join(&self.name)));
        crash_point("commit: manifest named");
        let removed = remove_file(&draft);
        let linked = linked?;
        removed.map_err(Error::io("remove", &draft))?;
        if linked {
            sync(&versions)?;
            sync(&self.root)?;
        }
        Ok(linked)
    }
}

/// A file for a manifest that has no name yet. Lance takes none for a manifest that doesn't end in ".manifest", and one that
/// begins in ".tmp" for garbage once it is old.
pub(super) fn draft(versions: &Path, name: &str) -> PathBuf {
    versions.join(format!(".tmp_{name}_{}", Uuid::new_v4()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written = write();
    #[cfg(test)]
    let written = written.and_then(|()| super::tests::synced(path));
    written.map_err(Error::io("write", path))
}

/// Gives a file its final name unless another file has it: what a rename would not tell. NFS, which asks again after a lost
/// reply, may find the name that it gave itself (link(2)): then the draft has two names.
fn link(draft: &Path, path: &Path) -> Result<bool> {
    match hard_link(draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let about = fs::metadata(draft).map_err(Error::io("look at", draft))?;
            Ok(about.nlink() > 1)
        }
        Err(error) => Err(Error::io("link", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_said_to_be_taken_is_given_if_the_file_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs, name] = ["ours", "theirs", "name"].map(|name| folder.path().join(name));
        fs::write(&ours, "").unwrap();
        fs::write(&theirs, "").unwrap();
        for _ in 0..2 {
            assert!(link(&ours, &name).unwrap());
            assert!(!link(&theirs, &name).unwrap());
        }
    }
}
