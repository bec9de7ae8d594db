//! Rows on their way into data files that no version names yet.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};
use lance::Dataset;
use lance::dataset::transaction::{Operation, Transaction, TransactionBuilder};
use lance::dataset::{InsertBuilder, WriteMode, WriteParams};
use lance_table::format::Fragment;
use parking_lot::Mutex;

use super::durable::DATA;
use super::layout::Blobs;
use super::options::Place;
use super::progress::{Round, is_missing};
use super::rows::bytes_of;
use super::writeback::Writeback;
use super::{Lake, error};
use crate::{Error, Result};

/// A data file ends at the first of these.
const ROWS_PER_FILE: usize = 1 << 20;
const BYTES_PER_FILE: usize = 1 << 30;

/// Rows that are in data files of no version: nobody sees them. Hand them to [`Lake::commit`]; when dropped,
/// or after a crash, the files stay as garbage for the lake's cleanup.
#[derive(Debug)]
#[must_use = "the rows are not in the lake until they are committed"]
pub(crate) struct Written {
    fragments: Vec<Fragment>,
    read_version: u64,
    /// Rows in those files.
    pub(crate) rows: u64,
}

impl Written {
    pub(super) fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// Adds, behind these, the rows that another copy of the writer wrote.
    pub(crate) fn append(&mut self, next: Self) {
        self.fragments.extend(next.fragments);
        self.rows += next.rows;
    }

    /// The one transaction that makes these rows visible and records the round.
    pub(super) fn transaction(&self, round: &Round) -> Transaction {
        let operation = Operation::Append {
            fragments: self.fragments.clone(),
        };
        TransactionBuilder::new(self.read_version, operation)
            .transaction_properties(Some(Arc::new(round.properties())))
            .build()
    }
}

/// Writes rows to the files of a lake, at the version that was its newest. Copies may write at once, each into files of its
/// own.
#[derive(Clone)]
pub(crate) struct Writer {
    place: Place,
    dataset: Arc<Dataset>,
    writeback: Option<Writeback>,
}

impl Lake {
    /// What writes to this lake.
    pub(crate) async fn writer(&mut self) -> Result<Writer> {
        // The version that the last round left may have been removed since.
        self.refresh().await?;
        let root = self.place.root.as_ref();
        Ok(Writer {
            place: self.place.clone(),
            dataset: Arc::new(self.dataset.clone()),
            writeback: root.map(|root| Writeback::new(root.join(DATA))),
        })
    }

    /// Writes rows as one [`Writer`] does.
    pub(crate) async fn write<S>(&mut self, batches: S) -> Result<Written>
    where
        S: Stream<Item = Result<RecordBatch>> + Send + 'static,
    {
        self.writer().await?.write(batches).await
    }

    /// Deletes what was written and is not to be committed.
    pub(crate) async fn discard(&self, written: Written) {
        self.discard_fragments(&written.fragments).await;
    }

    /// Deletes the files of fragments that no version names; what stays is garbage for the lake's cleanup.
    pub(super) async fn discard_fragments(&self, fragments: &[Fragment]) {
        let Ok(store) = self.dataset.object_store(None).await else {
            return;
        };
        for file in fragments.iter().flat_map(|fragment| &fragment.files) {
            let path = self.dataset.data_dir().join(file.path.as_str());
            if let Err(error) = store.delete(&path).await {
                tracing::warn!(lake = self.uri(), file = file.path, %error, "an uncommitted data file is left");
            }
            let stem = file.path.trim_end_matches(".lance");
            match store
                .remove_dir_all(self.dataset.data_dir().join(stem))
                .await
            {
                Err(error) if !is_missing(&error) => {
                    tracing::warn!(lake = self.uri(), file = stem, %error, "uncommitted blob files are left");
                }
                _ => {}
            }
        }
    }
}

impl Writer {
    /// Writes rows to data files without committing them, in bounded memory: batches go to the files as they come.
    /// When the stream or the writing fails no file is left.
    pub(crate) async fn write<S>(self, batches: S) -> Result<Written>
    where
        S: Stream<Item = Result<RecordBatch>> + Send + 'static,
    {
        let Self {
            place,
            dataset,
            writeback,
        } = self;
        let read_version = dataset.version_id();
        let blobs = Blobs::of(&Schema::from(dataset.schema()));
        let batches = batches.filter(|batch| {
            let empty = batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0);
            std::future::ready(!empty)
        });
        let mut batches = Box::pin(batches.map(move |rows| {
            let rows = rows?;
            if let Some(writeback) = &writeback {
                writeback.passed(bytes_of(&rows)?);
            }
            blobs.wrap(rows)
        }));
        let Some(first) = batches.next().await.transpose()? else {
            return Ok(Written {
                fragments: Vec::new(),
                read_version,
                rows: 0,
            });
        };
        let failed = Arc::new(Mutex::new(None));
        let rows = with_schema(
            first.schema(),
            futures::stream::iter([Ok(first)]).chain(batches),
            failed.clone(),
        );
        let params = WriteParams {
            mode: WriteMode::Append,
            max_rows_per_file: ROWS_PER_FILE,
            max_bytes_per_file: BYTES_PER_FILE,
            skip_auto_cleanup: true,
            ..WriteParams::default()
        };
        let insert = InsertBuilder::new(dataset)
            .with_params(&params)
            .execute_uncommitted_stream(rows)
            .await;
        let transaction = match (insert, failed.lock().take()) {
            (Ok(transaction), None) => transaction,
            (_, Some(failure)) => return Err(failure),
            (Err(cause), None) => return Err(error("write to", &place)(cause)),
        };
        let Operation::Append { fragments } = transaction.operation else {
            return Err(error("write to", &place)(lance::Error::internal(
                "an append became another operation",
            )));
        };
        let rows = fragments
            .iter()
            .filter_map(|fragment| fragment.physical_rows)
            .sum::<usize>() as u64;
        Ok(Written {
            fragments,
            read_version,
            rows,
        })
    }
}

/// The rows as Lance takes them. Lance tells a failure of the stream in its own words, so the error itself is put aside.
fn with_schema<S>(
    schema: SchemaRef,
    batches: S,
    failed: Arc<Mutex<Option<Error>>>,
) -> SendableRecordBatchStream
where
    S: Stream<Item = Result<RecordBatch>> + Send + 'static,
{
    let batches = batches.map(move |batch| {
        batch.map_err(|error| {
            let told = ArrowError::ExternalError(error.to_string().into());
            *failed.lock() = Some(error);
            DataFusionError::ArrowError(Box::new(told), None)
        })
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}
