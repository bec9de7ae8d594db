//! Order, turns, backpressure, and the lives of instances.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use arrow_array::Int32Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;

use super::super::guests::{FOREVER, bind, guest, on_value, small_limits, spec};
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
    let slow = plan(&host, FOREVER, small_limits());
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
    let slow = plan(&host, FOREVER, small_limits());
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

/// A batch on which its plan would fail for 10 s, row by row, and which a worker has begun.
fn endless(pool: &TransformPool, host: &PluginHost) -> Pending {
    let pending = pool.submit(&plan(host, FOREVER, small_limits()), batch(0..100));
    while !pool.inner.shared.state.lock().queues.is_empty() {
        std::thread::yield_now();
    }
    pending
}

#[test]
fn a_batch_that_nobody_waits_for_is_given_up() {
    let host = PluginHost::new().unwrap();
    let pool = TransformPool::new(1).unwrap();
    let quick = plan(&host, "", small_limits());
    let start = Instant::now();
    drop(endless(&pool, &host));
    pool.submit(&quick, batch(0..1)).wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_pool_that_is_dropped_gives_up_what_it_has_begun() {
    let host = PluginHost::new().unwrap();
    let pool = TransformPool::new(1).unwrap();
    let start = Instant::now();
    let begun = endless(&pool, &host);
    let waiting = pool.submit(&plan(&host, "", small_limits()), batch(0..1));
    drop(pool);
    assert!(begun.wait().is_err());
    let error = waiting.wait().unwrap_err().to_string();
    assert!(error.contains("the pool of workers was closed"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
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
