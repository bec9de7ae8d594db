//! Durability: one `fdatasync` for all who wait, and those who wait without a thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::append::{Log, Shared};
use super::segment::Segment;
use crate::error::Result;

/// The first of a group waits for the rest of it as long as the last `fdatasync` took, which is what those who come too
/// late must wait longer; but never longer than this.
const LINGER_MAX: Duration = Duration::from_millis(1);

/// Those who wait for durability.
#[derive(Debug, Default)]
pub(crate) struct Syncing {
    group: Mutex<Group>,
    wakers: Mutex<Vec<(u64, Waker)>>,
}

#[derive(Debug, Default)]
struct Group {
    is_syncing: bool,
    /// Who waits. Each sleeps by itself: a condition variable would wake one after the other, as each takes the lock.
    parked: Vec<Thread>,
    /// Counts how often they were woken.
    round: u64,
    /// How many waited when the last `fdatasync` ended, the leader among them, and how long it took.
    last_size: usize,
    last_took: Duration,
}

impl Group {
    /// Whether no more callers need to be waited for, `me` and those who are parked being there.
    fn is_complete(&self) -> bool {
        self.parked.len() + 1 >= self.last_size
    }

    fn linger(&self) -> Duration {
        self.last_took.min(LINGER_MAX)
    }
}

impl Shared {
    /// Returns once everything below `offset`, which is committed, survives power loss.
    ///
    /// One caller, the leader, syncs for all who wait. When there were several the last time, those who come first
    /// give the others a moment to come back, as they do when producers append in step: else they would split into
    /// two groups that take turns. Whoever completes the group leads it, being awake; or else, when the moment is
    /// over, whoever came first. A failed `fdatasync` poisons the log, as the kernel may have dropped the pages that
    /// it could not write.
    pub(crate) fn sync_through(&self, offset: u64) -> Result<()> {
        loop {
            if self.durable() >= offset || self.check_poison().is_err() {
                return self.check_poison_below(offset);
            }
            let mut group = self.syncing.group.lock();
            if !group.is_syncing && group.is_complete() {
                return self.lead(group);
            }
            let is_first = !group.is_syncing && group.parked.is_empty();
            let (round, deadline) = (group.round, Instant::now() + group.linger());
            group.parked.push(thread::current());
            drop(group);
            if let Some(group) = self.wait_for_leader(round, is_first.then_some(deadline)) {
                return self.lead(group);
            }
        }
    }

    /// Sleeps until the group of that round was synced. If there is a deadline and nobody leads the group by then, it
    /// is given to the caller to lead.
    fn wait_for_leader(
        &self,
        round: u64,
        mut deadline: Option<Instant>,
    ) -> Option<MutexGuard<'_, Group>> {
        loop {
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
                }
            }
            let mut group = self.syncing.group.lock();
            if group.round != round {
                return None;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                if !group.is_syncing {
                    let me = thread::current().id();
                    group.parked.retain(|thread| thread.id() != me);
                    return Some(group);
                }
                deadline = None;
            }
        }
    }

    /// Syncs what is committed, which the caller waits for, for all who wait.
    fn lead(&self, mut group: MutexGuard<'_, Group>) -> Result<()> {
        group.is_syncing = true;
        drop(group);
        let started = Instant::now();
        let synced = self.sync_committed();
        let mut group = self.syncing.group.lock();
        group.is_syncing = false;
        // Those who came meanwhile too: they would be the other half of two groups that take turns.
        group.last_size = group.parked.len() + 1;
        group.last_took = started.elapsed();
        wake(group);
        synced
    }

    /// Durable already, or the log's failure.
    fn check_poison_below(&self, offset: u64) -> Result<()> {
        match self.durable() >= offset {
            true => Ok(()),
            false => self.check_poison(),
        }
    }

    /// Syncs the segments of what is committed, and notes how far that is.
    fn sync_committed(&self) -> Result<()> {
        self.check_poison()?;
        let committed = self.committed();
        for segment in self.segments_between(self.durable(), committed) {
            self.sync_segment(&segment)?;
        }
        self.durable.fetch_max(committed, Ordering::AcqRel);
        self.wake_durable();
        Ok(())
    }

    /// One `fdatasync`. A failure poisons the log.
    pub(crate) fn sync_segment(&self, segment: &Segment) -> Result<()> {
        #[cfg(test)]
        if self.options.has(super::tests::Planted::SkipSync) {
            return Ok(());
        }
        let started = Instant::now();
        self.poisoned(segment.sync())?;
        self.options.metrics.synced(started.elapsed());
        Ok(())
    }

    fn segments_between(&self, from: u64, to: u64) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        let first = segments.partition_point(|s| s.base_offset <= from);
        segments
            .iter()
            .skip(first.saturating_sub(1))
            .take_while(|s| s.base_offset < to)
            .cloned()
            .collect()
    }

    /// Wakes the futures whose offsets are durable; all of them when the log is poisoned.
    pub(crate) fn wake_durable(&self) {
        let durable = match self.check_poison() {
            Ok(()) => self.durable(),
            Err(_) => u64::MAX,
        };
        let mut wakers = self.syncing.wakers.lock();
        let ready: Vec<_> = wakers
            .extract_if(.., |(offset, _)| *offset <= durable)
            .collect();
        // An executor may poll when it is woken, and a poll takes the lock.
        drop(wakers);
        ready.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Whether a future waits for durability.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.syncing.wakers.lock().is_empty()
    }

    /// Wakes everyone who waits for something of this log, as it was poisoned.
    pub(crate) fn wake_all(&self) {
        self.in_flight.wake();
        wake(self.syncing.group.lock());
        self.wake_durable();
    }
}

/// Lets those who wait look again.
fn wake(mut group: MutexGuard<'_, Group>) {
    group.round += 1;
    let parked = std::mem::take(&mut group.parked);
    drop(group);
    parked.iter().for_each(Thread::unpark);
}

impl Log {
    /// Returns once everything below `offset`, which is committed, survives power loss.
    pub(crate) fn sync_through(&self, offset: u64) -> Result<()> {
        self.shared.sync_through(offset)
    }

    /// As [`Log::sync_through`], without blocking a thread: the log's background thread syncs.
    pub(crate) fn durable_through(&self, offset: u64) -> Durable<'_> {
        Durable { log: self, offset }
    }
}

/// Ready once everything below an offset survives power loss.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub(crate) struct Durable<'a> {
    log: &'a Log,
    offset: u64,
}

impl Future for Durable<'_> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &self.log.shared;
        let done = || {
            let is_done = shared.durable() >= self.offset || shared.check_poison().is_err();
            is_done.then(|| Poll::Ready(shared.check_poison_below(self.offset)))
        };
        if let Some(ready) = done() {
            return ready;
        }
        let waker = (self.offset, context.waker().clone());
        shared.syncing.wakers.lock().push(waker);
        // What became durable between the look and the registration woke nobody.
        if let Some(ready) = done() {
            return ready;
        }
        match self.log.keeper.as_ref() {
            Some(keeper) => keeper.sync_soon(),
            None => return Poll::Ready(shared.sync_through(self.offset)),
        }
        Poll::Pending
    }
}
