//! A log whose disk fails, or whose producers break off, and one that is closed meanwhile.

use rustix::io::Errno;

use super::*;
use crate::log::tests::disk::{Fault, Op};

const BATCHES: i64 = 3;

/// Appends until that fails. A panic is one of the ways.
fn produce_until_it_fails(log: &Log, producer: i64) -> Result<(Places, bool), String> {
    let mut places = Places::new();
    for sequence in 0..BATCHES {
        let append = || log.append(&batch(producer, sequence), 1, None);
        match catch_unwind(AssertUnwindSafe(append)) {
            Ok(Ok(appended)) => places.insert(first_row(producer, sequence), at(&appended)),
            Ok(Err(Error::Io { .. } | Error::Poisoned { .. })) | Err(_) => {
                return Ok((places, true));
            }
            Ok(Err(error)) => return Err(text(error)),
        };
    }
    Ok((places, false))
}

/// One of the calls of the disk fails while producers append and somebody waits for durability.
fn one_call_fails(directory: &Path, setup: &Setup, op: Op, fault: Fault) -> Result<(), String> {
    let model = Model::new(directory, setup)?;
    model.disk.inject(op, any_below(8), 1, fault);
    let log = &model.log;
    let acknowledged = thread::scope(|scope| {
        let produce = |producer| scope.spawn(move || produce_until_it_fails(log, producer));
        let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
        let waiter = scope.spawn(move || {
            // Whether it is made durable or not, nobody waits for ever.
            let _ = shuttle::future::block_on(log.durable_through(log.committed()));
            let _ = log.sync_through(log.committed());
            Ok(())
        });
        let mut acknowledged = Places::new();
        let mut has_failed = false;
        for producer in producers {
            let (places, failed) = joined(producer)?;
            acknowledged.extend(places);
            has_failed |= failed;
        }
        joined(waiter)?;
        if let (false, Err(error)) = (has_failed, log.shared.check_poison())
            && op == Op::Write
        {
            return Err(format!("nobody was told: {error}"));
        }
        Ok(acknowledged)
    })?;
    let mut read = Places::new();
    read_on(&mut log.read_from(0), &mut read)?;
    includes("readable", &read, &acknowledged)?;
    let Model { log, .. } = model;
    drop(log);
    let (held, _) = held_in(directory, setup.segment_bytes)?;
    includes("reopened", &held, &read)
}

fn a_write_fails(directory: &Path, setup: &Setup) -> Result<(), String> {
    one_call_fails(directory, setup, Op::Write, Fault::Tears(Errno::IO))
}

fn a_producer_panics(directory: &Path, setup: &Setup) -> Result<(), String> {
    one_call_fails(directory, setup, Op::Write, Fault::Panics)
}

fn a_sync_fails(directory: &Path, setup: &Setup) -> Result<(), String> {
    one_call_fails(directory, setup, Op::SyncData, Fault::Fails(Errno::IO))
}

#[test]
fn after_a_failed_write_nobody_hangs_and_nothing_acknowledged_is_lost() {
    holds(Setup::new(), a_write_fails);
}

#[test]
fn after_a_failed_write_while_segments_change_nobody_hangs_and_nothing_acknowledged_is_lost() {
    holds(Setup::rolling(), a_write_fails);
}

#[test]
fn after_a_producer_that_panics_nobody_hangs_and_nothing_acknowledged_is_lost() {
    holds(Setup::new(), a_producer_panics);
}

#[test]
fn after_a_failed_sync_nobody_hangs_and_nothing_acknowledged_is_lost() {
    let durability = Durability::Sync;
    let setup = Setup::rolling();
    holds(
        Setup {
            durability,
            ..setup
        },
        a_sync_fails,
    );
}

#[test]
fn the_checker_notices_a_waiter_that_a_poisoned_log_does_not_wake() {
    let setup = Setup::new().planted(Planted::WakeUnlocked);
    let noticed = is_noticed(setup, a_write_fails);
    assert!(noticed.contains("deadlock"), "{noticed}");
}

/// Somebody closes the log while producers append.
fn closed_meanwhile(directory: &Path, setup: &Setup) -> Result<(), String> {
    let model = Model::new(directory, setup)?;
    let log = &model.log;
    let acknowledged = thread::scope(|scope| {
        let produce = |producer| scope.spawn(move || produce(log, producer, BATCHES));
        let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
        let closer = scope.spawn(move || {
            (0..any_below(60)).for_each(|_| thread::sleep(Duration::ZERO));
            log.close().map_err(text)?;
            let all = log.durable_through(log.committed());
            shuttle::future::block_on(all).map_err(text)
        });
        let mut acknowledged = Places::new();
        for producer in producers {
            let (places, stopped) = producer.join().map_err(|_| "a producer panicked")?;
            acknowledged.extend(places);
            match stopped {
                None | Some(Error::Unavailable { .. }) => {}
                Some(error) => return Err(text(error)),
            }
        }
        joined(closer)?;
        Ok(acknowledged)
    })?;
    equal("durable", log.durable(), log.committed())?;
    equal("reopened", model.reopened()?, acknowledged)
}

#[test]
fn a_log_that_is_closed_while_many_append_has_what_it_acknowledged() {
    let durability = Durability::Interval(Duration::from_millis(1));
    let setup = Setup::rolling();
    holds(setup.clone(), closed_meanwhile);
    holds(
        Setup {
            durability,
            ..setup
        },
        closed_meanwhile,
    );
}
