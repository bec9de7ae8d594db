//! Segments that go while somebody reads them, and appends that wait for them to go.

use super::*;
const BATCHES: i64 = 5;

/// Reads everything and releases what it has read, once.
fn tier(log: &Log) -> Result<Places, String> {
    let mut places = Places::new();
    let mut reader = log.read_from(0);
    while places.len() < (PRODUCERS * BATCHES) as usize {
        let before = places.len();
        read_on(&mut reader, &mut places)?;
        if places.len() > before {
            let end = places.values().map(|at| at.end).max();
            log.release(end.unwrap_or(0)).map_err(text)?;
        }
        thread::yield_now();
    }
    Ok(places)
}

/// Takes frames from wherever the log begins and holds their rows, which must stay what they were.
fn hold(log: &Log) -> Result<(), String> {
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut reader = log.read_from(log.first_offset());
        match reader.next_frame() {
            Ok(Some(frame)) => {
                let batch = frame.batch(schema()).map_err(text)?;
                // Only the rows: neither the frame nor the reader, which hold the segment itself.
                held.push((
                    frame.header.base_offset,
                    batch.column(0).as_primitive_values(),
                    batch,
                ));
            }
            Ok(None) => {}
            // It was released in between.
            Err(Error::Invalid { .. }) => {}
            Err(error) => return Err(text(error)),
        }
        thread::yield_now();
    }
    for (at, rows, batch) in held {
        equal("held", batch.column(0).as_primitive_values(), rows)
            .map_err(|error| format!("at {at}: {error}"))?;
    }
    Ok(())
}

/// Producers append more than the log may hold, what is read is released, and somebody holds on to some of it.
fn released_while_held(directory: &Path, setup: &Setup) -> Result<(), String> {
    let model = Model::new(directory, setup)?;
    let log = &model.log;
    let released = thread::scope(|scope| {
        let produce = |producer| scope.spawn(move || produce_all(log, producer, BATCHES));
        let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
        let tierer = scope.spawn(move || tier(log));
        let holder = scope.spawn(move || hold(log));
        let mut acknowledged = Places::new();
        for producer in producers {
            acknowledged.extend(joined(producer)?);
        }
        joined(holder)?;
        let tiered = joined(tierer)?;
        equal("tiered", &tiered, &acknowledged)?;
        Ok::<_, String>(tiered)
    })?;
    let first = log.first_offset();
    let mut kept = released;
    kept.retain(|_, at| at.start >= first);
    equal("reopened", model.reopened()?, kept)
}

fn small(max_segments: u64) -> Setup {
    Setup {
        max_segments: Some(max_segments),
        ..Setup::rolling()
    }
}

#[test]
fn appends_that_wait_for_room_go_on_and_what_a_reader_holds_stays() {
    holds(small(2), released_while_held);
    holds(small(3), released_while_held);
}

#[test]
fn the_checker_notices_a_file_that_is_reused_while_a_reader_holds_it() {
    let setup = small(3).planted(Planted::RecycleHeld);
    println!("{}", is_noticed(setup, released_while_held));
}
