//! What the rounds of a store's tables may hold in memory together.

use std::sync::Arc;

use parking_lot::Mutex;

/// Bytes that are taken and given back. Who finds none left looks again later; one can always go, however large.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: u64,
    taken: Mutex<u64>,
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            taken: Mutex::new(0),
        }
    }

    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let mut taken = self.taken.lock();
        let fits = *taken == 0 || taken.saturating_add(bytes) <= self.bytes;
        fits.then(|| self.share(&mut taken, bytes))
    }

    /// Takes bytes if as many as `others` are still left.
    pub(crate) fn take_beside(self: &Arc<Self>, bytes: u64, others: u64) -> Option<Share> {
        let mut taken = self.taken.lock();
        let wanted = taken.saturating_add(bytes).saturating_add(others);
        (wanted <= self.bytes).then(|| self.share(&mut taken, bytes))
    }

    fn share(self: &Arc<Self>, taken: &mut u64, bytes: u64) -> Share {
        *taken += bytes;
        Share {
            budget: Arc::clone(self),
            bytes,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.taken.lock() -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_bounded_and_one_can_always_go() {
        let budget = Arc::new(Budget::new(100));
        let large = budget.take(150).unwrap();
        assert!(budget.take(1).is_none());
        drop(large);
        let shares = [budget.take(60).unwrap(), budget.take(40).unwrap()];
        assert!(budget.take(1).is_none());
        drop(shares);
        assert!(budget.take(100).is_some());
    }

    #[test]
    fn more_is_taken_only_if_enough_is_left_for_others() {
        let budget = Arc::new(Budget::new(100));
        let _share = budget.take(40).unwrap();
        assert!(budget.take_beside(40, 30).is_none());
        assert!(budget.take_beside(30, 30).is_some());
    }
}
