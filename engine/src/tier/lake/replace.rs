//! Rows that give way to others, in one commit.

use std::sync::Arc;

use lance::dataset::DeleteBuilder;
use lance::dataset::transaction::{Operation, Transaction, TransactionBuilder, UpdateMode};

use super::round::{ATTEMPTS, Published, is_conflict, pause};
use super::{Lake, Round, Written};
use crate::{Error, Result};

impl Lake {
    /// Takes the rows that match a filter out and lets written ones in, in one commit. The round says whose progress it is
    /// and leaves that as it is. On a local lake it survives power loss once this returned.
    ///
    /// On an error it is not known whether it was committed; the same filter may be given again.
    pub(crate) async fn replace(
        &mut self,
        filter: &str,
        written: &Written,
        round: &Round,
    ) -> Result<()> {
        let mut conflict = None;
        for attempt in 0..ATTEMPTS {
            self.refresh().await?;
            let found = self.progress(round.table_id, round.bucket).await?;
            if found != round.after {
                return Err(Error::Fenced {
                    uri: self.uri().to_owned(),
                    reason: format!(
                        "it has this table up to offset {}, and had it up to {} before: another engine may be tiering a copy of this store; give it a bucket of its own",
                        found.to, round.after.to
                    ),
                });
            }
            let transaction = self.replacement(filter, written, round).await?;
            match self.publish(&transaction).await {
                Ok(Published::Newest) => return Ok(()),
                Ok(Published::Before) => {
                    return self.after_landing(round, &transaction).await.map(drop);
                }
                Err(error) if is_conflict(&error) => conflict = Some(error),
                Err(error) => return Err(self.error("commit to")(error)),
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(self.out_of_attempts(conflict))
    }

    /// The transaction that replaces rows of the version that this handle reads.
    async fn replacement(
        &self,
        filter: &str,
        written: &Written,
        round: &Round,
    ) -> Result<Transaction> {
        let deleted = DeleteBuilder::new(Arc::new(self.dataset.clone()), filter)
            .execute_uncommitted()
            .await
            .map_err(self.error("delete rows of"))?;
        let Operation::Delete {
            updated_fragments,
            deleted_fragment_ids,
            ..
        } = deleted.transaction.operation
        else {
            return Err(self.error("delete rows of")(lance::Error::internal(
                "a delete became another operation",
            )));
        };
        let operation = Operation::Update {
            removed_fragment_ids: deleted_fragment_ids,
            updated_fragments,
            new_fragments: written.fragments().to_vec(),
            fields_modified: Vec::new(),
            compacted_sstables: Vec::new(),
            fields_for_preserving_frag_bitmap: Vec::new(),
            update_mode: Some(UpdateMode::RewriteRows),
            inserted_rows_filter: None,
            updated_fragment_offsets: None,
        };
        Ok(TransactionBuilder::new(self.version(), operation)
            .transaction_properties(Some(Arc::new(round.properties())))
            .build())
    }
}
