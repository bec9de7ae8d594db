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
use crate::tier::lake::Found;

const FILE_NAME: &str = "writers.json";
/// Once a writer's commit is in the lake, those before it count only where the lake is taken back to an earlier version.
const KEPT: usize = 100;
/// Those that do not seem to have committed, of which a disk that was full may have kept it from being noted.
const KEPT_IN_DOUBT: usize = 200;

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
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub(crate) fn begin(&self, log_end: u64) -> Result<()> {
        let mut before = read_json::<Kept>(&self.path)?.unwrap_or(Kept {
            anybody_until: log_end,
            writers: Vec::new(),
        });
        let mut kept = before.clone();
        kept.forget_those_in_doubt();
        if let Some(last) = kept.writers.last_mut() {
            last.until.get_or_insert(log_end);
        }
        let id = Uuid::new_v4();
        kept.writers.push(Writer {
            id,
            until: None,
            has_committed: false,
        });
        let Err(error) = self.replace(kept.clone()) else {
            return Ok(());
        };
        tracing::warn!(%error, "no new writer can be noted; the last one goes on");
        // It may have failed with the file in its place.
        let is_there = read_json::<Kept>(&self.path)?.is_some_and(|there| there.has(id));
        *self.kept.lock() = match before.writers.last_mut() {
            Some(last) if !is_there => {
                last.until = Some(log_end);
                before
            }
            // Without a file what is committed now is anybody's when one is begun.
            _ => kept,
        };
        Ok(())
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
        if !last.has_committed || last.until.is_some() {
            (last.has_committed, last.until) = (true, None);
            self.replace_if_possible(kept);
        }
        Ok(id)
    }

    /// The lake has a commit of the writer that is open.
    pub(crate) fn committed(&self) {
        let mut kept = self.kept.lock().clone();
        let surplus = kept.writers.len().saturating_sub(KEPT);
        if surplus > 0 {
            let gone = kept.writers.drain(..surplus);
            let until = gone.filter_map(|writer| writer.until).max();
            // Should the lake be taken back so far that it is one of theirs.
            kept.anybody_until = kept.anybody_until.max(until.unwrap_or(0));
            self.replace_if_possible(kept);
        }
    }

    /// Fails with [`Error::Fenced`] unless what a lake says of the table is about this log's rows. Where no writer is open in
    /// this process the file tells, if there is one.
    pub(crate) fn check(&self, uri: &str, found: &Found) -> Result<()> {
        let open = self.kept.lock().clone();
        let kept = match open.writers.is_empty() {
            true => read_json::<Kept>(&self.path)?,
            false => Some(open),
        };
        let known = kept.map_or(Ok(()), |kept| kept.check(found));
        known.map_err(|reason| Error::Fenced {
            uri: uri.to_owned(),
            reason,
        })
    }

    fn replace_if_possible(&self, kept: Kept) {
        if let Err(error) = self.replace(kept.clone()) {
            tracing::warn!(%error, "what a writer does cannot be noted");
            *self.kept.lock() = kept;
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
    /// Whether what a lake says of the table is about this log's rows; otherwise the reason why it is not.
    fn check(&self, found: &Found) -> std::result::Result<(), String> {
        let to = found.progress.to;
        if to <= self.anybody_until {
            return Ok(());
        }
        let known = |id| self.writers.iter().find(|writer| writer.id == id);
        let until = match found.writer {
            // Somebody else cleaned up the history, or an Alluvium of before there were writers has committed.
            None if self.may_have(to, found.transaction.is_some()) => return Ok(()),
            None if self.writers.iter().any(|writer| writer.has_committed) => self.last_end(),
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

    fn has(&self, id: Uuid) -> bool {
        self.writers.iter().any(|writer| writer.id == id)
    }

    /// Where the log ended when the last writer but one had its turn.
    fn last_end(&self) -> Option<u64> {
        self.writers.iter().filter_map(|writer| writer.until).max()
    }

    /// Whether one of them may have committed up to an offset, or for a commit in the table's name an Alluvium that noted none.
    fn may_have(&self, to: u64, is_in_its_name: bool) -> bool {
        let own =
            |writer: &Writer| writer.has_committed && writer.until.is_none_or(|end| to <= end);
        self.writers.iter().any(own) || is_in_its_name && self.last_end() >= Some(to)
    }

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
    use crate::tier::lake::Progress;

    /// The lake's word: a commit up to an offset, by a writer or by somebody unknown.
    fn found(writer: Option<Uuid>, to: u64) -> Found {
        Found {
            progress: Progress::beginning_at(to),
            writer,
            ..Found::default()
        }
    }

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
        assert!(second.check("lake", &found(Some(first), 100)).is_ok());
        assert!(second.check("lake", &found(Some(first), 101)).is_err());
        // Also when it is opened again, with more in the log.
        let third = opened(dir.path(), 200);
        assert!(third.check("lake", &found(Some(first), 100)).is_ok());
        assert!(third.check("lake", &found(Some(first), 101)).is_err());
        let own = third.commit_as().unwrap();
        assert!(third.check("lake", &found(Some(own), 5000)).is_ok());
    }

    #[test]
    fn a_stranger_is_believed_only_about_what_was_there_before_writers_were_kept() {
        let dir = tempfile::tempdir().unwrap();
        let writers = opened(dir.path(), 10);
        let stranger = Some(Uuid::new_v4());
        assert!(writers.check("lake", &found(stranger, 10)).is_ok());
        assert!(writers.check("lake", &found(None, 10)).is_ok());
        assert!(writers.check("lake", &found(stranger, 11)).is_err());
        assert!(writers.check("lake", &found(None, 11)).is_err());
        let _ = writers.commit_as().unwrap();
        assert!(writers.check("lake", &found(None, 11)).is_ok());
        assert!(writers.check("lake", &found(stranger, 11)).is_err());
    }

    #[test]
    fn a_store_that_is_opened_over_and_over_keeps_no_more_writers() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path(), 0).commit_as().unwrap();
        for log_end in 100..100 + 2 * KEPT_IN_DOUBT as u64 {
            let writers = opened(dir.path(), log_end);
            assert!(writers.kept.lock().writers.len() <= KEPT_IN_DOUBT + 3);
            assert!(writers.check("lake", &found(Some(first), 101)).is_err());
            assert!(writers.check("lake", &found(Some(first), 100)).is_ok());
        }
    }

    #[test]
    fn without_a_history_a_backup_is_not_taken_for_what_it_was_made_of() {
        let dir = tempfile::tempdir().unwrap();
        let _ = opened(dir.path(), 0).commit_as().unwrap();
        let backup = opened(dir.path(), 10);
        assert!(backup.check("lake", &found(None, 10)).is_ok());
        assert!(backup.check("lake", &found(None, 20)).is_err());
        let _ = backup.commit_as().unwrap();
        assert!(backup.check("lake", &found(None, 20)).is_ok());
    }

    #[test]
    fn commits_of_an_alluvium_without_writers_are_believed_up_to_where_the_log_ended_then() {
        let dir = tempfile::tempdir().unwrap();
        let _ = opened(dir.path(), 10);
        let again = opened(dir.path(), 100);
        let by_name = |to| Found {
            transaction: Some("t".to_owned()),
            ..found(None, to)
        };
        assert!(again.check("lake", &by_name(100)).is_ok());
        assert!(again.check("lake", &by_name(101)).is_err());
        assert!(again.check("lake", &found(None, 100)).is_err());
    }

    #[test]
    fn a_lake_taken_back_to_a_writer_of_long_ago_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path(), 0).commit_as().unwrap();
        for log_end in 1..KEPT as u64 + 10 {
            let writers = opened(dir.path(), log_end);
            let _ = writers.commit_as().unwrap();
            writers.committed();
            assert!(writers.kept.lock().writers.len() <= KEPT);
            assert!(writers.check("lake", &found(Some(first), 1)).is_ok());
        }
    }

    #[test]
    fn where_no_writer_can_be_noted_the_last_one_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path(), 0).commit_as().unwrap();
        // What a file is written to before it gets its name.
        std::fs::create_dir(dir.path().join("writers.tmp")).unwrap();
        let writers = opened(dir.path(), 10);
        assert!(writers.check("lake", &found(Some(first), 10)).is_ok());
        assert!(writers.check("lake", &found(Some(first), 11)).is_err());
        assert_eq!(writers.commit_as().unwrap(), first);
        assert!(writers.check("lake", &found(Some(first), 11)).is_ok());
    }
}
