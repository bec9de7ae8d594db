//! The pool: spare segment files, made in the background, so that rolling never waits for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::options::{LogOptions, WhenFull};
use super::segment::Segment;
use super::spare::Spare;
use crate::error::{Error, Result};

/// The spares of a log, and the thread that makes one when the last was taken.
#[derive(Debug)]
pub(crate) struct Pool {
    shelf: Arc<Shelf>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held by who releases segments.
    releasing: Mutex<()>,
}

/// What the pool's callers and its thread share.
#[derive(Debug)]
struct Shelf {
    options: LogOptions,
    next_sequence: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    spares: Vec<Spare>,
    /// Bytes of all files of the log: segments and spares.
    bytes: u64,
    is_wanted: bool,
    /// Why the thread could not make a spare.
    failure: Option<Error>,
    /// Whether another file would exceed what the log may take.
    is_full: bool,
    stop: bool,
}

impl Pool {
    /// A pool of a log whose segments take that many bytes.
    pub(crate) fn new(options: LogOptions, next_sequence: u64, bytes: u64) -> Self {
        Self {
            shelf: Arc::new(Shelf {
                options,
                next_sequence: AtomicU64::new(next_sequence),
                state: Mutex::new(State {
                    bytes,
                    ..State::default()
                }),
                changed: Condvar::new(),
            }),
            thread: Mutex::default(),
            releasing: Mutex::default(),
        }
    }

