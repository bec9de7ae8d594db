//! What a tierer does for dead letters, between its rounds.

use std::time::Instant;

use super::{Open, Tierer, backoff};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::tier::context::TierContext;

impl Tierer {
    /// Settles the dead letters of rounds that are in the lake. What keeps them from it is told, and keeps no round.
    pub(super) fn settle_dead_letters(&self, open: &mut Open) {
        let waits = |at| Instant::now() < at;
        if self.state.lock().settle_at.is_some_and(waits) {
            return;
        }
        let settled = open.dead.settle(&self.context, &open.progress);
        let mut state = self.state.lock();
        match settled {
            Ok(()) => {
                state.settle_at = None;
                state.settle_failures = 0;
                state.report.dead_letters_to = open.progress.to;
                state.report.dead_letters_error = None;
            }
            Err(error) => {
                tracing::warn!(%error, "dead letters are not settled; their log keeps them");
                state.settle_failures += 1;
                state.settle_at = Some(Instant::now() + backoff(state.settle_failures));
                state.report.dead_letters_error = Some(error.to_string());
            }
        }
    }

    /// Does something to the lake and the dead letters while no round runs.
    pub(crate) fn with_dead_letters<T>(
        &self,
        raw: &Log,
        work: impl FnOnce(&TierContext, Open) -> Result<(Open, T)>,
    ) -> Result<T> {
        let mut slot = self.open.lock();
        if self.is_closed() {
            return Err(Error::Unavailable {
                action: "change dead letters",
                state: "closed",
            });
        }
        let open = match slot.take() {
            Some(open) => open,
            None => self.open(raw)?,
        };
        // After a failure the lake tells anew what is true, and what was begun is brought to its end.
        self.state.lock().settle_at = Some(Instant::now());
        let (mut open, done) = work(&self.context, open)?;
        self.settle_dead_letters(&mut open);
        self.note(&open);
        *slot = Some(open);
        Ok(done)
    }
}
