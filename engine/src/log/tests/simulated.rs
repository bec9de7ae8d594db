//! A file system over real files that loses power, or fails, when a test says so. Maps see what was written at once,
//! as the files are real.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use tempfile::TempDir;

use super::Planted;
use super::disk::{
    Disk, Fault, Image, Last, NameChange, Names, Op, Planned, Random, apply, name_of, read_at,
};
use crate::log::storage::{Storage, StorageFile};

/// Lets go of the file systems of logs below a directory.
#[cfg(feature = "lake")]
pub(crate) fn forget_below(directory: &Path) {
    let mut all = super::SIMULATED.lock();
    all.retain(|(of, _)| !of.starts_with(directory));
}

/// What is called after each sync, and with which path.
type AfterSync = (fn(&Path), PathBuf);

/// A file system for one directory.
#[derive(Debug, Clone)]
pub(crate) struct Simulated {
    disk: Arc<Mutex<Disk>>,
    after_sync: Option<AfterSync>,
    /// Writes let other threads go first now and then.
    pub(super) has_jitter: bool,
    pub(crate) planted: Option<Planted>,
}

impl Simulated {
    /// The files of a directory, all of them durable.
    pub(crate) fn over(directory: &Path, seed: u64) -> Self {
        let mut disk = Disk {
            inodes: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            changes: Vec::new(),
            random: Random(seed),
            left: None,
            is_off: false,
            image: None,
            plan: Vec::new(),
        };
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let file = OpenOptions::new().read(true).write(true).open(&path);
            let inode = disk.add(file.unwrap(), fs::read(&path).unwrap());
            disk.names.insert(name_of(&path), inode);
        }
        disk.durable_names = disk.names.clone();
        Self {
            disk: Arc::new(Mutex::new(disk)),
            after_sync: None,
            has_jitter: false,
            planted: None,
        }
    }

    /// Lets the log that a store opens in a directory be on this file system; a function is called after each of its syncs.
    #[cfg(feature = "lake")]
    pub(crate) fn put_below(mut self, directory: &Path, after_sync: AfterSync) {
        self.after_sync = Some(after_sync);
        super::SIMULATED
            .lock()
            .push((directory.to_path_buf(), self));
    }

    /// Writes what a loss of power would leave now; nothing is lost.
    #[cfg(feature = "lake")]
    pub(crate) fn write_image(&self, directory: &Path) {
        write_all(self.disk.lock().image(), directory);
    }

    /// Lets some operations of a kind fail: so many from now on after so many that don't.
    pub(super) fn inject(&self, op: Op, skip: u64, times: u64, fault: Fault) {
        self.disk.lock().plan.push(Planned {
            op,
            skip,
            times,
            fault,
        });
    }

    /// Lets everything go well again.
    pub(super) fn mend(&self) {
        self.disk.lock().plan.clear();
    }

    /// Loses power in an operation to come, after so many others.
    pub(super) fn lose_power_after(&self, operations: u64) {
        self.disk.lock().left = Some(operations);
    }

    /// Whether power was lost, or the process halted.
    pub(super) fn is_off(&self) -> bool {
        self.disk.lock().is_off
    }

    /// Lets the process do nothing more, as if it were killed. False when power was lost before.
    pub(super) fn halt(&self) -> bool {
        !std::mem::replace(&mut self.disk.lock().is_off, true)
    }

    /// Lets another process begin with what a halted one left. What was not synced still isn't.
    pub(super) fn resume(&self) {
        let mut disk = self.disk.lock();
        (disk.is_off, disk.left) = (false, None);
    }

    /// The directory after power was lost: now, unless it was lost before.
    pub(super) fn power_loss(&self) -> TempDir {
        let mut disk = self.disk.lock();
        if disk.image.is_none() {
            disk.lose_power();
        }
        let directory = TempDir::new().unwrap();
        write_all(disk.image.take().unwrap_or_default(), directory.path());
        directory
    }

    fn synced(&self) {
        if let Some((call, path)) = &self.after_sync {
            call(path);
        }
    }

    /// Begins an operation; what its plan is, and whether power is lost in it.
    fn begin(&self, op: Op) -> io::Result<(MutexGuard<'_, Disk>, Option<Fault>, Last)> {
        let mut disk = self.disk.lock();
        if self.has_jitter && op == Op::Write && disk.random.one_in(4) {
            drop(disk);
            std::thread::sleep(Duration::from_micros(100));
            disk = self.disk.lock();
        }
        if disk.is_off {
            return Err(Errno::IO.into());
        }
        match disk.planned(op) {
            Some(Fault::Fails(errno)) => Err(errno.into()),
            Some(Fault::Panics) => {
                drop(disk);
                panic!("planned");
            }
            Some(Fault::IsSlow(ms)) => {
                drop(disk);
                std::thread::sleep(Duration::from_millis(ms));
                Ok((self.disk.lock(), None, Last::No))
            }
            fault => {
                let last = disk.count();
                if last == Last::Before {
                    disk.lose_power();
                    return Err(Errno::IO.into());
                }
                Ok((disk, fault, last))
            }
        }
    }

    /// Changes the names, unless power is lost before.
    fn change(
        &self,
        op: Op,
        change: impl FnOnce(&mut Disk) -> io::Result<NameChange>,
    ) -> io::Result<()> {
        let (mut disk, _, last) = self.begin(op)?;
        let change = change(&mut disk)?;
        apply(&mut disk.names, &change);
        disk.changes.push(change);
        disk.end(last)
    }
}

