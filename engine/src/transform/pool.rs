//! The threads that transforms run on.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use parking_lot::{Condvar, Mutex};

use super::chain::{ChainPlan, PlanInner};
use super::made_rows::MadeRows;
use crate::{Error, Result};

/// Batches of one plan that may wait, for each worker.
const WAITING: usize = 2;
/// Plans whose instances are kept while nobody uses them.
const KEPT_PLANS: usize = 64;

/// Threads that run transforms, for all tables of a store. Clones are cheap and are the same pool.
///
/// The plans take turns, batch by batch, so that a slow one doesn't starve the others. Each worker uses
/// one set of a plan's instances at a time; they live on with the plan, and when more than 64 plans
/// were served, those of the plan that was served the longest ago are closed.
#[derive(Clone)]
pub struct TransformPool {
    inner: Arc<Workers>,
}

/// A batch on its way through a [`TransformPool`]. Dropped, the batch is given up, at the latest after
/// the call on a plugin that it is in.
#[derive(Debug)]
#[must_use = "a batch that nobody waits for is given up"]
pub struct Pending {
    reply: Receiver<Result<MadeRows>>,
    _wanted: Arc<()>,
}

struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to do, or the pool closes.
    work: Condvar,
    /// A batch was taken from a queue.
    room: Condvar,
    /// Batches of one plan that may wait.
    capacity: usize,
}

#[derive(Default)]
struct State {
    /// The plans of which batches wait, the next to be served first.
    queues: VecDeque<(ChainPlan, VecDeque<Task>)>,
    /// The plans that have been served, the last one last.
    served: VecDeque<Weak<PlanInner>>,
    is_closed: bool,
}

struct Task {
    batch: RecordBatch,
    reply: SyncSender<Result<MadeRows>>,
    wanted: Weak<()>,
}

impl std::fmt::Debug for TransformPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransformPool")
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

impl TransformPool {
    /// Starts a pool of so many workers; 0 means as many as there are cores. They end when the last
    /// clone is dropped, which waits for the calls that they are in: at most one deadline.
    ///
    /// # Errors
    /// [`Error::Plugin`] when a thread can't be started.
    pub fn new(workers: usize) -> Result<Self> {
        let workers = match workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            capacity: workers * WAITING,
        });
        let mut started = Workers {
            shared: shared.clone(),
            threads: Vec::with_capacity(workers),
        };
        for number in 0..workers {
            let shared = shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("alluvium-transform-{number}"))
                .spawn(move || work(&shared))
                .map_err(|error| Error::Plugin {
                    plugin: "host".to_owned(),
                    reason: format!("cannot start a thread: {error}"),
                })?;
            started.threads.push(thread);
        }
        Ok(Self {
            inner: Arc::new(started),
        })
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.inner.threads.len()
    }

    /// Hands a batch to the workers. While two batches of the plan wait for each worker it blocks:
    /// who reads batches from a log reads no faster than they are transformed.
    ///
    /// Batches of a plan begin in the order in which they are submitted but may end in another: wait
    /// for each [`Pending`] in that order to have the results in it.
    pub fn submit(&self, plan: &ChainPlan, batch: RecordBatch) -> Pending {
        let shared = &*self.inner.shared;
        let (reply, receiver) = sync_channel(1);
        let wanted = Arc::new(());
        let task = Task {
            batch,
            reply,
            wanted: Arc::downgrade(&wanted),
        };
        let mut state = shared.state.lock();
        loop {
            match state.queue_of(plan) {
                Some(queue) if queue.len() >= shared.capacity => {}
                Some(queue) => {
                    queue.push_back(task);
                    break;
                }
                None => {
                    state.queues.push_back((plan.clone(), [task].into()));
                    break;
                }
            }
            shared.room.wait(&mut state);
        }
        drop(state);
        shared.work.notify_one();
        Pending {
            reply: receiver,
            _wanted: wanted,
        }
    }
}

