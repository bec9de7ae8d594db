//! What a local lake is after the power was lost: only what was synced is there for certain.
//!
//! Every sync of [`durable`](super::super::durable) is noted, a file's with its content, a directory's with its names. An image
//! is made of that: what changed in a directory since its last sync has happened or not, name by name; content that was never
//! synced is there, or cut, or gone, or zeros.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::*;
use crate::index::{IndexKind, IndexSpec};
use crate::log::tests::memory_directory;
use crate::maintenance::Maintenance;

/// What was synced below the directories that tests watch.
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Of so many syncs one is the last before power is lost; and how often it is lost between two rounds.
const IMAGES_EVERY: u64 = 4;
const IMAGES_BETWEEN: usize = 3;

/// Which syncs are not made.
pub(crate) type Forgets = fn(&Path) -> bool;

/// Adds what else there is to an image.
type Beside = Box<dyn Fn(&Path) + Send>;

/// More than the images of all tests take at once.
const ROOM_BYTES: u64 = 512 << 20;

/// What tells a file from a later one of the same inode.
type Identity = (u64, Option<SystemTime>);

struct Watched {
    root: PathBuf,
    /// Syncs of these are not made.
    forgets: Forgets,
    files: HashMap<Identity, Vec<u8>>,
    directories: HashMap<PathBuf, HashMap<String, Identity>>,
    /// How much was acknowledged.
    acknowledged: Arc<AtomicU64>,
    beside: Beside,
    random: u64,
    images: Vec<Image>,
}

/// What a loss of power left: the directory that was watched, in another one.
pub(crate) struct Image {
    pub(crate) directory: tempfile::TempDir,
    /// How much had been acknowledged before.
    pub(crate) acknowledged: u64,
}

/// Notes that a file or a directory was synced.
pub(in crate::tier::lake) fn synced(path: &Path) {
    for watched in WATCHED.lock().iter_mut() {
        if !path.starts_with(&watched.root) || (watched.forgets)(path) {
            continue;
        }
        watched.note(path);
        watched.may_lose_power();
    }
}

/// Notes that something beside a watched directory was synced.
pub(crate) fn synced_beside(root: &Path) {
    let mut all = WATCHED.lock();
    let watched = all.iter_mut().find(|watched| watched.root == root);
    watched.into_iter().for_each(Watched::may_lose_power);
}

fn identity(about: &fs::Metadata) -> Identity {
    (about.ino(), about.created().ok())
}

fn names(directory: &Path) -> HashMap<String, Identity> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, identity(&entry.metadata().ok()?)))
    });
    named.collect()
}

/// Watches a directory from now on. What is there is durable. The seed, not 0, chooses when power is lost, and what that leaves.
pub(crate) fn watch(
    root: &Path,
    forgets: Forgets,
    acknowledged: &Arc<AtomicU64>,
    seed: u64,
    beside: impl Fn(&Path) + Send + 'static,
) {
    let mut watched = Watched {
        root: root.to_path_buf(),
        forgets,
        files: HashMap::new(),
        directories: HashMap::new(),
        acknowledged: Arc::clone(acknowledged),
        beside: Box::new(beside),
        random: seed,
        images: Vec::new(),
    };
    watched.note_all(root);
    WATCHED.lock().push(watched);
}

pub(crate) fn unwatch(root: &Path) {
    WATCHED.lock().retain(|watched| watched.root != root);
}

/// Loses power a few times; what that and losses before left.
pub(crate) fn images(root: &Path) -> Vec<Image> {
    let mut all = WATCHED.lock();
    let watched = all.iter_mut().find(|watched| watched.root == root).unwrap();
    (0..IMAGES_BETWEEN).for_each(|_| watched.lose_power());
    std::mem::take(&mut watched.images)
}

