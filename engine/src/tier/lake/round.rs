//! One round: what was [written](super::write) beside the dataset is committed once, or not at all.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lance::dataset::CommitBuilder;
use lance::dataset::transaction::{Operation, Transaction};
use lance_table::format::Fragment;

use super::Lake;
use super::only::OnlyAt;
use super::progress::{Found, Progress, Round};
use super::write::Written;
use crate::crash::crash_point;
use crate::{Error, Result};

/// How often a commit is tried again when other writers were faster.
pub(super) const ATTEMPTS: u32 = 30;

/// How a round ended. Either way its offsets are in the lake, exactly once, and on a local lake that survives power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This round's rows are in the lake.
    Committed(Progress),
    /// The offsets had been committed before; this round's rows were thrown away.
    AlreadyCommitted(Progress),
}

/// What a commit has become once its version is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// It is the newest version.
    Newest,
    /// There are newer ones, and they need not have come from it: who took longer than versions are kept may have been
    /// given the name of one that was removed.
    Before,
}

/// Where the lake stands, seen from a round that wants in.
enum Standing {
    Open,
    Ours(Progress),
    Theirs(Progress),
}

impl Lake {
    /// Deletes what was written for a commit that so many attempts met conflicts, unless one may have been with itself: the
    /// client of an object store that lost a reply and asked again finds its own commit in its way, and once the version of
    /// that is cleaned up nobody can tell. Files that stay, or can't be deleted, are garbage for the lake's cleanup if no
    /// version names them.
    pub(super) async fn discard_after(&self, attempts: u32, fragments: &[Fragment]) {
        let is_conflict_certain = self.place.root.is_some();
        if attempts == 0 || is_conflict_certain {
            self.discard_fragments(fragments).await;
        }
    }

