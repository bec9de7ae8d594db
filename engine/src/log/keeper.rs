//! The keeper: the log's background thread, which syncs at intervals and when a future waits, and seals full segments.

use std::sync::Arc;

use super::append::Shared;
use super::block::SegmentFooter;
use super::concurrency::thread::{self, JoinHandle};
use super::concurrency::{Condvar, Mutex};
use super::options::Durability;
use super::segment::Segment;
use crate::error::{Error, Result};

/// The log's background thread; started when there is something for it to do.
#[derive(Debug)]
pub(crate) struct Keeper {
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Work {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    wake: Condvar,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    is_busy: bool,
    full: Vec<(Arc<Segment>, SegmentFooter)>,
    is_sync_wanted: bool,
    stop: bool,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let keeper = Self {
            work: Arc::new(Work {
                shared,
                queue: Mutex::default(),
                wake: Condvar::new(),
                idle: Condvar::new(),
            }),
            thread: Mutex::default(),
        };
        if let Durability::Interval(_) = keeper.work.shared.options.durability {
            keeper.start();
        }
        keeper
    }

    fn start(&self) {
        let mut thread = self.thread.lock();
        if thread.is_some() {
            return;
        }
        let work = Arc::clone(&self.work);
        let spawned = thread::Builder::new()
            .name("alluvium-sync".to_owned())
            .spawn(move || work.run());
        match spawned {
            Ok(handle) => *thread = Some(handle),
            // Without the thread nothing is sealed or synced at intervals: promise nothing more.
            Err(source) => {
                let directory = &self.work.shared.options.directory;
                let error = Error::io("start the syncing thread of", directory)(source);
                let _ = self.work.shared.poisoned::<()>(Err(error));
                self.work.idle.notify_all();
            }
        }
    }

    /// Leaves a full segment to be made durable and sealed.
    pub(crate) fn seal(&self, segment: Arc<Segment>, footer: SegmentFooter) {
        self.work.queue.lock().full.push((segment, footer));
        self.work.wake.notify_one();
        self.start();
    }

    /// Syncs without waiting for the interval.
    pub(crate) fn sync_soon(&self) {
        self.work.queue.lock().is_sync_wanted = true;
        self.work.wake.notify_one();
        self.start();
    }

    /// Waits until the full segments are sealed, or the log is poisoned.
    pub(crate) fn settle(&self) {
        let mut queue = self.work.queue.lock();
        while (queue.is_busy || !queue.full.is_empty()) && self.work.shared.check_poison().is_ok() {
            self.work.idle.wait(&mut queue);
        }
    }

    /// Seals what is left and ends the thread.
    pub(crate) fn stop(&self) {
        self.work.queue.lock().stop = true;
        self.work.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log's syncing thread panicked");
        }
    }
}

impl Work {
    fn run(&self) {
        loop {
            let (full, stop) = self.wait();
            // An error poisons the log, which is how the next append or wait learns of it.
            let sealed = full
                .into_iter()
                .try_for_each(|(s, footer)| self.seal(s, footer));
            let shared = &self.shared;
            let is_timed = matches!(shared.options.durability, Durability::Interval(_));
            let synced = sealed.and_then(|()| match is_timed || shared.is_awaited() {
                true => shared.sync_through(shared.committed()),
                false => Ok(()),
            });
            self.queue.lock().is_busy = false;
            self.idle.notify_all();
            if stop || synced.is_err() {
                return;
            }
        }
    }

    fn wait(&self) -> (Vec<(Arc<Segment>, SegmentFooter)>, bool) {
        let mut queue = self.queue.lock();
        if queue.full.is_empty() && !queue.is_sync_wanted && !queue.stop {
            match self.shared.options.durability {
                Durability::Interval(interval) => {
                    self.wake.wait_for(&mut queue, interval);
                }
                _ => self.wake.wait(&mut queue),
            }
        }
        queue.is_sync_wanted = false;
        queue.is_busy = !queue.full.is_empty();
        (std::mem::take(&mut queue.full), queue.stop)
    }

    fn seal(&self, segment: Arc<Segment>, footer: SegmentFooter) -> Result<()> {
        if segment.footer().is_some() || segment.is_released() {
            return Ok(());
        }
        let shared = &self.shared;
        shared.wait_committed(footer.end_offset)?;
        shared.sync_through(footer.end_offset)?;
        // A sealed segment may be released, so what the next one knows of producers must be durable before.
        let next = shared.segment_at(footer.end_offset);
        #[cfg(test)]
        let next = next.filter(|_| !shared.options.has(super::tests::Planted::SkipRollCallSync));
        if let Some(next) = next
            && !next.is_anchored()
        {
            shared.sync_segment(&next)?;
        }
        shared.poisoned(segment.seal(footer))
    }
}
