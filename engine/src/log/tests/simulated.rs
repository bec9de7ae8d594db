//! A file system over real files that loses power, or fails, when a test says so.
//!
//! What is durable is known apart from what is there: of a file its image at the last `sync_data`, of the directory
//! its names at the last `sync_directory`. Power loss leaves that, a random subset of the 4 KiB pages that were
//! written since (some of them torn between two sectors), and a random prefix of the names that changed since, as a
//! journaling file system has it. Maps see what was written at once, as the files are real.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use tempfile::TempDir;

use super::Planted;
use crate::log::storage::{Storage, StorageFile};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// Numbers that a seed determines (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a limit, which is not zero.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What a log asks of its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Create,
    Allocate,
    Write,
    SyncData,
    SyncDirectory,
    Rename,
    Remove,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Fails(Errno),
    /// Some of the bytes are written, and the call says so.
    IsShort,
    /// Some of the bytes are written, and the call fails.
    Tears(Errno),
    Panics,
    /// It takes that many milliseconds longer.
    IsSlow(u64),
}

#[derive(Debug)]
struct Planned {
    op: Op,
    skip: u64,
    times: u64,
    fault: Fault,
}

/// When an operation is the last one, whether it still happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    No,
    Before,
    After,
}

#[derive(Debug)]
enum NameChange {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct Inode {
    file: File,
    durable: Vec<u8>,
    /// The pages that were written since the last sync.
    unsynced: BTreeSet<usize>,
}

type Names = BTreeMap<String, usize>;

#[derive(Debug)]
struct Disk {
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    changes: Vec<NameChange>,
    random: Random,
    /// How many operations there are until power is lost.
    left: Option<u64>,
    is_off: bool,
    image: Option<Vec<(String, Vec<u8>)>>,
    plan: Vec<Planned>,
}

/// A file system for one directory.
#[derive(Debug, Clone)]
pub(super) struct Simulated {
    disk: Arc<Mutex<Disk>>,
    /// Writes let other threads go first now and then.
    pub(super) has_jitter: bool,
    pub(super) planted: Option<Planted>,
}

impl Simulated {
    /// The files of a directory, all of them durable.
    pub(super) fn over(directory: &Path, seed: u64) -> Self {
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
            has_jitter: false,
            planted: None,
        }
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
        for (name, content) in disk.image.take().unwrap_or_default() {
            fs::write(directory.path().join(name), content).unwrap();
        }
        directory
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

impl Disk {
    fn add(&mut self, file: File, durable: Vec<u8>) -> usize {
        self.inodes.push(Inode {
            file,
            durable,
            unsynced: BTreeSet::new(),
        });
        self.inodes.len() - 1
    }

    fn planned(&mut self, op: Op) -> Option<Fault> {
        for planned in self.plan.iter_mut().filter(|p| p.op == op && p.times > 0) {
            match planned.skip {
                0 => {
                    planned.times -= 1;
                    return Some(planned.fault);
                }
                _ => planned.skip -= 1,
            }
        }
        None
    }

    /// Counts an operation.
    fn count(&mut self) -> Last {
        match &mut self.left {
            Some(0) if self.random.one_in(2) => Last::Before,
            Some(0) => Last::After,
            Some(left) => {
                *left -= 1;
                Last::No
            }
            None => Last::No,
        }
    }

    /// Ends an operation. If it was the last one nobody learns that it was done.
    fn end(&mut self, last: Last) -> io::Result<()> {
        if last == Last::After {
            self.lose_power();
            return Err(Errno::IO.into());
        }
        Ok(())
    }

    fn lose_power(&mut self) {
        let changed = self.random.below(self.changes.len() as u64 + 1) as usize;
        let mut names = self.durable_names.clone();
        let survived = self.changes.iter().take(changed);
        survived.for_each(|change| apply(&mut names, change));
        let bias = self.random.below(5);
        let image = names.into_iter();
        let image = image.map(|(name, inode)| (name, self.content(inode, bias)));
        self.image = Some(image.collect());
        self.is_off = true;
    }

    /// What is left of a file: of its unsynced pages each with a chance of `bias` in 4, or some of its sectors.
    fn content(&mut self, inode: usize, bias: u64) -> Vec<u8> {
        let Self { inodes, random, .. } = self;
        let inode = &inodes[inode];
        let mut bytes = inode.durable.clone();
        let current = read_at(&inode.file, 0, usize::MAX);
        if random.one_in(2) {
            bytes.resize(current.len(), 0);
        }
        for page in &inode.unsynced {
            let is_torn = random.one_in(8);
            let is_kept = random.below(4) < bias;
            for start in (page * PAGE..(page + 1) * PAGE).step_by(SECTOR) {
                let sector = start..start + SECTOR;
                let (Some(to), Some(from)) = (bytes.get_mut(sector.clone()), current.get(sector))
                else {
                    continue;
                };
                let is_kept = match is_torn {
                    true => random.one_in(2),
                    false => is_kept,
                };
                if is_kept {
                    to.copy_from_slice(from);
                }
            }
        }
        bytes
    }

    /// Writes to a real file. A page that had been written before may have reached the disk meanwhile.
    fn write(&mut self, inode: usize, bytes: &[u8], position: u64) -> io::Result<()> {
        let Self { inodes, random, .. } = self;
        let inode = &mut inodes[inode];
        let start = position as usize;
        for page in start / PAGE..(start + bytes.len()).div_ceil(PAGE) {
            if !inode.unsynced.insert(page) && random.one_in(4) {
                let current = read_at(&inode.file, page * PAGE, PAGE);
                if let Some(durable) = inode.durable.get_mut(page * PAGE..(page + 1) * PAGE)
                    && durable.len() == current.len()
                {
                    durable.copy_from_slice(&current);
                }
            }
        }
        inode.file.write_all_at(bytes, position)
    }
}

fn apply(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn read_at(file: &File, position: usize, length: usize) -> Vec<u8> {
    let end = file.metadata().unwrap().len() as usize;
    let mut bytes = vec![0; end.saturating_sub(position).min(length)];
    file.read_exact_at(&mut bytes, position as u64).unwrap();
    bytes
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
        disk.end(last)
    }

    fn has(&self, fault: Planted) -> bool {
        self.planted == Some(fault)
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
        disk.end(last)
    }
}
