//! Shuttle's threads and locks, as the standard library's and parking_lot's are called. Shuttle has no time and no weak
//! memory: a timed wait ends whenever the scheduler lets it, and every atomic is sequentially consistent.

use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use shuttle::rand::RngCore;
use shuttle::sync::{self, RwLockReadGuard, RwLockWriteGuard};

/// What was locked: parking_lot knows no poisoning.
fn locked<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// True once in so many times.
fn one_in(times: u32) -> bool {
    shuttle::rand::thread_rng().next_u32().is_multiple_of(times)
}

/// Whether a deadline has passed, as the scheduler has it.
pub(crate) fn is_over(_: Instant) -> bool {
    one_in(2)
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a sync::Mutex<T>,
    /// `None` only while a condition variable waits.
    held: Option<sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: &self.0,
            held: Some(locked(self.0.lock())),
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("a held lock")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("a held lock")
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        locked(self.0.read())
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        locked(self.0.write())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

/// Whether a timed wait ended because of the time.
#[derive(Debug)]
pub(crate) struct TimedWait {
    timed_out: bool,
}

impl TimedWait {
    pub(crate) fn timed_out(&self) -> bool {
        self.timed_out
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.held = guard.held.take().map(|held| locked(self.0.wait(held)));
    }

    /// Lets others go on, for one step or for many. Nobody need have notified.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> TimedWait {
        guard.held = None;
        shuttle::thread::yield_now();
        guard.held = Some(locked(guard.mutex.lock()));
        TimedWait {
            timed_out: one_in(2),
        }
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> TimedWait {
        self.wait_for(guard, Duration::ZERO)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

pub(crate) mod thread {
    pub(crate) use shuttle::thread::{Builder, JoinHandle};
    use std::sync::Arc;

    use super::{Condvar, Mutex, one_in};

    /// A thread that may be unparked also when it has ended, which Shuttle's own may not.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Thread(Arc<Parking>);

    #[derive(Debug, Default)]
    struct Parking {
        may_go_on: Mutex<bool>,
        changed: Condvar,
    }

    shuttle::thread_local! {
        static CURRENT: Thread = Thread::default();
    }

    impl Thread {
        /// Tells threads apart.
        pub(crate) fn id(&self) -> usize {
            Arc::as_ptr(&self.0).addr()
        }

        pub(crate) fn unpark(&self) {
            *self.0.may_go_on.lock() = true;
            self.0.changed.notify_one();
        }
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    /// Lets others go on; it ends whenever the scheduler lets it.
    pub(crate) fn park_timeout(_: std::time::Duration) {
        let Thread(parking) = current();
        shuttle::thread::yield_now();
        *parking.may_go_on.lock() = false;
    }

    /// Sometimes it ends for no reason, as the real one may.
    pub(crate) fn park() {
        let Thread(parking) = current();
        if one_in(8) {
            return shuttle::thread::yield_now();
        }
        let mut may_go_on = parking.may_go_on.lock();
        while !*may_go_on {
            parking.changed.wait(&mut may_go_on);
        }
        *may_go_on = false;
    }
}
