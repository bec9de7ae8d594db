//! Columns that are made anew for rows that a lake has, a fragment at a time: one more data file each, in one commit.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use lance::dataset::transaction::{
    DataReplacementGroup, Operation, Transaction, TransactionBuilder,
};
use lance::datatypes::{BlobHandling, format_field_path};
use lance_table::format::{DataFile, Fragment};

use super::layout::Blobs;
use super::progress::TransformRecord;
use super::round::{ATTEMPTS, Published, is_conflict, pause};
use super::{Lake, error};
use crate::Result;
use crate::crash::crash_point;

/// What is read of a fragment at a time.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: u64 = 8 << 20;

/// The transaction property that names what was made anew.
const BACKFILL: &str = "alluvium.backfill";

/// A fragment's new columns, in a data file of no version.
#[derive(Debug)]
pub(crate) struct WrittenColumns {
    fragment: u64,
    group: DataReplacementGroup,
    /// The files that the fragment had when it was read.
    files: Vec<DataFile>,
    read_version: u64,
}

/// Whether a fragment's new columns are in the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    Committed,
    /// Another writer rewrote the fragment.
    Conflict,
}

impl Lake {
    /// The numbers of the fragments of the version that this handle reads.
    pub(crate) fn fragment_ids(&self) -> Vec<u64> {
        self.dataset.fragments().iter().map(|f| f.id).collect()
    }

    /// Some columns of all rows of a fragment in their order, with a column `_rowid` behind them that is null where a row
    /// was deleted.
    pub(crate) fn fragment_rows(
        &self,
        fragment: u64,
        columns: &[String],
    ) -> impl Future<Output = Result<BoxStream<'static, Result<RecordBatch>>>> + use<> {
        let (dataset, place) = (self.dataset.clone(), self.place.clone());
        let columns: Vec<String> = columns.iter().map(|c| format_field_path(&[c])).collect();
        async move {
            let read = async || {
                let mut scan = fragment_of(&dataset, fragment)?.scan();
                scan.project(&columns)?
                    .with_row_id()
                    .include_deleted_rows()
                    .scan_in_order(true)
                    .batch_size(BATCH_ROWS)
                    .batch_size_bytes(BATCH_BYTES)
                    .blob_handling(BlobHandling::AllBinary);
                scan.try_into_stream().await
            };
            let batches = read().await.map_err(error("read", &place))?;
            Ok(batches
                .map(move |batch| batch.map_err(error("read", &place)))
                .boxed())
        }
    }

    /// Writes columns that the lake has, of all rows of a fragment in their order, to a data file; nothing is committed.
    pub(crate) fn write_columns<S>(
        &self,
        fragment: u64,
        columns: &[String],
        rows: S,
    ) -> impl Future<Output = Result<WrittenColumns>> + use<S>
    where
        S: Stream<Item = Result<RecordBatch>> + Send + 'static,
    {
        let (dataset, place) = (self.dataset.clone(), self.place.clone());
        let paths: Vec<String> = columns.iter().map(|c| format_field_path(&[c])).collect();
        async move {
            let failed = error("write to", &place);
            let blobs = Blobs::of(&Schema::from(dataset.schema()));
            let rows = rows.map(move |batch| {
                let wrapped = batch.and_then(|batch| blobs.wrap(batch));
                wrapped.map_err(|error| lance::Error::external(Box::new(error)))
            });
            let write = async || {
                let schema = dataset.schema().project(&paths)?;
                let source = fragment_of(&dataset, fragment)?;
                let files = source.metadata().files.clone();
                let group = source.write_columns(rows, &schema).await?;
                Ok(WrittenColumns {
                    fragment,
                    group,
                    files,
                    read_version: dataset.version_id(),
                })
            };
            write().await.map_err(failed)
        }
    }

    /// Gives a fragment the columns that were written for it, in one commit that names their maker. On a local lake it
    /// survives power loss once this returned.
    pub(crate) async fn commit_columns(
        &mut self,
        written: WrittenColumns,
        transform: &str,
        makers: &[TransformRecord],
    ) -> Result<Replaced> {
        let transaction = written.transaction(transform, makers);
        let mut conflict = None;
        for attempt in 0..ATTEMPTS {
            self.refresh().await?;
            if written.is_in(self.dataset.fragments()) {
                return Ok(Replaced::Committed);
            }
            if !written.fits(self.dataset.fragments()) {
                self.discard_after(attempt, &[written.garbage()]).await;
                return Ok(Replaced::Conflict);
            }
            match self.publish(&transaction).await {
                Ok(published) => {
                    crash_point("backfill: committed");
                    let is_there =
                        published == Published::Newest || written.is_in(self.dataset.fragments());
                    return Ok(match is_there {
                        true => Replaced::Committed,
                        false => Replaced::Conflict,
                    });
                }
                Err(error) if is_conflict(&error) => conflict = Some(error),
                // The reply may be what was lost: the file stays for cleanup.
                Err(error) => return Err(self.error("commit to")(error)),
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        self.discard_after(ATTEMPTS, &[written.garbage()]).await;
        Err(self.out_of_attempts(conflict))
    }
}

impl WrittenColumns {
    /// What is to be deleted when nobody names it.
    fn garbage(self) -> Fragment {
        let mut garbage = Fragment::new(self.fragment);
        garbage.files.push(self.group.1);
        garbage
    }

    /// Whether the fragment has these columns: a commit of which that was not known.
    fn is_in(&self, fragments: &[Fragment]) -> bool {
        let mut files = fragments.iter().flat_map(|fragment| &fragment.files);
        files.any(|file| file.path == self.group.1.path)
    }

    /// Whether the fragment is there as it was read, but for rows that were deleted since.
    fn fits(&self, fragments: &[Fragment]) -> bool {
        let mut there = fragments.iter().filter(|f| f.id == self.fragment);
        there.any(|fragment| fragment.files == self.files)
    }

    fn transaction(&self, transform: &str, makers: &[TransformRecord]) -> Transaction {
        let operation = Operation::DataReplacement {
            replacements: vec![self.group.clone()],
        };
        let makers = serde_json::to_value(makers).unwrap_or_default();
        let properties = [
            (BACKFILL, transform.to_owned()),
            (super::progress::TRANSFORMS, makers.to_string()),
        ];
        let properties: HashMap<_, _> = properties
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        TransactionBuilder::new(self.read_version, operation)
            .transaction_properties(Some(Arc::new(properties)))
            .build()
    }
}

fn fragment_of(
    dataset: &lance::Dataset,
    fragment: u64,
) -> lance::Result<lance::dataset::fragment::FileFragment> {
    let id = usize::try_from(fragment).unwrap_or(usize::MAX);
    dataset.get_fragment(id).ok_or_else(|| {
        lance::Error::invalid_input(format!("fragment {fragment} is not in this version"))
    })
}
