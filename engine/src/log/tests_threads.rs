//! Many threads on one log at a time: nothing hangs, nothing is lost, and readers see whole frames in order.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::append::Log;
use super::options::{LogOptions, WhenFull};
use super::reader::LogReader;
use super::tests::{Planted, Values, options, schema};
use super::tests_disk::Disk;
use super::tests_killed::{Random, batch_of, rows_of, source_of};
use crate::error::{Error, Result};

mod space;

const PRODUCERS: u64 = 8;
const SEGMENT_BYTES: u64 = 32 << 10;

/// Fails instead of hanging.
fn within_30_seconds<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (done, waiting) = mpsc::channel();
    let worker = thread::spawn(move || drop(done.send(work())));
    match waiting.recv_timeout(Duration::from_secs(30)) {
        Ok(result) => result,
        Err(_) if worker.is_finished() => Err("it panicked".to_owned()),
        Err(_) => Err("it hangs".to_owned()),
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn tiny(directory: &Path) -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT_BYTES,
        storage: Disk::slow(1),
        max_bytes: Some(16 * SEGMENT_BYTES),
        when_full: WhenFull::Block(Duration::from_secs(25)),
        ..options(directory)
    }
}

fn text(error: Error) -> String {
    error.to_string()
}

/// Where batches are, by producer and sequence.
type Places = HashMap<(u64, u64), Range<u64>>;

/// Appends batches, and waits for some of them to be durable; what was acknowledged. A closed log ends it.
fn produce(log: &Log, producer: u64, batches: u64) -> Result<Places, String> {
    let mut random = Random::new(producer + 1);
    let mut places = Places::new();
    for sequence in 0..batches {
        let batch = batch_of(producer, sequence);
        let appended = match log.append(&batch, 1, source_of(producer, sequence)) {
            Ok(appended) => appended,
            Err(Error::Unavailable { .. }) => break,
            Err(error) => return Err(text(error)),
        };
        let at = appended.base_offset..appended.end_offset;
        match random.below(16) {
            0 => log.sync_through(at.end).map_err(text)?,
            1 => block_on(log.durable_through(at.end)).map_err(text)?,
            _ => {}
        }
        places.insert((producer, sequence), at);
    }
    Ok(places)
}

/// Reads on to where the log ends now. Every frame must go on where the last ended, with somebody's rows.
fn read_on(reader: &mut LogReader, next: &mut u64, places: &mut Places) -> Result<(), String> {
    while let Some(frame) = reader.next_frame().map_err(text)? {
        let at = frame.header.base_offset..frame.header.end_offset;
        let rows = frame.batch(schema()).map_err(text)?;
        let rows = rows.column(0).as_primitive_values();
        let row = rows.first().copied().unwrap_or_default() as u64;
        let batch = (row >> 56, (row >> 20) & ((1 << 36) - 1));
        if at.start != *next || batch.0 >= PRODUCERS || rows != rows_of(batch.0, batch.1) {
            return Err(format!(
                "rows of nobody at {at:?}, where {next} should begin"
            ));
        }
        *next = at.end;
        if let Some(before) = places.insert(batch, at) {
            return Err(format!("{batch:?} is at {before:?} too"));
        }
    }
    Ok(())
}

