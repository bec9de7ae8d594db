//! The threads that transforms run on.

use std::collections::VecDeque;
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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::TryRecvError;
    use std::time::{Duration, Instant};

    use arrow_array::Int32Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;

    use super::super::guests::{SPIN, bind, guest, on_value, small_limits, spec};
    use super::super::{Limits, OnError, PluginHost};
    use super::*;

    fn batch(values: std::ops::Range<i32>) -> RecordBatch {
        let x = Arc::new(Int32Array::from_iter_values(values));
        RecordBatch::try_from_iter([("x", x as _)]).unwrap()
    }

    fn plan(host: &PluginHost, apply: &str, limits: Limits) -> ChainPlan {
        let bound = bind(host, spec("t", OnError::DeadLetter), &guest("", apply));
        ChainPlan::new(host, batch(0..0).schema(), vec![bound], limits).unwrap()
    }

    #[test]
    fn results_are_those_of_the_batches_in_the_order_in_which_they_were_submitted() {
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(4).unwrap();
        let plan = plan(&host, "", small_limits());
        let pending: VecDeque<_> = (0..50)
            .map(|i| {
                let batch = batch(i * 10..i * 10 + 10 + i % 7);
                (batch.clone(), pool.submit(&plan, batch))
            })
            .collect();
        for (batch, pending) in pending {
            assert_eq!(pending.wait().unwrap().made, batch);
        }
        assert!(
            plan.idle_sets() <= 4,
            "{} sets of instances",
            plan.idle_sets()
        );
    }

    #[test]
    fn a_slow_plan_takes_turns_with_the_others() {
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(1).unwrap();
        let slow = plan(&host, SPIN, small_limits());
        let quick = plan(&host, "", small_limits());
        let slow = [0, 1, 2].map(|i| pool.submit(&slow, batch(i..i + 1)));
        pool.submit(&quick, batch(0..1)).wait().unwrap();
        assert!(matches!(slow[2].reply.try_recv(), Err(TryRecvError::Empty)));
        for pending in slow {
            assert_eq!(pending.wait().unwrap().failures.len(), 1);
        }
    }

    #[test]
    fn who_submits_waits_while_two_batches_wait_for_each_worker() {
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(1).unwrap();
        let slow = plan(&host, SPIN, small_limits());
        let submitted = AtomicUsize::new(0);
        let (sender, receiver) = sync_channel(8);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..8 {
                    sender.send(pool.submit(&slow, batch(i..i + 1))).unwrap();
                    submitted.fetch_add(1, Ordering::SeqCst);
                }
            });
            receiver.recv().unwrap().wait().unwrap();
            // One is done, one is served, two wait.
            assert!(submitted.load(Ordering::SeqCst) <= 4);
            for _ in 1..8 {
                receiver.recv().unwrap().wait().unwrap();
            }
        });
    }

    #[test]
    fn a_batch_that_nobody_waits_for_is_given_up() {
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(1).unwrap();
        // It would take this plan 10 s to fail on each of the rows.
        let slow = plan(&host, SPIN, small_limits());
        drop(pool.submit(&slow, batch(0..100)));
        let start = Instant::now();
        drop(pool);
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{:?}",
            start.elapsed()
        );
    }

    #[test]
    fn a_panic_costs_its_batch_alone() {
        let error = caught(|| panic!("by {}", "mistake"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("a worker panicked: by mistake"), "{error}");
    }

    #[test]
    fn instances_are_closed_with_the_last_clone_of_their_plan() {
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(2).unwrap();
        let plan = plan(&host, "", small_limits());
        pool.submit(&plan, batch(0..9)).wait().unwrap();
        let alive = Arc::downgrade(&plan.inner);
        drop(plan);
        let start = Instant::now();
        // The worker holds it for a moment longer.
        while alive.strong_count() > 0 {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
        drop(pool);
    }

    #[test]
    fn plans_that_were_not_served_for_long_are_closed_and_open_again_when_they_are() {
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(1).unwrap();
        let plans: Vec<_> = (0..KEPT_PLANS + 2)
            .map(|_| plan(&host, "", small_limits()))
            .collect();
        for plan in &plans {
            pool.submit(plan, batch(0..9)).wait().unwrap();
        }
        assert_eq!(plans[0].idle_sets(), 0);
        let made = pool.submit(&plans[0], batch(0..9)).wait().unwrap();
        assert_eq!(made.made, batch(0..9));
    }

    #[test]
    fn an_instance_that_has_taken_much_memory_is_opened_anew() {
        // It takes a page a call of the 64 that it may have, and answers with how many it has.
        let grow = "(drop (memory.grow (i32.const 1)))";
        let tell = "(i32.store (local.get $data) (memory.size))";
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(1).unwrap();
        let limits = Limits {
            memory_bytes: 64 << 16,
            ..small_limits()
        };
        let plan = plan(&host, &format!("{grow}{tell}"), limits);
        let sizes = (0..200).map(|i| {
            let made = pool.submit(&plan, batch(i..i + 1)).wait().unwrap();
            assert!(made.failures.is_empty(), "{:?}", made.failures);
            made.made.column(0).as_primitive::<Int32Type>().value(0)
        });
        let sizes: Vec<_> = sizes.collect();
        assert!(sizes.iter().all(|pages| *pages < 50), "{sizes:?}");
        assert!(sizes.iter().any(|pages| *pages > 30), "{sizes:?}");
    }

    #[test]
    fn a_failing_record_is_told_from_its_batch() {
        let host = PluginHost::new().unwrap();
        let pool = TransformPool::new(2).unwrap();
        let plan = plan(&host, &on_value(13, "unreachable"), small_limits());
        let made = pool.submit(&plan, batch(10..20)).wait().unwrap();
        assert_eq!((made.failures[0].row, made.failures.len()), (3, 1));
        assert_eq!(made.origin.unwrap(), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    }
}
