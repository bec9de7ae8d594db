//! What is on a disk and what is durable of it, which is known apart: of a file its image at the last `sync_data`, of
//! the directory its names at the last `sync_directory`. Power loss leaves that, a random subset of the 4 KiB pages
//! that were written since (some of them torn between two sectors), and a random prefix of the names that changed
//! since, as a journaling file system has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;

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
pub(super) struct Planned {
    pub(super) op: Op,
    pub(super) skip: u64,
    pub(super) times: u64,
    pub(super) fault: Fault,
}

/// When an operation is the last one, whether it still happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    No,
    Before,
    After,
}

#[derive(Debug)]
pub(super) enum NameChange {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) file: File,
    pub(super) durable: Vec<u8>,
    /// The pages that were written since the last sync.
    pub(super) unsynced: BTreeSet<usize>,
}

pub(super) type Names = BTreeMap<String, usize>;

/// Files by their names.
pub(super) type Image = Vec<(String, Vec<u8>)>;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: Names,
    pub(super) durable_names: Names,
    pub(super) changes: Vec<NameChange>,
    pub(super) random: Random,
    /// How many operations there are until power is lost.
    pub(super) left: Option<u64>,
    pub(super) is_off: bool,
    pub(super) image: Option<Image>,
    pub(super) plan: Vec<Planned>,
}

impl Disk {
    pub(super) fn add(&mut self, file: File, durable: Vec<u8>) -> usize {
        self.inodes.push(Inode {
            file,
            durable,
            unsynced: BTreeSet::new(),
        });
        self.inodes.len() - 1
    }

    pub(super) fn planned(&mut self, op: Op) -> Option<Fault> {
        // Who fills spares does so at any time: what is planned for one write or sync is for those who append.
        let is_filling = matches!(op, Op::Write | Op::SyncData)
            && std::thread::current().name() == Some("alluvium-spare");
        let left = u64::from(is_filling);
        for planned in self
            .plan
            .iter_mut()
            .filter(|p| p.op == op && p.times > left)
        {
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
    pub(super) fn count(&mut self) -> Last {
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
    pub(super) fn end(&mut self, last: Last) -> io::Result<()> {
        if last == Last::After {
            self.lose_power();
            return Err(Errno::IO.into());
        }
        Ok(())
    }

    pub(super) fn lose_power(&mut self) {
        self.image = Some(self.image());
        self.is_off = true;
    }

    /// The names and files that a loss of power leaves, one of many ways.
    pub(super) fn image(&mut self) -> Image {
        let changed = self.random.below(self.changes.len() as u64 + 1) as usize;
        let mut names = self.durable_names.clone();
        let survived = self.changes.iter().take(changed);
        survived.for_each(|change| apply(&mut names, change));
        let bias = self.random.below(5);
        let image = names.into_iter();
        let image = image.map(|(name, inode)| (name, self.content(inode, bias)));
        image.collect()
    }

    /// What is left of a file: of its unsynced pages each with a chance of `bias` in 4, or some of its sectors.
    pub(super) fn content(&mut self, inode: usize, bias: u64) -> Vec<u8> {
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
    pub(super) fn write(&mut self, inode: usize, bytes: &[u8], position: u64) -> io::Result<()> {
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

pub(super) fn apply(names: &mut Names, change: &NameChange) {
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

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

pub(super) fn read_at(file: &File, position: usize, length: usize) -> Vec<u8> {
    let end = file.metadata().unwrap().len() as usize;
    let mut bytes = vec![0; end.saturating_sub(position).min(length)];
    file.read_exact_at(&mut bytes, position as u64).unwrap();
    bytes
}
