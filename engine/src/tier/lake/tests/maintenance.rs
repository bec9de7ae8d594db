//! What keeps a lake healthy, and what must not change by it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::index::{IndexKind, IndexSpec};
use crate::maintenance::Maintenance;
use crate::tier::lake::Compacted;
use crate::tier::lake::checkpoint::Checkpoint;

/// Keeps the newest version only, and calls everything garbage that no version names.
fn strict() -> Maintenance {
    Maintenance::default()
        .keep_versions(1)
        .keep_versions_for(Duration::ZERO)
        .orphans_after(Duration::ZERO)
}

async fn lake_of_rounds(path: &Path, table: Uuid, rounds: u64) -> Lake {
    let mut lake = Lake::open_or_create(&at(path), &columns()).await.unwrap();
    for from in 0..rounds {
        append(&mut lake, table, 0, from, from + 1).await.unwrap();
    }
    lake
}

async fn compact(lake: &mut Lake, policy: &Maintenance) -> usize {
    let mut merged = 0;
    while let Compacted::Merged(fragments) = lake.compact_step(policy).await.unwrap() {
        merged += fragments;
    }
    merged
}

fn files_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_manifest_that_never_got_its_name_is_garbage_once_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = lake_of_rounds(folder.path(), Uuid::new_v4(), 1).await;
    let draft = durable::draft(&folder.path().join("_versions"), "7.manifest");
    std::fs::write(&draft, "half of it").unwrap();
    // Lance looks only at what is older than the versions that are kept.
    let hour = Duration::from_secs(3600);
    let file = std::fs::File::open(&draft).unwrap();
    file.set_modified(std::time::SystemTime::now() - hour)
        .unwrap();
    let patient = strict().orphans_after(2 * hour);
    assert_eq!(lake.clean(&patient).await.unwrap().orphan_bytes, 10);
    assert!(draft.exists());
    lake.clean(&strict()).await.unwrap();
    assert!(!draft.exists());
    assert_eq!(offsets(&lake, 0).await, [0]);
}

#[tokio::test]
async fn what_a_killed_writer_had_not_named_is_garbage_once_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = lake_of_rounds(folder.path(), Uuid::new_v4(), 2).await;
    let names = [
        "_transactions/.tmpAb3",
        "_transactions/1-x.txn#1",
        "_deletions/.tmpx",
    ];
    let unfinished = names.map(|name| folder.path().join(name));
    std::fs::create_dir_all(folder.path().join("_deletions")).unwrap();
    for path in &unfinished {
        std::fs::write(path, "half of it").unwrap();
    }
    let patient = strict().orphans_after(Duration::from_secs(3600));
    let cleaned = lake.clean(&patient).await.unwrap();
    assert!(cleaned.orphan_bytes >= 30, "{cleaned:?}");
    assert!(unfinished.iter().all(|path| path.exists()));
    let cleaned = lake.clean(&strict()).await.unwrap();
    assert!(cleaned.bytes >= 30, "{cleaned:?}");
    assert_eq!(cleaned.orphan_bytes, 0);
    assert!(!unfinished.iter().any(|path| path.exists()));
    assert!(files_in(&folder.path().join("_transactions")) > 0);
    assert_eq!(offsets(&lake, 0).await, [0, 1]);
}

