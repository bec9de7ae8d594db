//! What failing disks do to a log: nothing that was acknowledged is lost, nobody hangs, and nothing is made up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rustix::io::Errno;
use tempfile::TempDir;

use super::disk::{Fault, Op};
use super::simulated::Simulated;
use super::{kill, numbers, open, options, read_all, segments};
use crate::error::{Error, Result};
use crate::log::append::Log;
use crate::log::options::Durability;

/// A log on a disk that may fail.
struct Failing {
    directory: TempDir,
    disk: Simulated,
    log: Log,
}

impl Failing {
    fn new(durability: Durability) -> Self {
        let directory = TempDir::new().unwrap();
        let disk = Simulated::over(directory.path(), 1);
        let mut options = options(directory.path());
        options.storage = Arc::new(disk.clone());
        options.durability = durability;
        let log = Log::open(options, 1, None).unwrap();
        Self {
            directory,
            disk,
            log,
        }
    }

    /// Appends a thousand rows whose values are their offsets, as long as one thread does.
    fn append(&self) -> Result<()> {
        append(&self.log)
    }

    /// Appends until that fails; why.
    fn append_until_it_fails(&self) -> Error {
        let failures = (0..100).find_map(|_| self.append().err());
        failures.expect("a hundred appends that went well")
    }

    /// Opens the log anew, on a disk that is well; what it holds.
    fn reopened(self) -> Vec<i64> {
        drop(self.log);
        read_all(&open(self.directory.path()).unwrap()).unwrap()
    }
}

fn append(log: &Log) -> Result<()> {
    let start = log.committed() as i64;
    log.append(&numbers(start..start + 1000), 1, None).map(drop)
}

fn rows(count: u64) -> Vec<i64> {
    (0..count as i64).collect()
}

fn is_poisoned(error: &Error) -> bool {
    matches!(error, Error::Poisoned { .. })
}

const ALWAYS: u64 = u64::MAX;

#[test]
fn short_writes_and_interrupted_calls_are_invisible() {
    let failing = Failing::new(Durability::Sync);
    for op in [Op::Write, Op::Allocate, Op::SyncData] {
        failing.disk.inject(op, 1, 100, Fault::Fails(Errno::INTR));
    }
    failing.disk.inject(Op::Write, 0, ALWAYS, Fault::IsShort);
    (0..30).for_each(|_| failing.append().unwrap());
    failing.log.release(20_000).unwrap();
    let first = failing.log.first_offset();
    assert!(first > 0);
    assert_eq!(failing.reopened(), rows(30_000)[first as usize..]);
}

