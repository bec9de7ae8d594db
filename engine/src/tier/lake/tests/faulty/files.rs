//! Local files that fail at random: in what the engine does to them itself, and in what Lance does, once it goes through the
//! object store for them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use lance_io::object_store::providers::local::FileStoreProvider;
use lance_io::object_store::{
    ObjectStore, ObjectStoreParams, ObjectStoreProvider, ObjectStoreRegistry,
};
use url::Url;

use super::{COMMITS, Fate, SLOW, faults_at};

/// Lets Lance go through the object store for the files of a lake, if a test wants that.
pub(in crate::tier::lake) fn register(stores: &ObjectStoreRegistry, address: &str) {
    let faults = faults_at(address);
    if faults.is_some_and(|faults| faults.takes_files.load(super::Ordering::Relaxed)) {
        stores.insert("file", Arc::new(ThroughStore));
    }
}

/// Gives the store for local files that has no way around it.
#[derive(Debug)]
struct ThroughStore;

#[async_trait::async_trait]
impl ObjectStoreProvider for ThroughStore {
    async fn new_store(
        &self,
        _base_path: Url,
        params: &ObjectStoreParams,
    ) -> lance::Result<ObjectStore> {
        let root = Url::parse("file-object-store:///").unwrap();
        FileStoreProvider.new_store(root, params).await
    }

    fn extract_path(&self, url: &Url) -> lance::Result<object_store::path::Path> {
        FileStoreProvider.extract_path(url)
    }
}

fn failed<T>() -> io::Result<T> {
    Err(rustix::io::Errno::IO.into())
}

/// Fails for who asked for a sync, which is made.
pub(in crate::tier::lake) fn synced(path: &Path) -> io::Result<()> {
    run(path, || Ok(()))
}

pub(in crate::tier::lake) fn remove_file(path: &Path) -> io::Result<()> {
    run(path, || std::fs::remove_file(path))
}

/// Gives a manifest its name, which is the commit; it may then tell that the name was taken, as NFS does after a lost reply.
pub(in crate::tier::lake) fn hard_link(draft: &Path, path: &Path) -> io::Result<()> {
    let link = || std::fs::hard_link(draft, path);
    let Some(faults) = faults_at(&path.to_string_lossy()) else {
        return link();
    };
    match faults.fate_at(COMMITS) {
        Fate::Lost => {
            link()?;
            faults.begin_outage();
            failed()
        }
        Fate::Repeated => {
            link()?;
            Err(io::ErrorKind::AlreadyExists.into())
        }
        fate => run_to(fate, link),
    }
}

fn run<T>(path: &Path, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let faults = faults_at(&path.to_string_lossy());
    run_to(faults.map_or(Fate::Fine, |faults| faults.fate()), operation)
}

/// Runs an operation to its fate. Nothing is late on a disk.
fn run_to<T>(fate: Fate, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match fate {
        Fate::Refused | Fate::Late => return failed(),
        Fate::Slow => std::thread::sleep(SLOW),
        _ => {}
    }
    let done = operation()?;
    match fate {
        Fate::Lost | Fate::Repeated => failed(),
        _ => Ok(done),
    }
}
