//! What readers see while many append.

use shuttle::scheduler::UncontrolledNondeterminismCheckScheduler;

use super::*;
use crate::log::producers::Source;

const BATCHES: i64 = 3;

/// Reads everything that is appended, in the meantime.
fn follow(log: &Log, batches: i64) -> Result<Places, String> {
    let mut places = Places::new();
    let mut reader = log.read_from(0);
    while places.len() < batches as usize {
        read_on(&mut reader, &mut places)?;
        log.shared.check_poison().map_err(text)?;
        thread::yield_now();
    }
    Ok(places)
}

/// Reads what is readable now.
fn look(log: &Log) -> Result<(), String> {
    let committed = log.committed();
    let mut seen = Places::new();
    read_on(&mut log.read_from(0), &mut seen)?;
    let seen = seen.values().map(|at| at.end).max().unwrap_or(0);
    match seen >= committed {
        true => Ok(()),
        false => Err(format!("{committed} were readable, {seen} were read")),
    }
}

/// Producers append, a reader follows, another looks at what is there.
fn producers_and_readers(directory: &Path, setup: &Setup) -> Result<(), String> {
    let model = Model::new(directory, setup)?;
    let log = &model.log;
    let acknowledged = thread::scope(|scope| {
        let produce = |producer| scope.spawn(move || produce_all(log, producer, BATCHES));
        let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
        let follower = scope.spawn(move || follow(log, PRODUCERS * BATCHES));
        let looker = scope.spawn(move || look(log));
        let mut acknowledged = Places::new();
        for producer in producers {
            acknowledged.extend(joined(producer)?);
        }
        joined(looker)?;
        equal("followed", joined(follower)?, acknowledged.clone())?;
        Ok::<_, String>(acknowledged)
    })?;
    check_sealed(log, setup)?;
    equal("reopened", model.reopened()?, acknowledged)
}

/// Every segment but the last must be sealed once nothing is left to do, and there must be some.
fn check_sealed(log: &Log, setup: &Setup) -> Result<(), String> {
    log.release(0).map_err(text)?;
    let segments = log.shared.segments.read();
    let sealed = segments.iter().filter(|s| s.footer().is_some()).count();
    equal("sealed", sealed, segments.len() - 1)?;
    equal("rolled", sealed > 0, setup.segment_bytes < SEGMENT_BYTES)
}

#[test]
fn a_reader_sees_whole_batches_in_order_and_each_once() {
    holds(Setup::new(), producers_and_readers);
}

#[test]
fn a_reader_sees_whole_batches_in_order_across_segments() {
    holds(Setup::rolling(), producers_and_readers);
}

#[test]
fn a_seed_gives_the_same_schedules_again() {
    let schedules = RandomScheduler::new_from_seed(seed(), 20);
    let schedules = UncontrolledNondeterminismCheckScheduler::new(schedules);
    let model = |path: &Path| producers_and_readers(path, &Setup::rolling());
    run(schedules, model).unwrap();
}

#[test]
fn the_checker_notices_frames_that_are_readable_before_they_are_written() {
    let setup = Setup::new().planted(Planted::PublishEarly);
    println!("{}", is_noticed(setup, producers_and_readers));
}

/// Two threads send the same batches, as a host does that lost its connection.
fn the_same_batches_twice(directory: &Path, setup: &Setup) -> Result<(), String> {
    let model = Model::new(directory, setup)?;
    let log = &model.log;
    let send = || {
        let mut places = Places::new();
        for sequence in 0..BATCHES {
            let source = Source {
                producer: 7,
                sequence: sequence as u64,
            };
            let appended = log.append(&batch(0, sequence), 1, Some(source));
            let appended = appended.map_err(text)?;
            if log.committed() < appended.end_offset {
                return Err(format!("{:?} is not readable yet", at(&appended)));
            }
            places.insert(first_row(0, sequence), at(&appended));
        }
        Ok(places)
    };
    let sent = thread::scope(|scope| {
        let senders = [scope.spawn(send), scope.spawn(send)];
        let mut sent = Places::new();
        for sender in senders {
            for (first, at) in joined(sender)? {
                // Of an older batch only the end of a newer one is known.
                let other = sent.insert(first, at.clone());
                let is_known = |other: &Range<u64>| !other.is_empty() && !at.is_empty();
                if let Some(other) = other.filter(is_known) {
                    equal("sent twice", other, at)?;
                }
            }
        }
        Ok::<_, String>(sent)
    })?;
    let held: Vec<i64> = model.reopened()?.into_keys().collect();
    equal("held", held, sent.into_keys().collect())
}

#[test]
fn a_batch_that_two_threads_send_is_there_once() {
    holds(Setup::rolling(), the_same_batches_twice);
}
