//! A commit at one version, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lance_io::object_store::ObjectStore;
use lance_table::format::{IndexMetadata, Manifest, Transaction};
use lance_table::io::commit::{
    CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter,
};
use object_store::path::Path as ObjectPath;

/// A commit handler that commits one version and no other. Lance rebases an append over any other append, even over one
/// that holds the same rows; this sends it back to us, to look at what came between.
#[derive(Debug)]
pub(super) struct OnlyAt {
    version: u64,
    inner: Arc<dyn CommitHandler>,
    tripped: AtomicBool,
}

impl OnlyAt {
    pub(super) fn new(version: u64, inner: Arc<dyn CommitHandler>) -> Self {
        Self {
            version,
            inner,
            tripped: AtomicBool::new(false),
        }
    }

    /// Whether another version was asked for, and refused.
    pub(super) fn tripped(&self) -> bool {
        self.tripped.load(Ordering::Acquire)
    }
}

#[async_trait::async_trait]
impl CommitHandler for OnlyAt {
    fn is_version_not_found_definitive(&self) -> bool {
        self.inner.is_version_not_found_definitive()
    }

    fn propagate_commit_error_after_success(&self) -> bool {
        self.inner.propagate_commit_error_after_success()
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
        if manifest.version != self.version {
            self.tripped.store(true, Ordering::Release);
            return Err(CommitError::CommitConflict);
        }
        self.inner
            .commit(
                manifest,
                indices,
                base_path,
                object_store,
                manifest_writer,
                naming_scheme,
                transaction,
            )
            .await
    }
}