#[tokio::test]
async fn merging_keeps_rows_their_order_and_the_progress() {
    let folder = tempfile::tempdir().unwrap();
    let table = Uuid::new_v4();
    let mut lake = lake_of_rounds(folder.path(), table, 20).await;
    assert_eq!(compact(&mut lake, &Maintenance::default()).await, 20);
    assert_eq!(lake.size().0, 1);
    let batch = lake.dataset().scan().try_into_batch().await.unwrap();
    let stored = batch[OFFSET_COLUMN].as_primitive::<Int64Type>();
    assert_eq!(stored.values().to_vec(), (0..20).collect::<Vec<_>>());
    let mut other = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    assert_eq!(other.progress(table, 0).await.unwrap().to, 20);
    append(&mut other, table, 0, 20, 21).await.unwrap();
    assert_eq!(offsets(&other, 0).await, (0..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn after_cleanup_all_counts_are_known_though_no_round_is_left_in_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let (table, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mut lake = lake_of_rounds(folder.path(), table, 3).await;
    append(&mut lake, other, 7, 0, 5).await.unwrap();
    let mut last = plain(table, 0, 3, 10);
    last.after = Progress {
        to: 10,
        rows: 3,
        filtered: 6,
        dead: 1,
        dropped: 0,
    };
    let nothing = lake.write(stream::iter([])).await.unwrap();
    lake.commit(nothing, &last).await.unwrap();
    let cleaned = lake.clean(&strict()).await.unwrap();
    assert_eq!(
        cleaned.versions, 5,
        "all but the newest and the checkpoint's own"
    );
    assert_eq!(files_in(&folder.path().join("_versions")), 3, "and a hint");

    let mut lake = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    assert_eq!(lake.progress(table, 0).await.unwrap(), last.after);
    assert_eq!(lake.progress(other, 7).await.unwrap().to, 5);
    // A second cleanup knows what the first one kept.
    append(&mut lake, other, 7, 5, 6).await.unwrap();
    lake.clean(&strict()).await.unwrap();
    let lake = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    assert_eq!(lake.progress(table, 0).await.unwrap(), last.after);
    assert_eq!(lake.progress(other, 7).await.unwrap().to, 6);
}

#[tokio::test]
async fn a_checkpoint_that_meets_a_newer_one_of_another_engine_leaves_that() {
    let folder = tempfile::tempdir().unwrap();
    let table = Uuid::new_v4();
    let mut lake = lake_of_rounds(folder.path(), table, 3).await;
    let mut other = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    append(&mut lake, table, 0, 3, 5).await.unwrap();
    assert_eq!(lake.checkpoint().await.unwrap(), Some(5));
    // It read version 4, and what it would keep of that is kept.
    assert_eq!(other.checkpoint().await.unwrap(), Some(5));
    let kept = Checkpoint::read(other.dataset(), table, 0).unwrap();
    assert_eq!(kept.progress.to, 5);
}

#[tokio::test]
async fn a_bucket_that_another_table_has_is_refused_after_cleanup_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = lake_of_rounds(folder.path(), Uuid::new_v4(), 3).await;
    lake.clean(&strict()).await.unwrap();
    append(&mut lake, Uuid::new_v4(), 7, 0, 5).await.unwrap();
    let lake = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    for bucket in [0, 7] {
        let error = lake.progress(Uuid::new_v4(), bucket).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&format!("under bucket {bucket}")), "{error}");
    }
}

#[tokio::test]
async fn when_somebody_else_cleans_up_after_a_checkpoint_the_rows_beyond_it_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let table = Uuid::new_v4();
    let mut lake = lake_of_rounds(folder.path(), table, 3).await;
    let mut filtered = plain(table, 0, 3, 5);
    filtered.after = Progress {
        to: 5,
        rows: 3,
        filtered: 2,
        dead: 0,
        dropped: 0,
    };
    let nothing = lake.write(stream::iter([])).await.unwrap();
    lake.commit(nothing, &filtered).await.unwrap();
    lake.clean(&strict()).await.unwrap();
    let written = lake.write(stream::iter([Ok(rows(0, 5, 8))])).await.unwrap();
    let mut next = plain(table, 0, 5, 8);
    next.after = Progress {
        to: 8,
        rows: 6,
        ..filtered.after
    };
    lake.commit(written, &next).await.unwrap();
    forget_history(folder.path()).await;
    let lake = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    assert_eq!(lake.progress(table, 0).await.unwrap(), next.after);
}

#[tokio::test]
async fn a_tagged_version_outlives_cleanup() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = lake_of_rounds(folder.path(), Uuid::new_v4(), 3).await;
    let tagged = lake.version();
    lake.dataset().tags().create("keep", tagged).await.unwrap();
    append(&mut lake, Uuid::new_v4(), 1, 0, 4).await.unwrap();
    compact(&mut lake, &Maintenance::default().merge_at(2)).await;
    lake.clean(&strict()).await.unwrap();
    let then = lake.dataset().checkout_version("keep").await.unwrap();
    assert_eq!(then.count_rows(None).await.unwrap(), 3);
}

#[tokio::test]
async fn versions_stay_for_as_long_and_as_many_as_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = lake_of_rounds(folder.path(), Uuid::new_v4(), 9).await;
    let young = Maintenance::default();
    assert_eq!(lake.clean(&young).await.unwrap().versions, 0);
    let five = Maintenance::default().keep_versions(5);
    assert_eq!(lake.clean(&five).await.unwrap().versions, 5);
}