    /// Commits a round, or finds that its offsets are there already. Exactly once: a commit only ever follows directly on
    /// a version up to which the whole history was searched for the round, so of two writers of one round one loses.
    ///
    /// On an error nothing was committed, unless the lake could not be asked any more; the data files are left then, and
    /// [`Lake::progress`] tells once the lake is back.
    pub(crate) async fn commit(&mut self, written: Written, round: &Round) -> Result<Outcome> {
        let mut transaction = written.transaction(round);
        let mut conflict = None;
        for attempt in 0..ATTEMPTS {
            self.retries += u64::from(attempt > 0);
            self.refresh().await?;
            // The version that the rows were written at may be gone; up to this one the whole history is searched below.
            transaction.read_version = self.version();
            match self.standing(round, &transaction.uuid).await {
                Ok(Standing::Open) => {}
                Ok(Standing::Ours(progress)) => return Ok(Outcome::Committed(progress)),
                Ok(Standing::Theirs(progress)) => {
                    self.discard_after(attempt, written.fragments()).await;
                    return Ok(Outcome::AlreadyCommitted(progress));
                }
                Err(error @ (Error::Fenced { .. } | Error::LakeMismatch { .. })) => {
                    self.discard_after(attempt, written.fragments()).await;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
            match self.publish(&transaction).await {
                Ok(Published::Newest) => return Ok(Outcome::Committed(round.after)),
                Ok(Published::Before) => return self.after_landing(round, &transaction).await,
                Err(error) if is_conflict(&error) => conflict = Some(error),
                Err(error) => return self.after_failure(error, round, &transaction).await,
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        self.discard_after(ATTEMPTS, written.fragments()).await;
        Err(self.out_of_attempts(conflict))
    }

    /// What is told when other writers were faster each time.
    pub(super) fn out_of_attempts(&self, conflict: Option<lance::Error>) -> Error {
        let error = conflict.unwrap_or_else(|| lance::Error::internal("no attempt was made"));
        self.error("commit to")(error)
    }

    /// Commits on top of the version that this handle reads, and on no other; reads the newest version then.
    pub(super) async fn publish(
        &mut self,
        transaction: &Transaction,
    ) -> Result<Published, lance::Error> {
        crash_point("commit: begins");
        if self.is_of_other_columns(transaction) {
            return Err(lance::Error::invalid_input(
                "a column was cast or dropped while rows were written for it; they have to be written once more",
            ));
        }
        let next = self.version() + 1;
        let only_next = Arc::new(OnlyAt::new(next, self.handler.clone()));
        let committed = CommitBuilder::new(Arc::new(self.dataset.clone()))
            .with_commit_handler(only_next.clone())
            .with_max_retries(1)
            .with_skip_auto_cleanup(true)
            .execute(transaction.clone())
            .await;
        crash_point("commit: ended");
        match committed {
            // The handle that comes back commits through `only_next`: it is not kept.
            Ok(_) => {
                self.dataset.checkout_latest().await?;
                Ok(match self.version() == next {
                    true => Published::Newest,
                    false => Published::Before,
                })
            }
            Err(_) if only_next.tripped() => Err(lance::Error::commit_conflict_source(
                next,
                "another writer was faster".into(),
            )),
            Err(error) => Err(error),
        }
    }

    /// Whether rows were written with columns that the lake has no more. Lance would let them in, those columns being null.
    fn is_of_other_columns(&self, transaction: &Transaction) -> bool {
        let fragments = match &transaction.operation {
            Operation::Append { fragments } => fragments,
            Operation::Update { new_fragments, .. } => new_fragments,
            _ => return false,
        };
        let known: HashSet<i32> = self.dataset.schema().field_ids().into_iter().collect();
        let mut files = fragments.iter().flat_map(|fragment| &fragment.files);
        files.any(|file| file.fields.iter().any(|id| *id >= 0 && !known.contains(id)))
    }

    /// A commit failed, or its reply was lost: only the lake can tell which. If it cannot, or the offsets are there and not
    /// known to be ours, the files stay: the request may have landed, or land yet.
    pub(super) async fn after_failure(
        &mut self,
        error: lance::Error,
        round: &Round,
        transaction: &Transaction,
    ) -> Result<Outcome> {
        let failure = self.error("commit to")(error);
        if self.refresh().await.is_err() {
            return Err(failure);
        }
        match self.standing(round, &transaction.uuid).await {
            Ok(Standing::Ours(progress)) => Ok(Outcome::Committed(progress)),
            _ => Err(failure),
        }
    }

    /// A commit landed, and the newest version is another. It counts if that knows of it; it does not when it took so long that
    /// others had committed its version and removed it again.
    pub(super) async fn after_landing(
        &self,
        round: &Round,
        transaction: &Transaction,
    ) -> Result<Outcome> {
        if let Standing::Ours(progress) = self.standing(round, &transaction.uuid).await? {
            return Ok(Outcome::Committed(progress));
        }
        // The files stay: the version that names them is removed with them.
        let reason = "others committed meanwhile, and removed the version again that this commit then got: no newer version knows of it; it is made anew";
        let conflict = lance::Error::commit_conflict_source(self.version(), reason.into());
        Err(self.error("commit to")(conflict))
    }

    async fn standing(&self, round: &Round, transaction: &str) -> Result<Standing> {
        let Found {
            progress,
            transaction: by,
            ..
        } = self.find(round.table_id, round.bucket).await?;
        if by.as_deref() == Some(transaction) {
            return Ok(Standing::Ours(progress));
        }
        let is_open = match round.amends {
            Some(before) => progress == before,
            None => progress.to == round.from,
        };
        if is_open {
            return Ok(Standing::Open);
        }
        if round.from < round.after.to && round.after.to <= progress.to {
            return Ok(Standing::Theirs(progress));
        }
        Err(Error::Fenced {
            uri: self.uri().to_owned(),
            reason: format!(
                "bucket {} of table {} is there up to offset {}, and this round has offsets {} to {}: another engine may be \
                 tiering a copy of this store (give it a bucket of its own), or the lake was rolled back",
                round.bucket, round.table_id, progress.to, round.from, round.after.to
            ),
        })
    }
}

pub(super) fn is_conflict(error: &lance::Error) -> bool {
    use lance::Error as E;
    matches!(
        error,
        E::CommitConflict { .. }
            | E::RetryableCommitConflict { .. }
            | E::TooMuchWriteContention { .. }
    )
}

/// Longer with each attempt, and not the same for any two writers.
pub(super) fn pause(attempt: u32) -> Duration {
    let jitter = uuid::Uuid::new_v4().as_u128() as u64 % 1000;
    let most = 10_u64 << attempt.min(7);
    Duration::from_millis(most * jitter / 1000)
}
