//! Who commits to the lake in a table's name: `writers.json` beside the table's file.
//!
//! Each opening of the store is a writer of its own, and its commits say which. The file keeps the writers that the table had,
//! and where its log ended when the next one began. A commit by anybody else was made from a copy of the store; one beyond that
//! end, by this store before an older copy took its place. Either way those offsets stand for other rows than the log's, and
//! nothing may be tiered behind them, nor leave the log.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::{read_json, replace_file};
use crate::error::{Error, Result};

const FILE_NAME: &str = "writers.json";
/// Once a writer's commit is in the lake, those before it count only where the lake is taken back to an earlier version.
const KEPT: usize = 100;
/// Those that do not seem to have committed, of which a disk that was full may have kept it from being noted.
const KEPT_IN_DOUBT: usize = 16;

/// The writers that a table had, kept durably.
#[derive(Debug)]
pub(crate) struct Writers {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// Commits up to here may be anybody's: the log's end when this began to be kept.
    anybody_until: u64,
    /// The last is the one that is open.
    writers: Vec<Writer>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Writer {
    id: Uuid,
    /// Where the log ended when the next one began; `None` for the last.
    until: Option<u64>,
    /// Whether it went to commit anything.
    has_committed: bool,
}

impl Writers {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE_NAME),
            kept: Mutex::default(),
        }
    }

    /// Begins a writer over a log that ends at `log_end`, before anything is appended to it. On a disk that is full the last
    /// one goes on, so that rounds can make room.
    pub(crate) fn begin(&self, log_end: u64) -> Result<()> {
        let before = read_json::<Kept>(&self.path)?.unwrap_or(Kept {
            anybody_until: log_end,
            writers: Vec::new(),
        });
        let mut kept = before.clone();
        kept.forget_those_in_doubt();
        if let Some(last) = kept.writers.last_mut() {
            last.until.get_or_insert(log_end);
        }
        kept.writers.push(Writer {
            id: Uuid::new_v4(),
            until: None,
            has_committed: false,
        });
        match self.replace(kept) {
            Err(error) if !before.writers.is_empty() => {
                tracing::warn!(%error, "no new writer can be noted; the last one goes on");
                *self.kept.lock() = before;
                Ok(())
            }
            replaced => replaced,
        }
    }

    /// Who a commit is to say that it is by. From now on there may be one.
    pub(crate) fn commit_as(&self) -> Result<Uuid> {
        let mut kept = self.kept.lock().clone();
        let Some(last) = kept.writers.last_mut() else {
            return Err(Error::Unavailable {
                action: "commit to the lake",
                state: "open read-only",
            });
        };
        let id = last.id;
        if !last.has_committed {
            last.has_committed = true;
            self.replace_if_possible(kept);
        }
        Ok(id)
    }

    /// The lake has a commit of the writer that is open.
    pub(crate) fn committed(&self) {
        let mut kept = self.kept.lock().clone();
        let surplus = kept.writers.len().saturating_sub(KEPT);
        if surplus > 0 {
            kept.writers.drain(..surplus);
            self.replace_if_possible(kept);
        }
    }

    /// Whether the lake's word that it has the rows up to an offset is about this log's rows. `writer` is who said so in the
    /// last commit, if it is known; otherwise the reason why it is not.
    pub(crate) fn check(&self, writer: Option<Uuid>, to: u64) -> std::result::Result<(), String> {
        let kept = self.kept.lock();
        if to <= kept.anybody_until {
            return Ok(());
        }
        let known = |id| kept.writers.iter().find(|writer| writer.id == id);
        let until = match writer {
            // Somebody else cleaned up the history.
            None if kept.writers.iter().any(|writer| writer.has_committed) => return Ok(()),
            None => {
                return Err(format!(
                    "it has rows of this table's bucket up to offset {to}, and this table never tiered any; another table has the \
                     bucket: create this one with another"
                ));
            }
            Some(id) => known(id).map(|writer| writer.until.unwrap_or(u64::MAX)),
        };
        match until {
            Some(until) if to <= until => Ok(()),
            until => {
                let ended = match until {
                    Some(until) => format!("this log ended at {until} then"),
                    None => "not from this store".to_owned(),
                };
                Err(format!(
                    "it was given this table's rows up to offset {to}, and {ended}: this store is a copy of one that tiers into the \
                     same lake, or a backup older than the lake; go on with the other one, or append to a table with another bucket"
                ))
            }
        }
    }

    fn replace_if_possible(&self, kept: Kept) {
        if let Err(error) = self.replace(kept) {
            tracing::warn!(%error, "what a writer does cannot be noted; it is tried again");
        }
    }

    fn replace(&self, kept: Kept) -> Result<()> {
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        replace_file(&self.path, &text)?;
        *self.kept.lock() = kept;
        Ok(())
    }
}

impl Kept {
    /// Of those that never committed only the newest are kept, however often a store is opened.
    fn forget_those_in_doubt(&mut self) {
        let in_doubt = self.writers.iter().filter(|writer| !writer.has_committed);
        let mut surplus = in_doubt.count().saturating_sub(KEPT_IN_DOUBT);
        self.writers.retain(|writer| {
            let goes = !writer.has_committed && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(directory: &Path, log_end: u64) -> Writers {
        let writers = Writers::new(directory);
        writers.begin(log_end).unwrap();
        writers
    }

    #[test]
    fn what_a_writer_of_before_committed_is_believed_up_to_where_the_log_ended_then() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path(), 0).commit_as().unwrap();
        let second = opened(dir.path(), 100);
        assert!(second.check(Some(first), 100).is_ok());
        assert!(second.check(Some(first), 101).is_err());
        // Also when it is opened again, with more in the log.
        let third = opened(dir.path(), 200);
        assert!(third.check(Some(first), 100).is_ok());
        assert!(third.check(Some(first), 101).is_err());
        let own = third.commit_as().unwrap();
        assert!(third.check(Some(own), 5000).is_ok());
    }

    #[test]
    fn a_stranger_is_believed_only_about_what_was_there_before_writers_were_kept() {
        let dir = tempfile::tempdir().unwrap();
        let writers = opened(dir.path(), 10);
        let stranger = Some(Uuid::new_v4());
        assert!(writers.check(stranger, 10).is_ok());
        assert!(writers.check(None, 10).is_ok());
        assert!(writers.check(stranger, 11).is_err());
        assert!(writers.check(None, 11).is_err());
        let _ = writers.commit_as().unwrap();
        assert!(writers.check(None, 11).is_ok());
        assert!(writers.check(stranger, 11).is_err());
    }

    #[test]
    fn a_store_that_is_opened_over_and_over_keeps_no_more_writers() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path(), 0).commit_as().unwrap();
        for log_end in 100..200 {
            let writers = opened(dir.path(), log_end);
            assert!(writers.kept.lock().writers.len() <= KEPT_IN_DOUBT + 3);
            assert!(writers.check(Some(first), 101).is_err());
            assert!(writers.check(Some(first), 100).is_ok());
        }
    }
}
