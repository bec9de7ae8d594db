//! Rows on their way into data files.

use futures::TryStreamExt;

use super::*;

#[tokio::test]
async fn a_stream_that_fails_leaves_its_error_and_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let broken = Error::invalid("the log", "it broke");
    let error = lake
        .write(stream::iter([Ok(rows(0, 0, 5000)), Err(broken)]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert_eq!(data_files(folder.path()), 0);
}

#[tokio::test]
async fn many_batches_become_one_version_that_can_be_streamed() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let batches = (0..50).map(|n| Ok(rows(0, n * 100, n * 100 + 100)));
    let written = lake.write(stream::iter(batches)).await.unwrap();
    assert_eq!(written.rows, 5000);
    lake.commit(written, &plain(Uuid::new_v4(), 0, 0, 5000))
        .await
        .unwrap();
    assert_eq!(lake.version(), 2);
    let stream = lake.dataset().scan().try_into_stream().await.unwrap();
    let read: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 5000);
}
