//! Rows on their way into a lake: written to its files while they are made, then committed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use crate::catalog::PinnedTransform;
use crate::crash::crash_point;
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::tier::context::TierContext;
use crate::tier::heap;
use crate::tier::lake::{Lake, Outcome, Progress, Round, TransformRecord, Written, bytes_of};

/// Batches on their way to the lake's writer: what bounds the memory of a round.
pub(crate) const BATCHES_IN_FLIGHT: usize = 2;

/// Writes to a lake's files what `make` hands to its sink, which says whether more is wanted; nothing is committed.
/// When making or writing fails no file is left.
pub(crate) fn streamed<T>(
    executor: &Executor,
    mut lake: Lake,
    make: impl FnOnce(&mut dyn FnMut(RecordBatch) -> bool) -> Result<T>,
) -> Result<(Lake, T, Written)> {
    let write = |batches| async move {
        let written = lake.write(batches).await;
        (lake, written)
    };
    let (made, (lake, written)) = piped(executor, write, |sink| {
        let made = make(sink);
        crash_point("round: rows made");
        made
    })?;
    crash_point("round: rows written");
    Ok((lake, made?, written?))
}

/// Runs a writer of a stream beside what makes it; gives how both ended.
pub(crate) fn piped<T, W, F>(
    executor: &Executor,
    write: impl FnOnce(BoxStream<'static, Result<RecordBatch>>) -> F,
    make: impl FnOnce(&mut dyn FnMut(RecordBatch) -> bool) -> Result<T>,
) -> Result<(Result<T>, W)>
where
    W: Send + 'static,
    F: Future<Output = W> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(BATCHES_IN_FLIGHT);
    let batches = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    let writing = executor.start(write(batches.boxed()));
    let mut sink = |batch: RecordBatch| {
        heap::passed(bytes_of(&batch).unwrap_or_default());
        sender.blocking_send(Ok(batch)).is_ok()
    };
    // A library's panic is a failure like another: the writer is to delete its files.
    let made = catch_unwind(AssertUnwindSafe(|| make(&mut sink))).unwrap_or_else(|_| {
        Err(Error::Internal {
            reason: "making the rows panicked; the message is on standard error".to_owned(),
        })
    });
    if let Err(error) = &made {
        // The writer must not take a stream that broke off for one that ended.
        let broken = Error::Internal {
            reason: error.to_string(),
        };
        let _ = sender.blocking_send(Err(broken));
    }
    drop(sender);
    Ok((made, writing.wait()?))
}

/// Fails when a writer lost rows.
pub(crate) fn check_written(made: u64, written: &Written) -> Result<()> {
    match made == written.rows {
        true => Ok(()),
        false => Err(Error::Internal {
            reason: format!(
                "{made} rows were made and {} written; nothing was committed",
                written.rows
            ),
        }),
    }
}

/// Commits what was written, or fails when somebody else was faster.
pub(crate) fn commit(
    context: &TierContext,
    mut lake: Lake,
    written: Written,
    round: Round,
) -> Result<(Lake, Progress)> {
    let (lake, outcome) = context.executor.run(async move {
        let outcome = lake.commit(written, &round).await;
        (lake, outcome)
    })?;
    match outcome? {
        Outcome::Committed(progress) => {
            context.writers.committed();
            Ok((lake, progress))
        }
        // This process holds the store's lock, so only a copy of the store can have been faster.
        Outcome::AlreadyCommitted(progress) => Err(Error::Fenced {
            uri: lake.uri().to_owned(),
            reason: format!(
                "another engine committed this table's rows up to offset {}; give a copy of a store a bucket of its own",
                progress.to
            ),
        }),
    }
}

/// Transforms, as a commit records them.
pub(crate) fn records_of(transforms: &[PinnedTransform]) -> Vec<TransformRecord> {
    let record = |pinned: &PinnedTransform| TransformRecord {
        name: pinned.spec.name.clone(),
        plugin: pinned.spec.plugin.clone(),
        version: pinned.plugin_version.clone(),
        sha256: pinned.plugin_sha256.clone(),
    };
    transforms.iter().map(record).collect()
}
