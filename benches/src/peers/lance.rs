//! Lance: a commit for each batch, and its MemWAL with the settings that it has and with better ones.

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use arrow_array::{RecordBatch, RecordBatchIterator};
use lance::dataset::mem_wal::{DatasetMemWalExt, ShardWriter, ShardWriterConfig};
use lance::dataset::{Dataset, WriteParams};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::lane::{Lane, Opening};
use crate::samples::Sample;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

fn reader(batch: RecordBatch) -> impl arrow_array::RecordBatchReader + Send + 'static {
    let schema = batch.schema();
    RecordBatchIterator::new([Ok(batch)], schema)
}

/// A dataset with no rows.
fn create(opening: &Opening<'_>) -> Dataset {
    let uri = opening.directory.join("data.lance");
    let empty = RecordBatch::new_empty(opening.samples.schema.clone());
    RUNTIME
        .block_on(Dataset::write(
            reader(empty),
            &uri.display().to_string(),
            Some(WriteParams::default()),
        ))
        .expect("a dataset")
}

/// One at a time: commits side by side would only be rejected and repeated.
struct Append(Mutex<Dataset>);

pub(super) fn open_append(opening: &Opening<'_>) -> Box<dyn Lane> {
    Box::new(Append(Mutex::new(create(opening))))
}

impl Lane for Append {
    fn append(&self, _producer: usize, sample: &Sample) {
        let mut dataset = self.0.lock().expect("the dataset");
        RUNTIME
            .block_on(dataset.append(reader(sample.batch.clone()), None))
            .expect("appended");
    }
}

/// One shard for all producers, as they share one log elsewhere.
struct MemWal(Option<ShardWriter>);

fn open_memwal(opening: &Opening<'_>, config: ShardWriterConfig) -> Box<dyn Lane> {
    let mut dataset = create(opening);
    let writer = RUNTIME.block_on(async {
        dataset.initialize_mem_wal().execute().await?;
        dataset.mem_wal_writer(Uuid::new_v4(), config).await
    });
    Box::new(MemWal(Some(writer.expect("a writer"))))
}

pub(super) fn open_memwal_default(opening: &Opening<'_>) -> Box<dyn Lane> {
    open_memwal(opening, ShardWriterConfig::default())
}

/// A write is flushed as soon as it is there, and no memtable is kept beside the log.
pub(super) fn open_memwal_tuned(opening: &Opening<'_>) -> Box<dyn Lane> {
    let config = ShardWriterConfig {
        enable_memtable: false,
        max_wal_buffer_size: 1,
        max_wal_flush_interval: Some(Duration::from_millis(1)),
        ..ShardWriterConfig::default()
    };
    open_memwal(opening, config)
}

impl Lane for MemWal {
    fn append(&self, _producer: usize, sample: &Sample) {
        let writer = self.0.as_ref().expect("a writer");
        RUNTIME
            .block_on(writer.put(vec![sample.batch.clone()]))
            .expect("put");
    }
}

impl Drop for MemWal {
    fn drop(&mut self) {
        if let Some(writer) = self.0.take() {
            // What is acknowledged is in the log; a memtable's flush is not waited for.
            RUNTIME.block_on(writer.abort()).expect("aborted");
        }
    }
}
