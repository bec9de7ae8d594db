//! What the rounds of a store's tables may hold in memory together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How often who waits looks whether it still wants to.
const TICK: Duration = Duration::from_millis(100);

/// Bytes that are taken in turn and given back; one can always go, however large.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    /// Who waits, by number, first come first served.
    queue: VecDeque<u64>,
    next: u64,
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    pub(crate) bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits in turn until `least` bytes are left, and takes them, or more up to `wanted`. `None` once `stop` says so.
    pub(crate) fn take(
        self: &Arc<Self>,
        wanted: u64,
        least: u64,
        stop: &dyn Fn() -> bool,
    ) -> Option<Share> {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.queue.push_back(number);
        let taken = loop {
            if stop() {
                break None;
            }
            let left = self.bytes.saturating_sub(state.taken);
            let is_alone = state.taken == 0;
            if state.queue.front() == Some(&number) && (is_alone || left >= least) {
                break Some(if is_alone { wanted } else { wanted.min(left) });
            }
            self.changed.wait_for(&mut state, TICK);
        };
        state.queue.retain(|waiting| *waiting != number);
        self.changed.notify_all();
        taken.map(|bytes| self.share(&mut state, bytes))
    }

    /// Takes bytes if nobody waits, and as many as `others` are still left.
    pub(crate) fn take_beside(self: &Arc<Self>, bytes: u64, others: u64) -> Option<Share> {
        let mut state = self.state.lock();
        let wanted = state.taken.saturating_add(bytes).saturating_add(others);
        let fits = state.queue.is_empty() && wanted <= self.bytes;
        fits.then(|| self.share(&mut state, bytes))
    }

    fn share(self: &Arc<Self>, state: &mut State, bytes: u64) -> Share {
        state.taken += bytes;
        Share {
            budget: Arc::clone(self),
            bytes,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.state.lock().taken -= self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn taken(budget: &Arc<Budget>, wanted: u64, least: u64) -> Option<Share> {
        // Asked once, whoever cannot be served at once is not.
        let asked = std::cell::Cell::new(false);
        budget.take(wanted, least, &|| asked.replace(true))
    }

    #[test]
    fn what_is_taken_is_bounded_and_one_can_always_go() {
        let budget = Arc::new(Budget::new(100));
        let large = taken(&budget, 150, 150).unwrap();
        assert!(taken(&budget, 1, 1).is_none());
        drop(large);
        let shares = [60, 40].map(|bytes| taken(&budget, bytes, bytes).unwrap());
        assert!(taken(&budget, 1, 1).is_none());
        drop(shares);
        assert!(taken(&budget, 100, 100).is_some());
    }

    #[test]
    fn where_not_all_is_left_that_is_wanted_less_is_taken() {
        let budget = Arc::new(Budget::new(100));
        let _share = taken(&budget, 70, 70).unwrap();
        assert!(taken(&budget, 70, 31).is_none());
        assert_eq!(taken(&budget, 70, 20).unwrap().bytes, 30);
    }

    #[test]
    fn who_came_first_is_served_first_however_much_it_wants() {
        let budget = Arc::new(Budget::new(100));
        let running = [60, 40].map(|bytes| taken(&budget, bytes, bytes).unwrap());
        let (served, order) = channel();
        std::thread::scope(|scope| {
            for (waiting, bytes) in [90, 20].into_iter().enumerate() {
                let (budget, served) = (&budget, served.clone());
                scope.spawn(move || {
                    let share = budget.take(bytes, bytes, &|| false);
                    let _ = served.send(bytes);
                    drop(share);
                });
                while budget.state.lock().queue.len() <= waiting {
                    std::thread::yield_now();
                }
            }
            let [large, small] = running;
            // Enough for the second, who waits behind the first.
            drop(small);
            assert!(budget.take_beside(10, 0).is_none());
            drop(large);
        });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [90, 20]);
    }

    #[test]
    fn more_is_taken_only_if_enough_is_left_for_others() {
        let budget = Arc::new(Budget::new(100));
        let _share = taken(&budget, 40, 40).unwrap();
        assert!(budget.take_beside(40, 30).is_none());
        assert!(budget.take_beside(30, 30).is_some());
    }
}
