//! Durability: grouped `fdatasync`, the thread that syncs at intervals and seals full segments.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::append::{Log, Shared};
use super::block::SegmentFooter;
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::log::Durability;

impl Shared {
    /// Returns once everything below `offset` survives power loss.
    ///
    /// One caller syncs for all who wait: those behind it find their offsets durable already. A failed
    /// `fdatasync` poisons the log, as the kernel may have dropped the pages that it could not write.
    pub(crate) fn sync_through(&self, offset: u64) -> Result<()> {
        if self.durable() >= offset {
            return Ok(());
        }
        let _leader = self.syncing.lock();
        let durable = self.durable();
        if durable >= offset {
            return Ok(());
        }
        self.check_poison()?;
        let committed = self.committed();
        for segment in self.segments_between(durable, committed) {
            self.poisoned(segment.sync())?;
        }
        self.durable.store(committed, Ordering::Release);
        Ok(())
    }

    fn segments_between(&self, from: u64, to: u64) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        let first = segments.partition_point(|s| s.header.base_offset <= from);
        segments
            .iter()
            .skip(first.saturating_sub(1))
            .take_while(|s| s.header.base_offset < to)
            .cloned()
            .collect()
    }
}

impl Log {
    /// Returns once everything below `offset` survives power loss.
    pub(crate) fn sync_through(&self, offset: u64) -> Result<()> {
        self.shared.sync_through(offset)
    }
}

/// The log's background thread; started when there is something for it to do.
#[derive(Debug)]
pub(crate) struct Syncer {
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Work {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    full: Vec<(Arc<Segment>, SegmentFooter)>,
    stop: bool,
}

impl Syncer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let syncer = Self {
            work: Arc::new(Work {
                shared,
                queue: Mutex::default(),
                wake: Condvar::new(),
            }),
            thread: Mutex::default(),
        };
        if let Durability::Interval(_) = syncer.work.shared.options.durability {
            syncer.start();
        }
        syncer
    }

    fn start(&self) {
        let mut thread = self.thread.lock();
        if thread.is_some() {
            return;
        }
        let work = Arc::clone(&self.work);
        let spawned = std::thread::Builder::new()
            .name("alluvium-sync".to_owned())
            .spawn(move || work.run());
        match spawned {
            Ok(handle) => *thread = Some(handle),
            // Without the thread nothing is sealed or synced at intervals: promise nothing more.
            Err(source) => {
                let directory = &self.work.shared.options.directory;
                let error = Error::io("start the syncing thread of", directory)(source);
                let _ = self.work.shared.poisoned::<()>(Err(error));
            }
        }
    }

    /// Leaves a full segment to be made durable and sealed.
    pub(crate) fn seal(&self, segment: Arc<Segment>, footer: SegmentFooter) {
        self.work.queue.lock().full.push((segment, footer));
        self.work.wake.notify_one();
        self.start();
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
                .try_for_each(|(s, footer)| self.seal(&s, footer));
            let synced = sealed.and_then(|()| match self.shared.options.durability {
                Durability::Interval(_) => self.shared.sync_through(self.shared.committed()),
                _ => Ok(()),
            });
            if stop || synced.is_err() {
                return;
            }
        }
    }

    fn wait(&self) -> (Vec<(Arc<Segment>, SegmentFooter)>, bool) {
        let mut queue = self.queue.lock();
        if queue.full.is_empty() && !queue.stop {
            match self.shared.options.durability {
                Durability::Interval(interval) => {
                    self.wake.wait_for(&mut queue, interval);
                }
                _ => self.wake.wait(&mut queue),
            }
        }
        (std::mem::take(&mut queue.full), queue.stop)
    }

    fn seal(&self, segment: &Segment, footer: SegmentFooter) -> Result<()> {
        if segment.footer().is_some() || segment.is_released() {
            return Ok(());
        }
        self.shared.sync_through(footer.end_offset)?;
        self.shared.poisoned(segment.seal(footer))
    }
}
