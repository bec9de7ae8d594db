//! What a store is after the power was lost: its logs and its lake together have each row that was promised, once.
//!
//! The lake is what [`power`] leaves of it, the logs what their simulated disks do, and power is lost at syncs of all of them.
//! What is beside them in the store is replaced atomically and durably, and taken as it is. `ALLUVIUM_SOAK=1` looks for other
//! losses, and longer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use tempfile::TempDir;

use super::lake::tests::power::{self, Forgets, Image};
use crate::log::tests::Planted;
use crate::log::tests::simulated::{self, Simulated};
use crate::transform::guests::{record_guest, spec};
use crate::{
    Durability, IndexKind, Maintenance, OnError, Store, StoreOptions, Table, TableOptions,
    TransformSpec,
};

const SEGMENT_BYTES: u64 = 64 << 10;
/// Four batches fill a segment.
const ROWS_A_BATCH: u64 = 1300;
const TURNS: u64 = 6;
const SEEDS_OF_SOAK: u64 = 40;
const TABLE: &str = "tables/t";

/// Numbered rows; of every twenty a transform filters one and fails on one (see [`record_guest`]).
fn numbers(range: std::ops::Range<u64>) -> RecordBatch {
    let x = Int32Array::from_iter_values(range.clone().map(|n| (n % 20) as i32));
    let n = Int64Array::from_iter_values(range.map(|n| n as i64));
    let columns: [(&str, ArrayRef); 2] = [("n", Arc::new(n)), ("x", Arc::new(x))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// What a store keeps, and which logs that takes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rows,
    TransformedRows,
}

impl Kind {
    /// Those whose rows others are made of come last, as they may have more than these.
    fn logs(self) -> &'static [&'static str] {
        match self {
            Self::Rows => &["raw"],
            Self::TransformedRows => &["staged", "dead", "raw"],
        }
    }
}

fn open(path: &Path) -> crate::Result<Store> {
    StoreOptions::new().tiering(false).open(path)
}

/// A store whose logs and lake are watched.
struct Watched {
    kind: Kind,
    directory: TempDir,
    store: Store,
    /// Rows that are promised to survive.
    acknowledged: Arc<AtomicU64>,
}

impl Watched {
    /// Where a test wants it, syncs of the lake are not made, or a log has a fault.
    fn new(kind: Kind, forgets: Forgets, planted: Option<(&str, Planted)>, seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        create(kind, &path);
        let lake = path.join("lake");
        let disk = |log: &&'static str| {
            let mut disk = Simulated::over(&path.join(TABLE).join(log), seed);
            disk.planted = planted.filter(|(of, _)| of == log).map(|(_, fault)| fault);
            (*log, disk)
        };
        let disks: Vec<_> = kind.logs().iter().map(disk).collect();
        for (log, disk) in &disks {
            let directory = path.join(TABLE).join(log);
            disk.clone()
                .put_below(&directory, (power::synced_beside, lake.clone()));
        }
        let acknowledged = Arc::new(AtomicU64::new(ROWS_A_BATCH));
        let store = path.clone();
        let beside = move |image: &Path| {
            copy(&store.join("plugins"), &image.join("plugins"));
            copy(&store.join("tables"), &image.join("tables"));
            for (log, disk) in &disks {
                let log = image.join(TABLE).join(log);
                fs::create_dir_all(&log).unwrap();
                disk.write_image(&log);
            }
        };
        power::watch(&lake, forgets, &acknowledged, seed, beside);
        let store = open(&path).unwrap();
        Self {
            kind,
            directory,
            store,
            acknowledged,
        }
    }

    fn lake(&self) -> PathBuf {
        self.directory.path().join("store/lake")
    }

    fn table(&self) -> Table {
        self.store.table("t").unwrap()
    }

    fn append(&self) {
        let from = self.acknowledged.load(Ordering::Acquire);
        let to = from + ROWS_A_BATCH;
        let _ = self.table().append(&numbers(from..to)).unwrap();
        self.acknowledged.store(to, Ordering::Release);
    }

    /// Appends, tiers and maintains in turns; the images of each turn.
    fn turns(&self) -> impl Iterator<Item = Vec<Image>> {
        (0..TURNS).map(|turn| {
            self.append();
            std::thread::scope(|scope| {
                scope.spawn(|| self.append());
                self.table().flush_to_lake().unwrap();
            });
            if turn % 2 == 1 {
                // A round may go on behind a flush that has what it wanted, and its files would be garbage at once.
                self.table().flush_to_lake().unwrap();
                self.table().maintain().unwrap();
            }
            self.append();
            power::images(&self.lake())
        })
    }

    /// What the first image that lacks something lacks.
    fn loss(&self) -> Option<String> {
        let mut images = self.turns().flatten();
        images.find_map(|image| loss(self.kind, &image))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        power::unwatch(&self.lake());
        simulated::forget_below(self.directory.path());
    }
}

/// Makes the store and its table, and tiers a batch, on a disk that is not watched yet.
fn create(kind: Kind, path: &Path) {
    let policy = Maintenance::default()
        .merge_at(2)
        .keep_versions(2)
        .keep_versions_for(Duration::ZERO)
        .orphans_after(Duration::ZERO);
    let mut options = TableOptions::new(numbers(0..0).schema())
        .durability(Durability::Sync)
        .segment_bytes(SEGMENT_BYTES)
        .maintenance(policy);
    if kind == Kind::TransformedRows {
        let plugin = path.with_file_name("picky.wasm");
        fs::write(&plugin, record_guest()).unwrap();
        let picky = TransformSpec {
            plugin: plugin.to_string_lossy().into_owned(),
            inputs: BTreeMap::from([("x".to_owned(), "x".to_owned())]),
            outputs: BTreeMap::from([("x".to_owned(), "y".to_owned())]),
            ..spec("picky", OnError::DeadLetter)
        };
        options = options.transforms(vec![picky]);
    }
    let store = open(path).unwrap();
    let table = store.create_table("t", options).unwrap();
    table.create_index("n", IndexKind::BTree).unwrap();
    let _ = table.append(&numbers(0..ROWS_A_BATCH)).unwrap();
    table.flush_to_lake().unwrap();
    store.close().unwrap();
}

