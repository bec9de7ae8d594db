//! A lake on a local disk, from the first round to the last.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, TimeUnit};
use futures::stream;
use lance::dataset::{InsertBuilder, WriteMode, WriteParams};

use super::*;

pub(crate) mod faulty;
mod maintenance;
pub(crate) mod power;
mod racing;
mod s3;
mod storms;
mod streams;

/// What tests make of a sync that was made: it is noted, and may fail for who asked for it.
pub(in crate::tier::lake) fn synced(path: &Path) -> std::io::Result<()> {
    power::synced(path);
    faulty::files::synced(path)
}

pub(crate) fn columns() -> Schema {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("vector", DataType::FixedSizeList(item, 2), true),
        Field::new(BUCKET_COLUMN, DataType::Int32, false),
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
        Field::new(
            "__timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
    ])
}

/// Rows of one bucket, offsets `from..to`; each has the vector (offset, 1).
pub(crate) fn rows(bucket: i32, from: u64, to: u64) -> RecordBatch {
    let offsets: Vec<i64> = (from as i64..to as i64).collect();
    let vectors = offsets
        .iter()
        .flat_map(|offset| [*offset as f32, 1.0])
        .collect::<Vec<_>>();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors =
        arrow_array::FixedSizeListArray::new(item, 2, Arc::new(Float32Array::from(vectors)), None);
    RecordBatch::try_new(
        Arc::new(columns()),
        vec![
            Arc::new(StringArray::from_iter_values(
                offsets.iter().map(|offset| format!("{bucket}/{offset}")),
            )),
            Arc::new(vectors),
            Arc::new(Int32Array::from(vec![bucket; offsets.len()])),
            Arc::new(Int64Array::from(offsets.clone())),
            Arc::new(TimestampMicrosecondArray::from(offsets).with_timezone("UTC")),
        ],
    )
    .unwrap()
}

pub(crate) fn at(path: &Path) -> LakeOptions {
    LakeOptions {
        uri: path.to_str().unwrap().to_owned(),
        ..LakeOptions::default()
    }
}

/// A round in which every row came through.
fn plain(table_id: Uuid, bucket: i32, from: u64, to: u64) -> Round {
    let after = Progress {
        to,
        rows: to,
        ..Progress::default()
    };
    let transform = TransformRecord {
        name: "t".into(),
        plugin: "p".into(),
        version: Some("1.2.3".into()),
        sha256: "00".into(),
    };
    Round {
        table_id,
        bucket,
        from,
        amends: None,
        after,
        transforms: vec![transform],
        writer: Uuid::nil(),
    }
}

pub(crate) async fn append(
    lake: &mut Lake,
    table: Uuid,
    bucket: i32,
    from: u64,
    to: u64,
) -> Result<Outcome> {
    let written = lake
        .write(stream::iter([Ok(rows(bucket, from, to))]))
        .await?;
    lake.commit(written, &plain(table, bucket, from, to)).await
}

async fn offsets(lake: &Lake, bucket: i32) -> Vec<i64> {
    let mut scan = lake.dataset().scan();
    scan.filter(&format!("{BUCKET_COLUMN} = {bucket}")).unwrap();
    let batch = scan.try_into_batch().await.unwrap();
    let mut offsets = batch[OFFSET_COLUMN]
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    offsets.sort_unstable();
    offsets
}

fn data_files(root: &Path) -> usize {
    std::fs::read_dir(root.join("data")).map_or(0, Iterator::count)
}

/// Appends as any Lance program would, without our properties.
async fn foreign(path: &Path, batch: RecordBatch) -> Dataset {
    let params = WriteParams {
        mode: WriteMode::Append,
        ..WriteParams::default()
    };
    InsertBuilder::new(path.to_str().unwrap())
        .with_params(&params)
        .execute(vec![batch])
        .await
        .unwrap()
}

#[tokio::test]
async fn a_new_lake_has_no_dictionary_sought_for_its_times_and_no_runs_in_its_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("t.lance");
    Lake::create(&at(&root), &columns()).await.unwrap();
    let lake = Lake::open_existing(&at(&root)).await.unwrap();
    let told = |column: &str| {
        let field = lake.dataset().schema().field(column).unwrap();
        field.metadata.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(told("__timestamp"), ["lance-encoding:dict-divisor"]);
    assert_eq!(told(OFFSET_COLUMN), ["lance-encoding:rle-threshold"]);
}

#[tokio::test]
async fn progress_survives_reopening_after_each_of_two_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub folder/ü %20 #1?.lance");
    let options = at(&path);
    assert!(Lake::open(&options).await.unwrap().is_none());
    let mut lake = Lake::create(&options, &columns()).await.unwrap();
    let table = Uuid::new_v4();
    assert_eq!(lake.progress(table, 0).await.unwrap(), Progress::default());
    for (from, to) in [(0, 10), (10, 25)] {
        let after = Progress {
            to,
            rows: to,
            ..Progress::default()
        };
        assert_eq!(
            append(&mut lake, table, 0, from, to).await.unwrap(),
            Outcome::Committed(after)
        );
        let reopened = Lake::open(&options).await.unwrap().unwrap();
        assert_eq!(reopened.progress(table, 0).await.unwrap(), after);
        assert_eq!(
            offsets(&reopened, 0).await,
            (0..to as i64).collect::<Vec<_>>()
        );
    }
    assert!(
        path.join("_versions").is_dir(),
        "Lance writes where the fsyncs are made"
    );
    assert!(lake.dataset().manifest().uses_stable_row_ids());
    let record = lake
        .dataset()
        .read_transaction()
        .await
        .unwrap()
        .unwrap()
        .transaction_properties
        .unwrap();
    assert_eq!(
        record["alluvium.transforms"],
        r#"[{"name":"t","plugin":"p","sha256":"00","version":"1.2.3"}]"#
    );
    assert_eq!(
        (
            record["alluvium.from"].as_str(),
            record["alluvium.to"].as_str()
        ),
        ("10", "25")
    );
    assert!(
        Lake::create(&options, &columns()).await.is_err(),
        "an existing lake was created again"
    );
    let drafts = std::fs::read_dir(path.join("_versions")).unwrap();
    assert!(
        !drafts
            .flatten()
            .any(|file| file.file_name().to_string_lossy().starts_with(".tmp"))
    );
}