fn next(random: &mut u64) -> u64 {
    // xorshift64 (Marsaglia).
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

impl Watched {
    /// Notes that a file or a directory is durable as it is.
    fn note(&mut self, path: &Path) {
        let Ok(about) = fs::metadata(path) else {
            return;
        };
        if about.is_dir() {
            self.directories.insert(path.to_path_buf(), names(path));
        } else {
            let content = fs::read(path).unwrap_or_default();
            self.files.insert(identity(&about), content);
        }
    }

    /// The same with all that is below.
    fn note_all(&mut self, path: &Path) {
        self.note(path);
        for name in names(path).into_keys() {
            self.note_all(&path.join(name));
        }
    }

    /// Power may be lost at any time: now and then just after a sync.
    fn may_lose_power(&mut self) {
        if next(&mut self.random).is_multiple_of(IMAGES_EVERY) {
            self.lose_power();
        }
    }

    /// Makes an image that a loss of power leaves, one of many.
    fn lose_power(&mut self) {
        let directory = memory_directory(ROOM_BYTES);
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        let mut random = next(&mut self.random);
        let name = self.root.file_name().unwrap();
        self.restore(&self.root, &directory.path().join(name), &mut random);
        (self.beside)(directory.path());
        self.images.push(Image {
            directory,
            acknowledged,
        });
    }

    fn restore(&self, from: &Path, into: &Path, random: &mut u64) {
        fs::create_dir_all(into).unwrap();
        let synced = self.directories.get(from).cloned().unwrap_or_default();
        let now = names(from);
        let all: BTreeSet<&String> = now.keys().chain(synced.keys()).collect();
        for name in all {
            // A name is as it was synced or as it is: a new one is there or not, a removed one gone or not.
            let entries = [synced.get(name), now.get(name)];
            let Some(identity) = entries[(next(random) % 2) as usize] else {
                continue;
            };
            let (path, image) = (from.join(name), into.join(name));
            if path.is_dir() || self.directories.contains_key(&path) {
                self.restore(&path, &image, random);
                continue;
            }
            let content = match self.files.get(identity) {
                Some(content) => content.clone(),
                None => never_synced(&path, random),
            };
            fs::write(image, content).unwrap();
        }
    }
}

/// Content that was never synced is there, or cut, or gone, or zeros.
fn never_synced(path: &Path, random: &mut u64) -> Vec<u8> {
    let mut content = fs::read(path).unwrap_or_default();
    match next(random) % 4 {
        0 => content.clear(),
        1 => content.truncate(content.len() / 2),
        2 => content.fill(0),
        _ => {}
    }
    content
}

/// What an image's newest version has, or why it cannot be read.
async fn found(image: &Path) -> std::result::Result<Vec<i64>, String> {
    let lake = Lake::open(&at(image)).await.map_err(|e| e.to_string())?;
    let lake = lake.ok_or("there is no dataset")?;
    let mut scan = lake.dataset().scan();
    scan.project(&["name", "vector", OFFSET_COLUMN])
        .map_err(|e| e.to_string())?;
    let batch = scan.try_into_batch().await.map_err(|e| e.to_string())?;
    let offsets = batch[OFFSET_COLUMN].as_primitive::<Int64Type>();
    let mut offsets = offsets.values().to_vec();
    offsets.sort_unstable();
    if offsets.is_empty() {
        return Ok(offsets);
    }
    // By the index, where there is one.
    let mut scan = lake.dataset().scan();
    scan.filter("name = '0/5'").map_err(|e| e.to_string())?;
    let by_name = scan.try_into_batch().await.map_err(|e| e.to_string())?;
    if by_name.num_rows() != 1 {
        return Err(format!("{} rows by their name", by_name.num_rows()));
    }
    Ok(offsets)
}

/// What an image lacks of the rounds that were acknowledged before; the one under way may be there as a whole.
async fn loss(image: &Image) -> Option<String> {
    // Lance may panic over a manifest that is cut, which is a loss too.
    let path = image.directory.path().join("lake/t.lance");
    let found = tokio::spawn(async move { found(&path).await }).await;
    let found = found.unwrap_or_else(|panic| Err(panic.to_string()));
    let rounds = image.acknowledged;
    match found {
        Ok(offsets) => {
            let is_whole = offsets == (0..offsets.len() as i64).collect::<Vec<_>>();
            let whole = [rounds, rounds + 1].map(|rounds| rounds as usize * 10);
            let is_there = is_whole && whole.contains(&offsets.len());
            (!is_there).then(|| format!("{} of {rounds} rounds' rows", offsets.len()))
        }
        // The first version need not be there yet.
        Err(_) if rounds == 0 => None,
        Err(error) => Some(error),
    }
}

/// Merges everything as any Lance program would, without a sync.
async fn merge_elsewhere(root: &Path) {
    let mut dataset = lance::Dataset::open(root.to_str().unwrap()).await.unwrap();
    let options = lance::dataset::optimize::CompactionOptions::default();
    let merged = lance::dataset::optimize::compact_files(&mut dataset, options, None).await;
    assert!(merged.unwrap().fragments_removed > 0);
}

/// Runs rounds, merges, an index and cleanup; looks at images after each. What was lost, if anything.
async fn losses(forgets: Forgets) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let watched = folder.path().join("lake");
    let (root, rounds) = (watched.join("t.lance"), Arc::default());
    watch(&watched, forgets, &rounds, 1, |_| {});
    let mut lake = Lake::create(&at(&root), &columns()).await.unwrap();
    let table = Uuid::new_v4();
    let policy = Maintenance::default()
        .merge_at(4)
        .keep_versions(2)
        .keep_versions_for(Duration::ZERO)
        .orphans_after(Duration::ZERO);
    let index = IndexSpec {
        name: "name_idx".to_owned(),
        column: "name".to_owned(),
        kind: IndexKind::BTree,
        build_at: 1,
    };
    let mut lost = Vec::new();
    for round in 0..14_u64 {
        append(&mut lake, table, 0, round * 10, round * 10 + 10)
            .await
            .unwrap();
        if round % 5 == 4 {
            while let Compacted::Merged(_) = lake.compact_step(&policy).await.unwrap() {}
            lake.keep_index(&index, 1).await.unwrap();
        }
        if round == 8 {
            // Somebody else merges everything, and syncs nothing; ours then removes what that was made from.
            merge_elsewhere(&root).await;
            lake = Lake::open_existing(&at(&root)).await.unwrap();
        }
        if round % 3 == 2 {
            lake.clean(&policy).await.unwrap();
        }
        rounds.store(round + 1, Ordering::Release);
        for image in images(&watched) {
            lost.extend(loss(&image).await);
        }
    }
    unwatch(&watched);
    lost
}

#[tokio::test]
async fn what_a_round_committed_survives_power_loss_also_where_it_was_merged_indexed_and_cleaned() {
    assert_eq!(losses(|_| false).await, Vec::<String>::new());
}

#[tokio::test]
async fn power_loss_notices_syncs_that_are_left_out() {
    let forgotten: [(&str, Forgets); 5] = [
        ("data files", |path| {
            path.to_string_lossy().contains("/data/")
        }),
        ("their directory", |path| path.ends_with("data")),
        ("manifests", |path| {
            path.to_string_lossy().contains(".manifest")
        }),
        ("their directory", |path| path.ends_with("_versions")),
        ("indices", |path| {
            path.to_string_lossy().contains("/_indices/")
        }),
    ];
    for (what, forgets) in forgotten {
        assert!(!losses(forgets).await.is_empty(), "{what}");
    }
}