/// Copies what a directory has but for logs, which their disks know of.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        match path.is_dir() {
            true if ["raw", "staged", "dead"].iter().any(|log| name == *log) => {}
            true => copy(&path, &to.join(name)),
            // What is being written has another name, and may be gone by now.
            false => drop(fs::copy(&path, to.join(name))),
        }
    }
}

/// What an image lacks of what was promised, or has twice, once its rows are tiered.
fn loss(kind: Kind, image: &Image) -> Option<String> {
    let path = image.directory.path().to_path_buf();
    // Lance may panic over a file that is cut, which is a loss too.
    let settled = std::thread::spawn(move || settle(&path)).join();
    let settled = match settled {
        Ok(Ok(settled)) => settled,
        Ok(Err(error)) => return Some(error.to_string()),
        Err(_) => return Some("a panic".to_owned()),
    };
    let of = |is_one: fn(i64) -> bool| {
        let all = 0..settled.appended as i64;
        all.filter(|n| is_one(n % 20)).collect::<Vec<_>>()
    };
    let (rows, dead) = match kind {
        Kind::Rows => (of(|_| true), Vec::new()),
        Kind::TransformedRows => (of(|x| x != 7 && x != 13), of(|x| x == 13)),
    };
    let is_there = settled.appended >= image.acknowledged;
    let is_whole = is_there && settled.rows == rows && settled.dead == dead;
    (!is_whole).then(|| {
        let Settled {
            appended,
            rows,
            dead,
        } = &settled;
        let (rows, dead) = (rows.len(), dead.len());
        format!(
            "{rows} rows and {dead} dead letters of {appended}; {} were promised",
            image.acknowledged
        )
    })
}

/// What became of a store's rows.
struct Settled {
    appended: u64,
    /// Those in the lake, in the order of their offsets, and those among the dead letters.
    rows: Vec<i64>,
    dead: Vec<i64>,
}

/// Opens an image as a store and tiers what its log has.
fn settle(path: &Path) -> crate::Result<Settled> {
    let store = open(path)?;
    let table = store.table("t")?;
    let appended = table.flush_to_lake()?;
    assert_eq!(table.verify()?.problems, Vec::<String>::new());
    let status = table.status()?;
    assert_eq!(status.dead_letters_error, None);
    let rows = values(store.query("SELECT n FROM t ORDER BY __offset")?)?;
    let dead = values(table.dead_letters()?)?;
    store.close()?;
    Ok(Settled {
        appended,
        rows,
        dead,
    })
}

fn values(batches: impl Iterator<Item = crate::Result<RecordBatch>>) -> crate::Result<Vec<i64>> {
    let mut values = Vec::new();
    for batch in batches {
        values.extend_from_slice(batch?["n"].as_primitive::<Int64Type>().values());
    }
    Ok(values)
}

/// Loses power under a sound store; nothing may be lost.
fn survives(kind: Kind) {
    let seeds = match std::env::var_os("ALLUVIUM_SOAK") {
        Some(_) => 1..=SEEDS_OF_SOAK,
        None => 1..=1,
    };
    for seed in seeds {
        let watched = Watched::new(kind, |_| false, None, seed);
        assert_eq!(watched.loss(), None, "seed {seed}");
        // Meanwhile segments were released, and fragments merged.
        let status = watched.table().status().unwrap();
        assert!(status.log_from > 4 * ROWS_A_BATCH, "{status:?}");
        assert!(status.maintenance.compactions > 0, "{status:?}");
    }
}

/// What is lost of an unsound one.
fn lost(kind: Kind, forgets: Forgets, planted: Option<(&str, Planted)>) -> Option<String> {
    Watched::new(kind, forgets, planted, 1).loss()
}

#[test]
fn every_row_that_was_promised_is_in_the_lake_once_after_power_loss_at_any_sync() {
    survives(Kind::Rows);
}

#[test]
fn every_row_is_transformed_or_a_dead_letter_once_after_power_loss_at_any_sync() {
    survives(Kind::TransformedRows);
}

#[test]
fn power_loss_notices_segments_that_are_released_before_the_lake_is_synced() {
    let forgotten: [(&str, Forgets); 4] = [
        ("data files", |path| {
            path.to_string_lossy().contains("/data/")
        }),
        ("manifests", |path| {
            path.to_string_lossy().contains(".manifest")
        }),
        ("their names", |path| path.ends_with("_versions")),
        ("everything", |_| true),
    ];
    for (what, forgets) in forgotten {
        assert_ne!(lost(Kind::Rows, forgets, None), None, "{what}");
    }
}

#[test]
fn power_loss_notices_a_segment_of_the_log_whose_name_is_not_durable() {
    let planted = Some(("raw", Planted::SkipAnchor));
    assert_ne!(lost(Kind::Rows, |_| false, planted), None);
}

#[test]
fn power_loss_notices_dead_letters_that_are_not_durable_when_their_round_is_in_the_lake() {
    let planted = Some(("dead", Planted::SkipSync));
    assert_ne!(lost(Kind::TransformedRows, |_| false, planted), None);
}
