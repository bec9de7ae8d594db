//! Rows of a lake, read as they are needed.

use futures::StreamExt;
use futures::stream::BoxStream;

use arrow_array::RecordBatch;
use lance::datatypes::BlobHandling;

use super::{Lake, error};
use crate::{Error, Result};

/// Whole rows that are read at a time: they may be large.
const BATCH_ROWS: usize = 256;
/// Batches that are read ahead.
const READ_AHEAD: usize = 2;

impl Lake {
    /// The rows that match a filter, in no order and in bounded memory: whole, or some small columns of them.
    pub(crate) fn rows(
        &self,
        filter: String,
        columns: Option<&'static [&'static str]>,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<RecordBatch>>>> + use<> {
        let (dataset, place) = (self.dataset.clone(), self.place.clone());
        async move {
            let read = async || {
                let mut scan = dataset.scan();
                scan.filter(&filter)?;
                scan.blob_handling(BlobHandling::AllBinary);
                match columns {
                    Some(columns) => scan.project(columns)?,
                    None => scan
                        .batch_size(BATCH_ROWS)
                        .batch_readahead(READ_AHEAD)
                        .fragment_readahead(1),
                };
                scan.try_into_stream().await
            };
            let batches = read().await.map_err(error("read", &place))?;
            Ok(batches
                .map(move |batch| batch.map_err(error("read", &place)))
                .boxed())
        }
    }
}

/// The bytes of a batch's rows, not of the buffers that they share with others.
pub(crate) fn bytes_of(batch: &RecordBatch) -> Result<u64> {
    let columns = batch.columns().iter();
    let bytes = columns.map(|column| column.to_data().get_slice_memory_size());
    let bytes = bytes.sum::<std::result::Result<usize, _>>();
    bytes
        .map(|bytes| bytes as u64)
        .map_err(Error::arrow("measure a batch"))
}