    /// Lets nobody else release segments.
    pub(crate) fn releasing(&self) -> MutexGuard<'_, ()> {
        self.releasing.lock()
    }

    /// Whether the log may take one more file of that capacity.
    pub(crate) fn has_room(&self, capacity: u64) -> bool {
        self.shelf.has_room(&self.shelf.state.lock(), capacity)
    }

    /// A spare of at least that capacity, if there is one.
    pub(crate) fn take(&self, capacity: u64) -> Option<Spare> {
        let mut state = self.shelf.state.lock();
        let fits = state.spares.iter().position(|s| s.capacity() >= capacity)?;
        Some(state.spares.swap_remove(fits))
    }

    /// Gives back a spare that was not used.
    pub(crate) fn put(&self, spare: Spare) {
        self.shelf.state.lock().spares.push(spare);
    }

    /// Lets a spare be made in the background unless there is one.
    pub(crate) fn want(&self) {
        let mut state = self.shelf.state.lock();
        if state.spares.is_empty() && !state.is_wanted {
            state.is_wanted = true;
            self.shelf.changed.notify_all();
            drop(state);
            self.start();
        }
    }

    /// Waits until there is a spare of at least that capacity; `since` is when the caller began to.
    ///
    /// # Errors
    ///
    /// [`Error::LogFull`] when the log's limit leaves no room for as long as the caller may wait;
    /// [`Error::Io`] when the file could not be made.
    pub(crate) fn wait(&self, capacity: u64, since: Instant) -> Result<()> {
        let standard = self.shelf.options.segment_bytes;
        if capacity > standard {
            return self.wait_for_room(capacity, since);
        }
        self.want();
        let mut state = self.shelf.state.lock();
        loop {
            if !state.spares.is_empty() || state.stop {
                return Ok(());
            }
            if let Some(failure) = state.failure.take() {
                return Err(failure);
            }
            if state.is_full {
                self.shelf.wait_while_full(&mut state, standard, since)?;
            } else {
                state.is_wanted = true;
                self.shelf.changed.notify_all();
                self.shelf.changed.wait(&mut state);
            }
        }
    }

    /// Makes one file of a size of its own, on the caller's thread.
    fn wait_for_room(&self, capacity: u64, since: Instant) -> Result<()> {
        let mut state = self.shelf.state.lock();
        while !self.shelf.has_room(&state, capacity) {
            if state.stop {
                return Ok(());
            }
            self.shelf.wait_while_full(&mut state, capacity, since)?;
        }
        state.bytes += capacity;
        drop(state);
        let made = self.shelf.make(capacity);
        let mut state = self.shelf.state.lock();
        match made {
            Ok(spare) => state.spares.push(spare),
            Err(error) => {
                state.bytes -= capacity;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes in segments whose rows nobody needs any more: as spares, as many as may be kept, or removed.
    pub(crate) fn retire(&self, segment: Arc<Segment>) -> Result<()> {
        let (shelf, capacity) = (&self.shelf, segment.header.capacity);
        segment.mark_released();
        let may_keep = {
            let state = shelf.state.lock();
            let fits = capacity == shelf.options.segment_bytes;
            fits && state.spares.len() < shelf.options.recycled_segments && !state.stop
        };
        let recycled = match may_keep {
            true => Spare::recycle(segment, shelf.next_header(capacity))?,
            false => segment.remove().map(|()| None)?,
        };
        let metrics = &shelf.options.metrics;
        let mut state = shelf.state.lock();
        match recycled {
            Some(spare) => {
                metrics.segment_recycled();
                state.spares.push(spare);
            }
            None => {
                metrics.segment_removed();
                state.bytes = state.bytes.saturating_sub(capacity);
            }
        }
        state.is_full = false;
        shelf.changed.notify_all();
        Ok(())
    }

    /// Notes that a segment's file went without being retired.
    pub(crate) fn forget(&self, capacity: u64) {
        let mut state = self.shelf.state.lock();
        state.bytes = state.bytes.saturating_sub(capacity);
        state.is_full = false;
        self.shelf.changed.notify_all();
    }

    /// How many spares there are.
    pub(crate) fn spares(&self) -> usize {
        self.shelf.state.lock().spares.len()
    }

    fn start(&self) {
        let mut thread = self.thread.lock();
        if thread.is_some() {
            return;
        }
        let shelf = Arc::clone(&self.shelf);
        let spawned = std::thread::Builder::new()
            .name("alluvium-spare".to_owned())
            .spawn(move || shelf.run());
        match spawned {
            Ok(handle) => *thread = Some(handle),
            Err(source) => {
                let directory = &self.shelf.options.directory;
                let error = Error::io("start the thread that makes segments of", directory)(source);
                let mut state = self.shelf.state.lock();
                state.failure = Some(error);
                state.is_wanted = false;
            }
        }
    }

    /// Ends the thread and removes the spares.
    pub(crate) fn stop(&self) {
        self.shelf.state.lock().stop = true;
        self.shelf.changed.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes segments panicked");
        }
        for spare in std::mem::take(&mut self.shelf.state.lock().spares) {
            if let Err(error) = spare.remove() {
                tracing::warn!(%error, "a spare segment is left; the next open removes it");
            }
        }
    }
}

impl Shelf {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.stop {
            if !state.is_wanted || !state.spares.is_empty() || state.is_full {
                state.is_wanted &= state.spares.is_empty();
                self.changed.wait(&mut state);
                continue;
            }
            let capacity = self.options.segment_bytes;
            if !self.has_room(&state, capacity) {
                state.is_full = true;
                self.changed.notify_all();
                continue;
            }
            state.bytes += capacity;
            drop(state);
            let made = self.make(capacity);
            state = self.state.lock();
            state.is_wanted = false;
            match made {
                Ok(spare) => state.spares.push(spare),
                Err(error) => {
                    state.bytes -= capacity;
                    state.failure = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    fn make(&self, capacity: u64) -> Result<Spare> {
        let options = &self.options;
        let header = self.next_header(capacity);
        let spare = Spare::allocate(&options.storage, &options.directory, header)?;
        options.metrics.segment_created();
        Ok(spare)
    }

    fn next_header(&self, capacity: u64) -> super::block::SegmentHeader {
        let sequence = self.next_sequence.fetch_add(1, Ordering::Relaxed);
        self.options.segment_header(sequence, capacity)
    }

    fn has_room(&self, state: &State, capacity: u64) -> bool {
        let limit = self.options.max_bytes.unwrap_or(u64::MAX);
        state.bytes.saturating_add(capacity) <= limit
    }

    /// Waits for room to be made, for as long as the options let an append wait in all.
    fn wait_while_full(
        &self,
        state: &mut MutexGuard<'_, State>,
        capacity: u64,
        since: Instant,
    ) -> Result<()> {
        let patience = match self.options.when_full {
            WhenFull::Fail => Duration::ZERO,
            WhenFull::Block(patience) => patience,
        };
        let left = patience.saturating_sub(since.elapsed());
        let timed_out = left.is_zero() || self.changed.wait_for(state, left).timed_out();
        match timed_out {
            false => Ok(()),
            true => {
                self.options.metrics.refused_for_space();
                Err(Error::LogFull {
                    path: self.options.directory.clone(),
                    bytes: state.bytes,
                    needed: capacity,
                    limit: self.options.max_bytes.unwrap_or(u64::MAX),
                })
            }
        }
    }
}