impl Storage for Simulated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut inode = 0;
        self.change(Op::Create, |disk| {
            let _ = fs::remove_file(path);
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).open(path)?;
            inode = disk.add(file, Vec::new());
            Ok(NameChange::Link(name_of(path), inode))
        })?;
        SimulatedFile::new(self, inode)
    }

    fn open(&self, path: &Path, _writable: bool) -> io::Result<Box<dyn StorageFile>> {
        let inode = self.disk.lock().names.get(&name_of(path)).copied();
        SimulatedFile::new(self, inode.ok_or(io::ErrorKind::NotFound)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Op::Rename, |_| {
            fs::rename(from, to)?;
            Ok(NameChange::Rename(name_of(from), name_of(to)))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Op::Remove, |_| {
            fs::remove_file(path)?;
            Ok(NameChange::Remove(name_of(path)))
        })
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        let (mut disk, _, last) = self.begin(Op::SyncDirectory)?;
        disk.durable_names = disk.names.clone();
        disk.changes.clear();
        disk.end(last)?;
        drop(disk);
        self.synced();
        Ok(())
    }

    fn has(&self, fault: Planted) -> bool {
        self.planted == Some(fault)
    }
}

fn write_all(image: Image, directory: &Path) {
    for (name, content) in image {
        fs::write(directory.join(name), content).unwrap();
    }
}

#[derive(Debug)]
struct SimulatedFile {
    system: Simulated,
    inode: usize,
    file: File,
}

impl SimulatedFile {
    #[allow(clippy::new_ret_no_self)]
    fn new(system: &Simulated, inode: usize) -> io::Result<Box<dyn StorageFile>> {
        let file = system.disk.lock().inodes[inode].file.try_clone()?;
        let system = system.clone();
        Ok(Box::new(Self {
            system,
            inode,
            file,
        }))
    }
}

impl StorageFile for SimulatedFile {
    fn file(&self) -> &File {
        &self.file
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let (mut disk, _, last) = self.system.begin(Op::Allocate)?;
        self.file.set_len(length)?;
        disk.end(last)
    }

    fn write_some_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let (mut disk, fault, last) = self.system.begin(Op::Write)?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
        if let Some(Fault::IsShort | Fault::Tears(_)) = fault {
            let some = 1 + disk.random.below(bytes.len() as u64) as usize;
            bytes.truncate(some);
        }
        disk.write(self.inode, &bytes, position)?;
        if let Some(Fault::Tears(errno)) = fault {
            return Err(errno.into());
        }
        disk.end(last)?;
        Ok(bytes.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut disk, _, last) = self.system.begin(Op::SyncData)?;
        let inode = &mut disk.inodes[self.inode];
        inode.durable = read_at(&inode.file, 0, usize::MAX);
        inode.unsynced.clear();
        disk.end(last)?;
        drop(disk);
        self.system.synced();
        Ok(())
    }
}
