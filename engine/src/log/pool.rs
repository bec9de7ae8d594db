//! The pool: spare segment files, made in the background, so that rolling never waits for the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::concurrency::atomic::{AtomicU64, Ordering};
use super::concurrency::thread::{self, JoinHandle};
use super::concurrency::{Condvar, Mutex, MutexGuard};
use super::options::{LogOptions, WhenFull};
use super::segment::Segment;
use super::spare::{self, Spare};
use crate::error::{Error, Result};

/// How often those who wait for a spare look whether the log still lives.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The spares of a log, and the thread that makes one when the last was taken.
#[derive(Debug)]
pub(crate) struct Pool {
    shelf: Arc<Shelf>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
    /// How many spares were taken.
    taken: u64,
    is_wanted: bool,
    /// How often the thread began to make a spare.
    attempts: u64,
    /// Why it could not, and the how manieth time that was.
    failure: Option<(u64, Error)>,
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
        }
    }

    /// A spare of at least that capacity, if there is one.
    pub(crate) fn take(&self, capacity: u64) -> Option<Spare> {
        let mut state = self.shelf.state.lock();
        let fits = state.spares.iter().position(|s| s.capacity() >= capacity)?;
        // Others who wait for one may find room in the segment that this one becomes.
        state.taken += 1;
        self.shelf.changed.notify_all();
        Some(state.spares.swap_remove(fits))
    }

    /// Gives back a spare that was not used.
    pub(crate) fn put(&self, spare: Spare) {
        self.shelf.state.lock().spares.push(spare);
        self.shelf.changed.notify_all();
    }

    /// How many spares were taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.shelf.state.lock().taken
    }

    /// Whether the log may have another file of that capacity.
    pub(crate) fn has_room(&self, capacity: u64) -> bool {
        let state = self.shelf.state.lock();
        self.shelf.has_room(&state, capacity)
    }

    /// Lets a spare be made in the background unless there is one.
    pub(crate) fn want(&self) {
        let mut state = self.shelf.state.lock();
        if state.spares.is_empty() {
            state.is_wanted = true;
            self.shelf.changed.notify_all();
            drop(state);
            self.start();
        }
    }

    /// Waits until there is a spare of at least that capacity, or another was taken than the caller knew of, or
    /// the log was closed. `since` is when the caller began to wait, `check` says what else ends it.
    ///
    /// # Errors
    ///
    /// [`Error::LogFull`] when the log's limit leaves no room for as long as the caller may wait;
    /// [`Error::Io`] when the file could not be made; what `check` gives.
    pub(crate) fn wait(
        &self,
        capacity: u64,
        taken: u64,
        since: Instant,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let shelf = &self.shelf;
        let is_standard = capacity <= shelf.options.segment_bytes;
        // What was begun before this caller came says nothing about now when it goes wrong.
        let begun = shelf.state.lock().attempts;
        loop {
            check()?;
            if is_standard {
                self.start();
            }
            let mut state = shelf.state.lock();
            let has_one = state.spares.iter().any(|s| s.capacity() >= capacity);
            if has_one || state.stop || state.taken != taken {
                return Ok(());
            }
            if let Some((attempt, failure)) = state.failure.take()
                && attempt > begun
            {
                return Err(failure);
            }
            if !is_standard && shelf.has_room(&state, capacity) {
                return shelf.add(state, capacity).1;
            }
            match state.spares.pop() {
                // Spares that are too small must not keep out what is needed.
                Some(small) => {
                    state.bytes = state.bytes.saturating_sub(small.capacity());
                    drop(state);
                    small.remove()?;
                }
                None if is_standard && !state.is_full => {
                    state.is_wanted = true;
                    shelf.changed.notify_all();
                    // Not for ever, as nobody tells the pool that the log was poisoned.
                    shelf.changed.wait_for(&mut state, LOOK_AGAIN);
                }
                None => shelf.wait_while_full(&mut state, capacity, since)?,
            }
        }
    }

    /// Takes in segments whose rows nobody needs any more: as spares, as many as may be kept, or removed.
    /// After an error the segment is given back if its file still has its name.
    pub(crate) fn retire(
        &self,
        segment: Arc<Segment>,
    ) -> Result<(), (Option<Arc<Segment>>, Error)> {
        let (shelf, capacity) = (&self.shelf, segment.header.capacity);
        segment.mark_released();
        let may_keep = {
            let state = shelf.state.lock();
            let fits = capacity == shelf.options.segment_bytes;
            fits && state.spares.len() < shelf.options.recycled_segments && !state.stop
        };
        let recycled = match may_keep {
            true => Spare::recycle(segment, shelf.next_header(capacity))?,
            false => spare::remove(segment).map(|()| None)?,
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
        let spawned = thread::Builder::new()
            .name("alluvium-spare".to_owned())
            .spawn(move || shelf.run());
        match spawned {
            Ok(handle) => *thread = Some(handle),
            Err(source) => {
                let directory = &self.shelf.options.directory;
                let error = Error::io("start the thread that makes segments of", directory)(source);
                let mut state = self.shelf.state.lock();
                state.failure = Some((u64::MAX, error));
                state.is_wanted = false;
                self.shelf.changed.notify_all();
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
            state.is_wanted = false;
            state.attempts += 1;
            let attempt = state.attempts;
            let (after, made) = self.add(state, capacity);
            state = after;
            state.failure = made.err().map(|error| (attempt, error));
            self.changed.notify_all();
        }
    }

    /// Makes a spare without holding the lock meanwhile.
    fn add<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        capacity: u64,
    ) -> (MutexGuard<'a, State>, Result<()>) {
        state.bytes += capacity;
        drop(state);
        let made = self.make(capacity);
        let mut state = self.state.lock();
        let made = match made {
            // A log that was closed meanwhile leaves no files behind.
            Ok(spare) if state.stop => spare.remove(),
            Ok(spare) => {
                state.spares.push(spare);
                return (state, Ok(()));
            }
            Err(error) => Err(error),
        };
        state.bytes = state.bytes.saturating_sub(capacity);
        state.is_full = false;
        (state, made)
    }

    fn make(&self, capacity: u64) -> Result<Spare> {
        let options = &self.options;
        let header = self.next_header(capacity);
        let spare = Spare::allocate(options, header)?;
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

    /// Waits a moment for room to be made, if the options let an append wait any longer.
    fn wait_while_full(
        &self,
        state: &mut MutexGuard<'_, State>,
        capacity: u64,
        since: Instant,
    ) -> Result<()> {
        let limit = self.options.max_bytes.unwrap_or(u64::MAX);
        let patience = match self.options.when_full {
            WhenFull::Block(patience) if capacity <= limit => patience,
            _ => Duration::ZERO,
        };
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            self.options.metrics.refused_for_space();
            return Err(Error::LogFull {
                path: self.options.directory.clone(),
                bytes: state.bytes,
                needed: capacity,
                limit,
            });
        }
        self.changed.wait_for(state, left.min(LOOK_AGAIN));
        Ok(())
    }
}
