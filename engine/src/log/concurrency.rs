//! The threads, locks and atomics of the log. They are the usual ones, but for the model checker (`make model`), which
//! compiles with `--cfg shuttle`: then they are Shuttle's, whose scheduler decides at each of them which thread goes on.

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(shuttle))]
pub(crate) use std::{sync::atomic, thread};

#[cfg(shuttle)]
mod modelled;
#[cfg(shuttle)]
pub(crate) use self::modelled::{Condvar, Mutex, MutexGuard, RwLock, is_over, thread};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic;

/// Whether a deadline has passed.
#[cfg(not(shuttle))]
pub(crate) fn is_over(deadline: std::time::Instant) -> bool {
    std::time::Instant::now() >= deadline
}