/// Reads everything and releases what it has read, until there is nothing more.
fn tier(log: &Log, is_done: &AtomicBool) -> Result<Places, String> {
    let mut places = Places::new();
    let (mut reader, mut next) = (log.read_from(0), 0);
    loop {
        let was_done = is_done.load(Ordering::Acquire);
        read_on(&mut reader, &mut next, &mut places)?;
        log.release(next).map_err(text)?;
        if was_done {
            return match next == log.committed() {
                true => Ok(places),
                false => Err(format!("{next} of {} were read", log.committed())),
            };
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads from wherever the log begins, again and again.
fn look(log: &Log, is_done: &AtomicBool) -> Result<(), String> {
    while !is_done.load(Ordering::Acquire) {
        let mut next = log.first_offset();
        let mut reader = log.read_from(next);
        let seen = read_on(&mut reader, &mut next, &mut Places::new());
        // It may be released in between.
        seen.or_else(|error| match error.contains("no longer in the log") {
            true => Ok(()),
            false => Err(error),
        })?;
    }
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    thread.join().map_err(|_| "a thread panicked".to_owned())?
}

fn everything_at_once(planted: Option<Planted>) -> Result<(), String> {
    let directory = TempDir::new().map_err(|e| e.to_string())?;
    let path = directory.path().to_path_buf();
    within_30_seconds(move || {
        let batches = if std::env::var("ALLUVIUM_SOAK").is_ok() {
            600
        } else {
            200
        };
        let log = Log::open(
            LogOptions {
                planted,
                ..tiny(&path)
            },
            1,
            None,
        )
        .map_err(text)?;
        let is_done = AtomicBool::new(false);
        let (log, is_done) = (&log, &is_done);
        thread::scope(|scope| {
            let produce = |producer| scope.spawn(move || produce(log, producer, batches));
            let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
            let tierer = scope.spawn(move || {
                let tiered = tier(log, is_done);
                // Nobody makes room any more.
                tiered.inspect_err(|_| drop(log.close()))
            });
            let others = [0; 2].map(|_| scope.spawn(move || look(log, is_done)));
            let acknowledged: Vec<_> = producers.into_iter().map(joined).collect();
            is_done.store(true, Ordering::Release);
            others.into_iter().try_for_each(joined)?;
            let read = joined(tierer)?;
            let mut all = Places::new();
            for places in acknowledged {
                all.extend(places?);
            }
            match all == read && all.len() as u64 == PRODUCERS * batches {
                true => Ok(()),
                false => Err(format!(
                    "{} were acknowledged, {} read",
                    all.len(),
                    read.len()
                )),
            }
        })
    })
}

#[test]
fn producers_readers_waiters_and_releases_at_once_lose_nothing() {
    everything_at_once(None).unwrap();
}

#[test]
fn they_notice_frames_that_are_readable_before_they_are_written() {
    let mut noticed = (0..20).map(|_| everything_at_once(Some(Planted::PublishEarly)));
    let at = noticed.position(|noticed| noticed.is_err()).unwrap();
    println!("noticed at the {at}th time");
}

#[test]
fn a_log_that_is_closed_while_many_append_has_what_it_acknowledged() {
    for milliseconds in [0, 1, 2, 5, 10, 20, 40] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().to_path_buf();
        let closed = within_30_seconds(move || close_after(&path, milliseconds));
        closed.unwrap();
    }
}

fn close_after(path: &Path, milliseconds: u64) -> Result<(), String> {
    let unlimited = || LogOptions {
        max_bytes: None,
        ..tiny(path)
    };
    let log = Log::open(unlimited(), 1, None).map_err(text)?;
    let mut acknowledged = Places::new();
    thread::scope(|scope| {
        let produce = |producer| {
            let log = &log;
            scope.spawn(move || produce(log, producer, u64::MAX))
        };
        let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
        thread::sleep(Duration::from_millis(milliseconds));
        log.close().map_err(text)?;
        for producer in producers {
            acknowledged.extend(joined(producer)?);
        }
        Ok::<_, String>(())
    })?;
    if log.durable() != log.committed() {
        return Err(format!(
            "{} of {} are durable",
            log.durable(),
            log.committed()
        ));
    }
    block_on(log.durable_through(log.committed())).map_err(text)?;
    drop(log);
    let log = Log::open(unlimited(), 1, None).map_err(text)?;
    let mut read = Places::new();
    read_on(&mut log.read_from(0), &mut 0, &mut read)?;
    // Whoever had its frame in the log when it was closed was told so.
    match read == acknowledged {
        true => Ok(()),
        false => Err(format!(
            "{} were acknowledged, {} read",
            acknowledged.len(),
            read.len()
        )),
    }
}

/// Wakes somebody who looks at the log right away, as an executor may that polls where it is woken.
struct LookAtOnce(Arc<Log>);

impl Wake for LookAtOnce {
    fn wake(self: Arc<Self>) {
        self.0.shared.is_awaited();
    }
}

#[test]
fn who_is_woken_may_turn_to_the_log_at_once() {
    let directory = TempDir::new().unwrap();
    let log = Arc::new(Log::open(tiny(directory.path()), 1, None).unwrap());
    within_30_seconds(move || {
        let end = log
            .append(&batch_of(1, 1), 1, None)
            .map_err(text)?
            .end_offset;
        let waker = Waker::from(Arc::new(LookAtOnce(Arc::clone(&log))));
        let mut future = pin!(log.durable_through(end));
        let _ = future.as_mut().poll(&mut Context::from_waker(&waker));
        block_on(log.durable_through(end)).map_err(text)?;
        // The keeper's last reference must not be the log's.
        log.close().map_err(text)
    })
    .unwrap();
}
