//! Publishing: frames are written side by side, and become readable in the order of their offsets.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::append::Shared;
use crate::error::Result;

/// The frames whose room is reserved and that are not readable yet.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    state: Mutex<State>,
    published: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their offsets.
    frames: VecDeque<Reserved>,
    /// The number of the first of them.
    first: u64,
}

#[derive(Debug)]
struct Reserved {
    end_offset: u64,
    end_position: u64,
    is_written: bool,
}

impl InFlight {
    /// Notes a frame whose room was reserved behind all others; the number it goes by.
    pub(crate) fn add(&self, end_offset: u64, end_position: u64) -> u64 {
        let mut state = self.state.lock();
        state.frames.push_back(Reserved {
            end_offset,
            end_position,
            is_written: false,
        });
        state.first + state.frames.len() as u64 - 1
    }

    /// Wakes those who wait: the log was poisoned, or one of them has something else to do.
    pub(crate) fn wake(&self) {
        drop(self.state.lock());
        self.published.notify_all();
    }
}

impl Shared {
    /// Notes that a frame is written, makes readable what is written without a gap, and returns once the frame is
    /// among it.
    pub(crate) fn publish(&self, number: u64, end_offset: u64) -> Result<()> {
        let mut state = self.in_flight.state.lock();
        let index = number.wrapping_sub(state.first) as usize;
        if let Some(frame) = state.frames.get_mut(index) {
            frame.is_written = true;
        }
        let mut last = None;
        while state
            .frames
            .front()
            .is_some_and(|frame| self.may_publish(frame))
        {
            last = state.frames.pop_front();
            state.first += 1;
        }
        if let Some(last) = last {
            self.position.store(last.end_position, Ordering::Relaxed);
            self.committed.store(last.end_offset, Ordering::Release);
            self.in_flight.published.notify_all();
        }
        self.wait_committed_in(state, end_offset)
    }

    #[cfg(not(test))]
    fn may_publish(&self, frame: &Reserved) -> bool {
        frame.is_written
    }

    #[cfg(test)]
    fn may_publish(&self, frame: &Reserved) -> bool {
        frame.is_written || self.options.has(super::tests::Planted::PublishEarly)
    }

    /// Returns once everything below an offset is readable.
    pub(crate) fn wait_committed(&self, offset: u64) -> Result<()> {
        self.wait_committed_in(self.in_flight.state.lock(), offset)
    }

    /// Returns once something at or behind an offset is readable, somebody wakes all, or that much time passed.
    pub(crate) fn wait_beyond(&self, offset: u64, timeout: Duration) {
        let mut state = self.in_flight.state.lock();
        if self.committed() <= offset {
            self.in_flight.published.wait_for(&mut state, timeout);
        }
    }

    fn wait_committed_in(
        &self,
        mut state: parking_lot::MutexGuard<'_, State>,
        offset: u64,
    ) -> Result<()> {
        while self.committed() < offset {
            self.check_poison()?;
            self.in_flight.published.wait(&mut state);
        }
        Ok(())
    }
}
