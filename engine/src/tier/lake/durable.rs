//! Power loss and local lakes: Lance writes local files without a single fsync, so the fsyncs are made here.
//!
//! The order is what counts. Data files and their directories are synced before the commit; a commit's
//! transaction file and its manifest are synced before the manifest gets its name. A manifest that can be seen after
//! power loss is thus whole, and so is everything that it names.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lance_io::object_store::ObjectStore;
use lance_table::format::{Fragment, IndexMetadata, Manifest, Transaction};
use lance_table::io::commit::{
    CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter,
    write_version_hint,
};
use lance_table::io::deletion::deletion_file_path;
use object_store::path::Path as ObjectPath;
use uuid::Uuid;

use crate::{Error, Result};

const DATA: &str = "data";
const VERSIONS: &str = "_versions";
const TRANSACTIONS: &str = "_transactions";

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("sync", path))
}

/// Runs file operations where they don't hold up the runtime.
async fn blocking<T: Send + 'static>(
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

/// Syncs the data files of uncommitted fragments, their blob files and the directories that name them.
/// Once this returned, power loss takes none of them.
pub(super) async fn sync_data(root: &Path, fragments: &[Fragment]) -> Result<()> {
    let data = root.join(DATA);
    let files: Vec<PathBuf> = fragments
        .iter()
        .flat_map(|fragment| &fragment.files)
        .map(|file| data.join(&file.path))
        .collect();
    let root = root.to_path_buf();
    blocking(move || {
        for file in &files {
            sync(file)?;
            sync_blobs(&file.with_extension(""))?;
        }
        sync(&data)?;
        sync(&root)
    })
    .await
}

/// Syncs the deletion files of uncommitted fragments and the directories that name them.
pub(super) async fn sync_deletions(root: &Path, fragments: &[Fragment]) -> Result<()> {
    let files = fragments.iter().filter_map(|fragment| {
        let file = fragment.deletion_file.as_ref()?;
        let path = deletion_file_path(&ObjectPath::default(), fragment.id, file);
        Some(root.join(path.as_ref()))
    });
    let files: Vec<PathBuf> = files.collect();
    let root = root.to_path_buf();
    blocking(move || {
        for file in &files {
            sync(file)?;
            file.parent().map_or(Ok(()), sync)?;
        }
        sync(&root)
    })
    .await
}

/// Blob columns keep files in a directory beside their data file, named as it is but for the extension.
fn sync_blobs(beside: &Path) -> Result<()> {
    if !beside.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(beside).map_err(Error::io("list", beside))? {
        sync(&entry.map_err(Error::io("list", beside))?.path())?;
    }
    sync(beside)
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
    pub(super) root: PathBuf,
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
        let (memory, draft) = (ObjectStore::memory(), ObjectPath::from("manifest"));
        manifest_writer(&memory, manifest, indices, &draft, transaction).await?;
        let bytes = memory.read_one_all(&draft).await?;
        let size = bytes.len() as u64;

        let publication = Publication {
            root: self.root.clone(),
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
    name: String,
    transaction: Option<String>,
}

impl Publication {
    /// Publishes the manifest, durably; false when another writer has the version.
    fn publish(&self, bytes: &[u8]) -> Result<bool> {
        let versions = self.root.join(VERSIONS);
        fs::create_dir_all(&versions).map_err(Error::io("create", &versions))?;
        if let Some(name) = &self.transaction {
            let transactions = self.root.join(TRANSACTIONS);
            sync(&transactions.join(name))?;
            sync(&transactions)?;
        }
        // Lance takes no file for a manifest that doesn't end in ".manifest".
        let draft = versions.join(format!(".{}.{}.tmp", self.name, Uuid::new_v4()));
        let linked =
            write_synced(&draft, bytes).and_then(|()| link(&draft, &versions.join(&self.name)));
        let removed = fs::remove_file(&draft);
        let linked = linked?;
        removed.map_err(Error::io("remove", &draft))?;
        if linked {
            sync(&versions)?;
            sync(&self.root)?;
        }
        Ok(linked)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(Error::io("write", path))
}

/// Gives a file its final name unless another file has it: what a rename would not tell.
fn link(draft: &Path, path: &Path) -> Result<bool> {
    match fs::hard_link(draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("link", path)(error)),
    }
}