impl TransformPool {
    /// Waits for what is made of a batch, and hands it to `take` with the rows that it is of: all of them, or, where that is
    /// too much at once, part after part in their order. `take` says whether it wants more; the result is what it said last.
    ///
    /// # Errors
    /// As [`Pending::wait`], the failed row being one of the whole batch; what `take` gives.
    pub(crate) fn wait_in_parts(
        &self,
        plan: &ChainPlan,
        batch: &RecordBatch,
        pending: Pending,
        take: &mut dyn FnMut(Range<usize>, MadeRows) -> Result<bool>,
    ) -> Result<bool> {
        let rows = batch.num_rows();
        let (mut at, mut length, mut made) = (0, rows, pending.wait());
        loop {
            match made {
                Err(Error::TransformOutput { .. }) if length > 1 => length /= 2,
                made => {
                    let wants_more = take(at..at + length, made.map_err(|e| behind(e, at))?)?;
                    at += length;
                    if at >= rows || !wants_more {
                        return Ok(wants_more);
                    }
                }
            }
            length = length.min(rows - at);
            made = self.submit(plan, batch.slice(at, length)).wait();
        }
    }
}

/// The same error of a batch in which so many rows come before.
fn behind(error: Error, rows: usize) -> Error {
    match error {
        Error::TransformFailed {
            transform,
            row,
            reason,
        } => Error::TransformFailed {
            transform,
            row: row + rows as u64,
            reason,
        },
        error => error,
    }
}

impl Pending {
    /// Waits for what is made of the batch.
    ///
    /// # Errors
    /// As [`Chain::apply`](super::Chain::apply). [`Error::Arrow`] also when the worker panicked over the
    /// batch, or the pool was dropped before it was begun.
    pub fn wait(self) -> Result<MadeRows> {
        let closed = |_| failed("the pool of workers was closed".to_owned());
        self.reply.recv().map_err(closed)?
    }
}

impl State {
    fn queue_of(&mut self, plan: &ChainPlan) -> Option<&mut VecDeque<Task>> {
        let mut queues = self.queues.iter_mut();
        let found = queues.find(|(other, _)| Arc::ptr_eq(&other.inner, &plan.inner));
        found.map(|(_, queue)| queue)
    }

    /// Takes the next batch of the plan whose turn it is, which then comes last.
    fn next(&mut self) -> Option<(ChainPlan, Task)> {
        let (plan, mut queue) = self.queues.pop_front()?;
        let task = queue.pop_front()?;
        if !queue.is_empty() {
            self.queues.push_back((plan.clone(), queue));
        }
        Some((plan, task))
    }

    /// Notes that a plan is served, and gives one that hasn't been for long if there are too many.
    fn note(&mut self, plan: &ChainPlan) -> Option<ChainPlan> {
        let this = Arc::downgrade(&plan.inner);
        self.served
            .retain(|other| other.strong_count() > 0 && !other.ptr_eq(&this));
        self.served.push_back(this);
        if self.served.len() <= KEPT_PLANS {
            return None;
        }
        let inner = self.served.pop_front()?.upgrade()?;
        Some(ChainPlan { inner })
    }
}

/// A worker's life.
fn work(shared: &Shared) {
    let mut state = shared.state.lock();
    loop {
        if state.is_closed {
            return;
        }
        let Some((plan, task)) = state.next() else {
            shared.work.wait(&mut state);
            continue;
        };
        let forgotten = state.note(&plan);
        drop(state);
        // All: who waits for room may wait for another plan's.
        shared.room.notify_all();
        if let Some(forgotten) = forgotten {
            forgotten.close_idle();
        }
        serve(&plan, task, shared);
        drop(plan);
        state = shared.state.lock();
    }
}

fn serve(plan: &ChainPlan, task: Task, shared: &Shared) {
    let Task {
        batch,
        reply,
        wanted,
    } = task;
    let wanted = || wanted.strong_count() > 0 && !shared.state.lock().is_closed;
    if !wanted() {
        return;
    }
    let made = caught(|| plan.run(&batch, &wanted));
    // Nobody may be waiting any more.
    let _ = reply.send(made);
}

/// A panic becomes an error.
fn caught(run: impl FnOnce() -> Result<MadeRows>) -> Result<MadeRows> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(failed(format!(
            "a worker panicked: {}",
            message.unwrap_or_default()
        )))
    })
}

fn failed(reason: String) -> Error {
    Error::arrow("transform a batch")(ArrowError::ExternalError(reason.into()))
}

impl Drop for Workers {
    fn drop(&mut self) {
        let queues = {
            let mut state = self.shared.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.queues)
        };
        drop(queues);
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches panics; what it was doing is lost either way.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