#[test]
fn a_disk_without_room_for_another_segment_refuses_an_append_that_can_be_repeated() {
    let failing = Failing::new(Durability::Buffered);
    let full = Fault::Fails(Errno::NOSPC);
    failing.disk.inject(Op::Allocate, 0, ALWAYS, full);
    for _ in 0..2 {
        let error = failing.append_until_it_fails();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
    let before = failing.log.committed();
    assert_eq!(read_all(&failing.log).unwrap(), rows(before));
    assert_eq!(
        segments(failing.directory.path()).len(),
        1,
        "nothing is left"
    );
    failing.disk.mend();
    failing.append().unwrap();
    assert_eq!(failing.reopened(), rows(before + 1000));
}

#[test]
fn a_failure_to_make_a_segment_ahead_of_need_is_nobodys_when_there_is_room_in_time() {
    let failing = Failing::new(Durability::Buffered);
    let full = Fault::Fails(Errno::NOSPC);
    failing.disk.inject(Op::Allocate, 0, 1, full);
    for _ in 0..4 {
        failing.append().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    (0..10).for_each(|_| failing.append().unwrap());
    assert_eq!(failing.reopened(), rows(14_000));
}

#[test]
fn a_name_that_cannot_be_given_refuses_an_append_that_can_be_repeated() {
    let failing = Failing::new(Durability::Buffered);
    failing
        .disk
        .inject(Op::Rename, 0, 1, Fault::Fails(Errno::IO));
    let error = failing.append_until_it_fails();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    (0..10).for_each(|_| failing.append().unwrap());
    let committed = failing.log.committed();
    assert_eq!(failing.reopened(), rows(committed));
}

#[test]
fn a_failed_write_or_sync_stops_the_log_and_costs_nothing_that_was_acknowledged() {
    for (op, fault) in [
        (Op::Write, Fault::Tears(Errno::IO)),
        (Op::Write, Fault::Fails(Errno::NOSPC)),
        (Op::SyncData, Fault::Fails(Errno::IO)),
        (Op::SyncDirectory, Fault::Fails(Errno::IO)),
    ] {
        let failing = Failing::new(Durability::Sync);
        // Not so many that another segment is made meanwhile, which would take the fault.
        failing.append().unwrap();
        failing.disk.inject(op, 0, 1, fault);
        failing.append_until_it_fails();
        let durable = failing.log.durable();
        assert!(is_poisoned(&failing.append().unwrap_err()), "{op:?}");
        let again = failing.log.sync_through(failing.log.committed() + 1);
        assert!(is_poisoned(&again.unwrap_err()), "{op:?}");
        let found = failing.reopened();
        assert!(found.len() as u64 >= durable, "{op:?}");
        assert_eq!(found, rows(found.len() as u64), "{op:?}");
    }
}

#[test]
fn a_panic_between_reserving_and_publishing_stops_the_log_and_leaves_no_hole() {
    let failing = Failing::new(Durability::Buffered);
    failing.append().unwrap();
    failing.disk.inject(Op::Write, 0, 1, Fault::Panics);
    let caught = catch_unwind(AssertUnwindSafe(|| failing.append()));
    assert!(caught.is_err());
    assert!(is_poisoned(&failing.append().unwrap_err()));
    assert_eq!(failing.reopened(), rows(1000));
}

#[test]
fn of_four_producers_with_one_that_fails_none_hangs_and_none_loses_what_was_acknowledged() {
    for (op, fault) in [
        (Op::Write, Fault::Fails(Errno::IO)),
        (Op::Write, Fault::Panics),
        (Op::SyncData, Fault::Fails(Errno::IO)),
    ] {
        let failing = Failing::new(Durability::Sync);
        failing.disk.inject(Op::Write, 10, 5, Fault::IsSlow(5));
        failing.disk.inject(op, 10, 1, fault);
        let work = || {
            let mut acknowledged = Vec::new();
            let append = || failing.log.append(&numbers(0..100), 1, None);
            while let Ok(Ok(appended)) = catch_unwind(AssertUnwindSafe(append)) {
                acknowledged.push(appended.end_offset);
            }
            acknowledged.into_iter().max().unwrap_or(0)
        };
        let acknowledged = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            let ends = threads.into_iter().map(|t| t.join().unwrap());
            ends.max().unwrap()
        });
        let error = failing.append().unwrap_err();
        assert!(is_poisoned(&error), "{op:?} {fault:?}: {error:?}");
        assert!(acknowledged > 0);
        let found = failing.reopened().len() as u64;
        assert!(found >= acknowledged && found.is_multiple_of(100));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_future_that_waits_for_durability_learns_that_the_log_stopped() {
    let failing = Failing::new(Durability::Buffered);
    failing.append().unwrap();
    failing
        .disk
        .inject(Op::SyncData, 0, 1, Fault::Fails(Errno::IO));
    let mut durable = std::pin::pin!(failing.log.durable_through(1000));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let outcome = loop {
        match durable.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => break outcome,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(5)),
        }
    };
    assert!(is_poisoned(&outcome.unwrap_err()));
}

/// Fails a release once, then releases and appends more, and opens the log anew.
fn failing_release(op: Op, recycled_segments: usize) -> (bool, Vec<i64>, u64) {
    let directory = TempDir::new().unwrap();
    let disk = Simulated::over(directory.path(), 1);
    let mut options = options(directory.path());
    options.storage = Arc::new(disk.clone());
    options.recycled_segments = recycled_segments;
    let log = Log::open(options, 1, None).unwrap();
    (0..40).for_each(|_| append(&log).unwrap());
    log.release(0).unwrap();
    disk.inject(op, 0, 1, Fault::Fails(Errno::IO));
    log.release(30_000).unwrap_err();
    let goes_on = log.release(30_000).is_ok() && append(&log).is_ok();
    kill(log);
    let log = open(directory.path()).unwrap();
    (goes_on, read_all(&log).unwrap(), log.first_offset())
}

#[test]
fn a_segment_that_cannot_go_is_the_first_one_still_and_those_behind_it_stay() {
    for (op, recycled) in [(Op::Rename, 4), (Op::Remove, 0)] {
        let (goes_on, found, first) = failing_release(op, recycled);
        assert!(goes_on, "{op:?}");
        assert_eq!(found, rows(41_000)[first as usize..], "{op:?}");
    }
}

#[test]
fn a_log_stops_when_nobody_knows_whether_a_segments_name_is_gone() {
    let (goes_on, found, first) = failing_release(Op::SyncDirectory, 4);
    assert!(!goes_on);
    assert_eq!(found, rows(40_000)[first as usize..]);
}

/// Checks that a log in a directory holds so many rows.
fn holds(directory: &Path, count: u64) {
    let log = open(directory).unwrap();
    assert_eq!(read_all(&log).unwrap(), rows(count));
}

#[test]
fn a_log_on_a_full_device_says_so() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut slices = [std::io::IoSlice::new(b"bytes")];
    let error = crate::log::storage::write_all_at(&full.unwrap(), &mut slices, 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    let directory = TempDir::new().unwrap();
    append(&open(directory.path()).unwrap()).unwrap();
    holds(directory.path(), 1000);
}
