//! What is called durable when power is lost, at any moment of any schedule.

use super::*;

const BATCHES: i64 = 3;
/// More calls of the disk than a model makes.
const CALLS: u64 = 60;

/// Appends batches and waits for them to be durable, as long as there is power; where those are that are.
fn produce_durably(log: &Log, producer: i64) -> Places {
    let mut places = Places::new();
    for sequence in 0..BATCHES {
        let Ok(appended) = log.append(&batch(producer, sequence), 1, None) else {
            break;
        };
        let end = appended.end_offset;
        let durable = match (log.shared.options.durability, sequence % 2) {
            (Durability::Sync, _) => Ok(()),
            (_, 0) => shuttle::future::block_on(log.durable_through(end)),
            (_, _) => log.sync_through(end),
        };
        if durable.is_err() {
            break;
        }
        places.insert(first_row(producer, sequence), at(&appended));
    }
    places
}

/// Releases what is durable, as a tierer does; how far.
fn release_durable(log: &Log) -> u64 {
    let mut released = 0;
    for _ in 0..4 {
        let durable = log.durable();
        released = durable;
        if log.release(durable).is_err() {
            break;
        }
        thread::yield_now();
    }
    released
}

/// Power is lost in one of the calls of the disk, or when all is done. Nothing can become durable after that, so
/// whatever is said to be must have been.
fn power_is_lost(directory: &Path, setup: &Setup) -> Result<(), String> {
    let model = Model::new(directory, setup)?;
    model.disk.lose_power_after(any_below(CALLS));
    let log = &model.log;
    let (promised, released) = thread::scope(|scope| {
        let produce = |producer| scope.spawn(move || Ok(produce_durably(log, producer)));
        let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
        let release = || scope.spawn(move || Ok(release_durable(log)));
        let releasers = [release(), release()];
        let mut promised = Places::new();
        for producer in producers {
            promised.extend(joined(producer)?);
        }
        let mut released = 0;
        for releaser in releasers {
            released = joined(releaser)?.max(released);
        }
        Ok::<_, String>((promised, released))
    })?;
    let durable = log.durable();
    let left = model.disk.power_loss();
    drop(model);
    let (held, end) = held_in(left.path(), setup.segment_bytes)?;
    if end < durable {
        return Err(format!("{durable} were called durable, {end} are there"));
    }
    let mut promised = promised;
    promised.retain(|_, at| at.start >= released);
    includes("after power loss", &held, &promised)
}

#[test]
fn what_an_append_made_durable_survives_power_loss() {
    let durability = Durability::Sync;
    holds(
        Setup {
            durability,
            ..Setup::new()
        },
        power_is_lost,
    );
    holds(
        Setup {
            durability,
            ..Setup::rolling()
        },
        power_is_lost,
    );
}

#[test]
fn what_a_ticket_or_a_future_called_durable_survives_power_loss() {
    let durability = Durability::Interval(Duration::from_millis(1));
    holds(Setup::rolling(), power_is_lost);
    holds(
        Setup {
            durability,
            ..Setup::rolling()
        },
        power_is_lost,
    );
}

#[test]
fn the_checker_notices_a_durable_offset_that_is_ahead_of_the_disk() {
    let durability = Durability::Sync;
    let setup = Setup {
        durability,
        ..Setup::new()
    };
    let setup = setup.planted(Planted::RaiseDurableLate);
    println!("{}", is_noticed(setup, power_is_lost));
}