#[tokio::test]
async fn files_of_commits_that_never_were_go_once_they_are_old_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = lake_of_rounds(folder.path(), Uuid::new_v4(), 2).await;
    let late = lake.write(stream::iter([Ok(rows(0, 2, 3))])).await.unwrap();
    drop(late);
    assert_eq!(data_files(folder.path()), 3);
    let cleaned = lake.clean(&Maintenance::default()).await.unwrap();
    assert!(cleaned.orphan_bytes > 0, "{cleaned:?}");
    assert_eq!(
        data_files(folder.path()),
        3,
        "it may be of a round under way"
    );
    let cleaned = lake.clean(&strict()).await.unwrap();
    assert_eq!((cleaned.orphan_bytes, data_files(folder.path())), (0, 2));
    assert_eq!(offsets(&lake, 0).await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rounds_and_maintenance_at_once_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let table = Uuid::new_v4();
    Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let (options, merges) = (at(folder.path()), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&merges);
    let maintenance = tokio::spawn(async move {
        let mut lake = Lake::open(&options).await.unwrap().unwrap();
        // A round that is under way reads the version that it began with.
        let policy = Maintenance::default().merge_at(2).keep_versions(40);
        while counted.load(Ordering::Relaxed) < 5 {
            if let Compacted::Merged(_) = lake.compact_step(&policy).await.unwrap() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            lake.clean(&policy).await.unwrap();
        }
    });
    let mut lake = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let mut end = 0;
    while merges.load(Ordering::Relaxed) < 5 {
        append(&mut lake, table, 0, end, end + 1).await.unwrap();
        end += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    maintenance.await.unwrap();
    lake.refresh().await.unwrap();
    assert_eq!(offsets(&lake, 0).await, (0..end as i64).collect::<Vec<_>>());
    assert!(lake.size().0 < end, "{} fragments", lake.size().0);
    assert_eq!(lake.progress(table, 0).await.unwrap().to, end);
}

#[tokio::test]
async fn an_index_is_built_once_there_are_rows_enough_and_then_extended() {
    let folder = tempfile::tempdir().unwrap();
    let table = Uuid::new_v4();
    let mut lake = Lake::open_or_create(&at(folder.path()), &columns())
        .await
        .unwrap();
    let mut spec = IndexSpec::new("vector", IndexKind::Auto);
    spec.build_at = 1000;
    append(&mut lake, table, 0, 0, 900).await.unwrap();
    assert!(!lake.keep_index(&spec, 200).await.unwrap(), "too few rows");
    append(&mut lake, table, 0, 900, 1100).await.unwrap();
    assert!(lake.keep_index(&spec, 200).await.unwrap());
    let status = lake.index_status(&spec).await.unwrap();
    assert_eq!((status.indexed_rows, status.unindexed_rows), (1100, 0));
    append(&mut lake, table, 0, 1100, 1200).await.unwrap();
    assert!(!lake.keep_index(&spec, 200).await.unwrap(), "few lack");
    append(&mut lake, table, 0, 1200, 1500).await.unwrap();
    assert!(lake.keep_index(&spec, 200).await.unwrap());
    assert_eq!(lake.index_status(&spec).await.unwrap().unindexed_rows, 0);
    // What the index finds is what was appended last.
    let nearest = Float32Array::from(vec![1450.0, 1.0]);
    let mut scan = lake.dataset().scan();
    scan.nearest("vector", &nearest, 5).unwrap().fast_search();
    assert_eq!(scan.try_into_batch().await.unwrap().num_rows(), 5);
    lake.drop_index(&spec.name).await.unwrap();
    assert_eq!(lake.index_status(&spec).await.unwrap().segments, 0);
}

#[tokio::test]
async fn indices_of_every_kind_are_built_kept_through_merges_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let table = Uuid::new_v4();
    let mut lake = Lake::open_or_create(&at(folder.path()), &columns())
        .await
        .unwrap();
    let kinds = [
        ("vector", IndexKind::IvfHnsw),
        ("name", IndexKind::FullText),
        ("name", IndexKind::BTree),
        (OFFSET_COLUMN, IndexKind::Auto),
        (BUCKET_COLUMN, IndexKind::Bitmap),
    ];
    let specs = kinds.map(|(column, kind)| IndexSpec::new(column, kind));
    for from in 0..12 {
        append(&mut lake, table, 0, from * 500, from * 500 + 500)
            .await
            .unwrap();
        if from == 9 {
            for mut spec in specs.clone() {
                spec.build_at = 1;
                assert!(lake.keep_index(&spec, 0).await.unwrap(), "{}", spec.name);
            }
        }
    }
    for spec in &specs {
        assert!(lake.keep_index(spec, 0).await.unwrap(), "{}", spec.name);
    }
    compact(&mut lake, &Maintenance::default().merge_at(2)).await;
    for spec in &specs {
        let status = lake.index_status(spec).await.unwrap();
        assert_eq!(
            (status.indexed_rows, status.unindexed_rows),
            (6000, 0),
            "{}",
            spec.name
        );
    }
    let count = |filter: &str| lake.dataset().count_rows(Some(filter.to_owned()));
    assert_eq!(count("__offset >= 5990").await.unwrap(), 10);
    assert_eq!(count("name = '0/777'").await.unwrap(), 1);
}