#[tokio::test]
async fn a_round_without_rows_advances_the_progress() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let table = Uuid::new_v4();
    let after = Progress {
        to: 7,
        rows: 0,
        filtered: 5,
        dead: 2,
        dropped: 0,
    };
    let round = Round {
        after,
        ..plain(table, 0, 0, 7)
    };
    let written = lake.write(stream::iter([Ok(rows(0, 0, 0))])).await.unwrap();
    assert_eq!(written.rows, 0);
    lake.commit(written, &round).await.unwrap();
    assert_eq!(
        Lake::open(&at(folder.path()))
            .await
            .unwrap()
            .unwrap()
            .progress(table, 0)
            .await
            .unwrap(),
        after
    );
    append(&mut lake, table, 0, 7, 9).await.unwrap();
    assert_eq!(offsets(&lake, 0).await, [7, 8]);
}

#[tokio::test]
async fn tables_and_buckets_in_one_lake_keep_their_own_progress() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    append(&mut lake, one, 0, 0, 3).await.unwrap();
    append(&mut lake, two, 2, 0, 5).await.unwrap();
    append(&mut lake, one, 1, 0, 7).await.unwrap();
    append(&mut lake, one, 0, 3, 4).await.unwrap();
    for (table, bucket, to) in [(one, 0, 4), (two, 2, 5), (one, 1, 7)] {
        assert_eq!(lake.progress(table, bucket).await.unwrap().to, to);
        let reopened = Lake::open(&at(folder.path())).await.unwrap().unwrap();
        assert_eq!(reopened.progress(table, bucket).await.unwrap().to, to);
    }
    assert_eq!(lake.progress(two, 9).await.unwrap().to, 0);
    let error = lake.progress(two, 0).await.unwrap_err().to_string();
    assert!(error.contains("under bucket 0"), "{error}");
}

/// Leaves only the newest version, which is a foreign one.
async fn forget_history(path: &Path) {
    let dataset = foreign(path, rows(9, 0, 2)).await;
    dataset
        .cleanup_old_versions(Default::default(), Some(false), None)
        .await
        .unwrap();
    assert!(
        dataset
            .read_transaction_by_version(dataset.version_id() - 1)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn without_its_history_a_bucket_goes_on_after_its_last_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let table = Uuid::new_v4();
    append(&mut lake, table, 3, 0, 20).await.unwrap();
    forget_history(folder.path()).await;
    let mut lake = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let found = lake.progress(table, 3).await.unwrap();
    assert_eq!(
        found,
        Progress {
            to: 20,
            rows: 20,
            ..Progress::default()
        }
    );
    assert_eq!(lake.progress(table, 4).await.unwrap(), Progress::default());
    append(&mut lake, table, 3, 20, 21).await.unwrap();
    assert_eq!(lake.progress(table, 3).await.unwrap().to, 21);
}

#[tokio::test]
async fn progress_that_was_rolled_back_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let table = Uuid::new_v4();
    append(&mut lake, table, 0, 0, 5).await.unwrap();
    let good = lake.version();
    append(&mut lake, table, 0, 5, 9).await.unwrap();
    let mut old = lake.dataset().checkout_version(good).await.unwrap();
    old.restore().await.unwrap();
    lake.refresh().await.unwrap();
    assert_eq!(lake.progress(table, 0).await.unwrap().to, 5);
}

#[tokio::test]
async fn a_lake_of_other_columns_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    Lake::create(&at(folder.path()), &columns()).await.unwrap();
    Lake::open_or_create(&at(folder.path()), &columns())
        .await
        .unwrap();
    let mut fields: Vec<Field> = columns()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields[0] = Field::new("name", DataType::Int64, false);
    let error = Lake::open_or_create(&at(folder.path()), &Schema::new(fields))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::LakeMismatch { .. }));
    let text = error.to_string();
    assert!(
        text.contains("column \"name\" is Int64 in the table and Utf8 in the lake"),
        "{text}"
    );
}

#[tokio::test]
async fn a_lake_that_is_not_readable_is_an_error_and_not_absent() {
    let folder = tempfile::tempdir().unwrap();
    Lake::create(&at(folder.path()), &columns()).await.unwrap();
    for manifest in std::fs::read_dir(folder.path().join("_versions")).unwrap() {
        std::fs::write(manifest.unwrap().path(), b"torn").unwrap();
    }
    let error = Lake::open(&at(folder.path())).await.unwrap_err();
    assert!(
        matches!(error, Error::Lake { action: "open", .. }),
        "{error}"
    );
}
