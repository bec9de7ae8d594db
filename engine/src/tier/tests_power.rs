//! What a store is after the power was lost: its log and its lake together have each row that was promised, once.
//!
//! The lake is what [`power`] leaves of it, the log what its simulated disk does, and power is lost at syncs of both. What is
//! beside them in the store is replaced atomically and durably, and taken as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use tempfile::TempDir;

use super::lake::tests::power::{self, Forgets, Image};
use crate::log::tests::Planted;
use crate::log::tests::simulated::Simulated;
use crate::{Durability, IndexKind, Maintenance, Store, StoreOptions, Table, TableOptions};

const SEGMENT_BYTES: u64 = 64 << 10;
/// Four batches fill a segment.
const ROWS_A_BATCH: u64 = 2000;
const TURNS: u64 = 6;

fn numbers(range: std::ops::Range<u64>) -> RecordBatch {
    let column = Int64Array::from_iter_values(range.map(|n| n as i64));
    RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap()
}

fn open(path: &Path) -> crate::Result<Store> {
    StoreOptions::new().tiering(false).open(path)
}

/// A store whose log and lake are watched.
struct Watched {
    directory: TempDir,
    store: Store,
    /// Rows that are promised to survive.
    acknowledged: Arc<AtomicU64>,
}

impl Watched {
    /// Where a test wants it, syncs of the lake are not made, or the log has a fault.
    fn new(forgets: Forgets, planted: Option<Planted>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        create(&path);
        let (raw, lake) = (path.join("tables/t/raw"), path.join("lake"));
        let mut disk = Simulated::over(&raw, 1);
        disk.planted = planted;
        let acknowledged = Arc::default();
        let beside = {
            let (disk, store) = (disk.clone(), path.clone());
            move |image: &Path| {
                copy(&store.join("tables"), &image.join("tables"));
                let raw = image.join("tables/t/raw");
                fs::create_dir_all(&raw).unwrap();
                disk.write_image(&raw);
            }
        };
        disk.put_below(&raw, (power::synced_beside, lake.clone()));
        power::watch(&lake, forgets, &acknowledged, beside);
        let store = open(&path).unwrap();
        Self {
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
            self.append();
            if turn % 2 == 1 {
                self.table().maintain().unwrap();
            }
            power::images(&self.lake())
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        power::unwatch(&self.lake());
    }
}

/// Makes the store and its table on a disk that is not watched yet.
fn create(path: &Path) {
    let policy = Maintenance::default()
        .merge_at(2)
        .keep_versions(2)
        .keep_versions_for(Duration::ZERO)
        .orphans_after(Duration::ZERO);
    let options = TableOptions::new(numbers(0..0).schema())
        .durability(Durability::Sync)
        .segment_bytes(SEGMENT_BYTES)
        .maintenance(policy);
    let store = open(path).unwrap();
    let table = store.create_table("t", options).unwrap();
    table.create_index("n", IndexKind::BTree).unwrap();
    store.close().unwrap();
}

/// Copies what a directory has but for segments, which the log's disk knows of.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let image = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true if path.ends_with("raw") => {}
            true => copy(&path, &image),
            // What is being written has another name, and may be gone by now.
            false => drop(fs::copy(&path, &image)),
        }
    }
}

/// What an image lacks of what was promised, or has twice, once its rows are tiered.
fn loss(image: &Image) -> Option<String> {
    let path = image.directory.path().to_path_buf();
    // Lance may panic over a file that is cut, which is a loss too.
    let settled = std::thread::spawn(move || settle(&path)).join();
    let found = match settled {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Some(error.to_string()),
        Err(_) => return Some("a panic".to_owned()),
    };
    let is_whole = found == (0..found.len() as i64).collect::<Vec<_>>();
    let is_there = is_whole && found.len() as u64 >= image.acknowledged;
    (!is_there).then(|| format!("{} rows of {}", found.len(), image.acknowledged))
}

/// Opens an image as a store and tiers what its log has; the lake's rows.
fn settle(path: &Path) -> crate::Result<Vec<i64>> {
    let store = open(path)?;
    let table = store.table("t")?;
    table.flush_to_lake()?;
    assert_eq!(table.verify()?.problems, Vec::<String>::new());
    let mut rows = Vec::new();
    for batch in store.query("SELECT n FROM t ORDER BY __offset")? {
        let batch = batch?;
        rows.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }
    store.close()?;
    Ok(rows)
}

#[test]
fn every_row_that_was_promised_is_in_the_lake_once_after_power_loss_at_any_sync() {
    let watched = Watched::new(|_| false, None);
    for image in watched.turns().flatten() {
        assert_eq!(loss(&image), None);
    }
    // Meanwhile segments were released, and fragments merged.
    let status = watched.table().status().unwrap();
    assert!(status.log_from > 4 * ROWS_A_BATCH, "{status:?}");
    assert!(status.maintenance.compactions > 0, "{status:?}");
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
        assert!(is_noticed(forgets, None), "{what}");
    }
}

#[test]
fn power_loss_notices_a_segment_of_the_log_whose_name_is_not_durable() {
    assert!(is_noticed(|_| false, Some(Planted::SkipAnchor)));
}

fn is_noticed(forgets: Forgets, planted: Option<Planted>) -> bool {
    let watched = Watched::new(forgets, planted);
    let lost = watched.turns().flatten().find_map(|image| loss(&image));
    println!("{lost:?}");
    lost.is_some()
}
