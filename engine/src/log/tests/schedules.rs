//! The log under a model checker, which `make model` runs. At each lock, atomic and call of the disk Shuttle decides
//! which thread goes on, at random or by PCT (few changes of mind, at the worst of moments), and finds whoever hangs.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shuttle::rand::RngCore;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::{self, ScopedJoinHandle};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::simulated::Simulated;
use super::{Planted, SEGMENT_BYTES, Values, memory_directory, numbers, options, schema};
use crate::error::Error;
use crate::log::append::{Appended, Log};
use crate::log::options::{Durability, LogOptions};
use crate::log::reader::LogReader;

mod durable;
mod failing;
mod reading;
mod space;
mod stepped;

use stepped::Stepped;

/// More than the files of one schedule take.
const ROOM_BYTES: u64 = 64 << 20;
/// As many bytes as two batches fill.
const TINY_SEGMENT_BYTES: u64 = 12 << 10;
const BATCH_ROWS: i64 = 200;
/// More threads would leave too few schedules in which the bugs are.
const PRODUCERS: i64 = 2;
/// In each of its schedules PCT changes its mind once less than this.
const PCT_DEPTH: usize = 4;

/// Where batches are, by their first row.
type Places = BTreeMap<i64, Range<u64>>;

/// What a model is made of.
#[derive(Clone)]
struct Setup {
    planted: Option<Planted>,
    durability: Durability,
    segment_bytes: u64,
    max_segments: Option<u64>,
}

impl Setup {
    /// A log in which everything fits into one segment.
    fn new() -> Self {
        Self {
            planted: None,
            durability: Durability::Buffered,
            segment_bytes: SEGMENT_BYTES,
            max_segments: None,
        }
    }

    /// A log that goes on to another segment every two batches.
    fn rolling() -> Self {
        Self {
            segment_bytes: TINY_SEGMENT_BYTES,
            ..Self::new()
        }
    }

    fn planted(self, fault: Planted) -> Self {
        Self {
            planted: Some(fault),
            ..self
        }
    }
}

/// A log in a directory of its own, on a disk that every call of is a step.
struct Model {
    directory: PathBuf,
    disk: Simulated,
    log: Log,
}

impl Model {
    fn new(directory: &Path, setup: &Setup) -> Result<Self, String> {
        let seed = shuttle::rand::thread_rng().next_u64();
        let mut disk = Simulated::over(directory, seed);
        disk.planted = setup.planted;
        let log = LogOptions {
            segment_bytes: setup.segment_bytes,
            durability: setup.durability,
            max_bytes: setup.max_segments.map(|most| most * setup.segment_bytes),
            recycled_segments: 1,
            storage: Arc::new(Stepped(disk.clone())),
            planted: setup.planted,
            ..options(directory)
        };
        Ok(Self {
            directory: directory.to_path_buf(),
            log: Log::open(log, 1, None).map_err(text)?,
            disk,
        })
    }

    /// Closes the log and opens it anew; what it holds.
    fn reopened(self) -> Result<Places, String> {
        let segment_bytes = self.log.shared.options.segment_bytes;
        self.log.close().map_err(text)?;
        drop(self.log);
        held_in(&self.directory, segment_bytes).map(|(held, _)| held)
    }
}

/// What a log holds that was left in a directory, and where it ends.
fn held_in(directory: &Path, segment_bytes: u64) -> Result<(Places, u64), String> {
    let options = LogOptions {
        segment_bytes,
        ..options(directory)
    };
    let log = Log::open(options, 1, None).map_err(text)?;
    let mut held = Places::new();
    read_on(&mut log.read_from(log.first_offset()), &mut held)?;
    Ok((held, log.committed()))
}

fn text(error: Error) -> String {
    error.to_string()
}

/// A number below a limit, which is part of the schedule.
fn any_below(limit: u64) -> u64 {
    shuttle::rand::thread_rng().next_u64() % limit
}

fn batch(producer: i64, sequence: i64) -> arrow_array::RecordBatch {
    let first = first_row(producer, sequence);
    numbers(first..first + BATCH_ROWS)
}

fn first_row(producer: i64, sequence: i64) -> i64 {
    (producer << 32) + sequence * BATCH_ROWS
}

fn at(appended: &Appended) -> Range<u64> {
    appended.base_offset..appended.end_offset
}

/// Appends batches, as long as that goes well; where they are, and why it stopped.
fn produce(log: &Log, producer: i64, batches: i64) -> (Places, Option<Error>) {
    let mut places = Places::new();
    for sequence in 0..batches {
        match log.append(&batch(producer, sequence), 1, None) {
            Ok(appended) => places.insert(first_row(producer, sequence), at(&appended)),
            Err(error) => return (places, Some(error)),
        };
    }
    (places, None)
}

/// As [`produce`], all of them.
fn produce_all(log: &Log, producer: i64, batches: i64) -> Result<Places, String> {
    match produce(log, producer, batches) {
        (places, None) => Ok(places),
        (_, Some(error)) => Err(text(error)),
    }
}

/// Reads on to where the log ends now. Every frame must go on where the last ended, and be somebody's batch.
fn read_on(reader: &mut LogReader, places: &mut Places) -> Result<(), String> {
    let mut next = places.values().map(|at| at.end).max();
    while let Some(frame) = reader.next_frame().map_err(text)? {
        let at = frame.header.base_offset..frame.header.end_offset;
        let rows = frame.batch(schema()).map_err(text)?;
        let rows = rows.column(0).as_primitive_values();
        let first = rows.first().copied().unwrap_or(-1);
        if next.is_some_and(|next| at.start != next) {
            return Err(format!("{at:?} does not go on at {next:?}"));
        }
        if rows != (first..first + BATCH_ROWS).collect::<Vec<_>>() {
            return Err(format!("rows of nobody at {at:?}"));
        }
        next = Some(at.end);
        if let Some(before) = places.insert(first, at) {
            return Err(format!("what is at {before:?} comes again"));
        }
    }
    Ok(())
}

/// Models do all in threads that they join: whoever opens a scope may wait for nothing else in it, as Shuttle wakes it
/// when the scope's last thread ends, whatever it waits for.
fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    thread.join().map_err(|_| "a thread panicked".to_owned())?
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {found:?}, not {wanted:?}")),
    }
}

/// Whether everything that was acknowledged is where it was said to be.
fn includes(what: &str, held: &Places, acknowledged: &Places) -> Result<(), String> {
    let is_there = |(first, at): (&i64, &Range<u64>)| held.get(first) == Some(at);
    match acknowledged.iter().all(is_there) {
        true => Ok(()),
        false => Err(format!("{what}: {held:?}, but said {acknowledged:?}")),
    }
}

/// Runs a model again and again, in a new directory each time, until it fails.
fn run(
    scheduler: impl Scheduler + 'static,
    model: impl Fn(&Path) -> Result<(), String> + Send + Sync + 'static,
) -> Result<(), String> {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(100_000);
    config.silence_warnings = true;
    // The seed is enough to see it again.
    config.failure_persistence = FailurePersistence::None;
    let directory = memory_directory(ROOM_BYTES);
    let root = directory.path().to_path_buf();
    let times = AtomicU64::new(0);
    let runs = move || {
        let time = times.fetch_add(1, Ordering::Relaxed);
        let directory = root.join(time.to_string());
        fs::create_dir(&directory).unwrap();
        let result = model(&directory);
        let _ = fs::remove_dir_all(&directory);
        // Nothing is left that would have to be dropped.
        result.unwrap_or_else(|reason| panic!("{reason}"));
    };
    let runner = Runner::new(scheduler, config);
    let result = catch_unwind(AssertUnwindSafe(|| runner.run(runs)));
    result.map(drop).map_err(|reason| message(&*reason))
}

fn message(reason: &(dyn Any + Send)) -> String {
    let text = reason.downcast_ref::<String>().cloned();
    text.or_else(|| reason.downcast_ref::<&str>().map(|text| text.to_string()))
        .unwrap_or_else(|| "it panicked".to_owned())
}

/// The same in every run, but for soaks. The variable that is named takes its place.
fn seed() -> u64 {
    let seed = match std::env::var("ALLUVIUM_SOAK") {
        Ok(_) => uuid::Uuid::new_v4().as_u64_pair().0,
        Err(_) => 0,
    };
    println!("SHUTTLE_RANDOM_SEED={seed}");
    seed
}

/// A model, and what of it is asked.
type Check = fn(&Path, &Setup) -> Result<(), String>;

/// Runs a model under schedules of both schedulers; what it fails with.
fn explore(setup: Setup, model: Check, schedules: usize) -> Result<(), String> {
    let again = setup.clone();
    let random = RandomScheduler::new_from_seed(seed(), schedules);
    run(random, move |path| model(path, &again))?;
    let pct = PctScheduler::new_from_seed(seed(), PCT_DEPTH, schedules);
    run(pct, move |path| model(path, &setup))
}

/// Fails when a model does under any of the schedules.
fn holds(setup: Setup, model: Check) {
    let number = std::env::var("ALLUVIUM_SCHEDULES").ok();
    let number = number.map_or(200, |number| number.parse().unwrap());
    explore(setup, model, number).unwrap();
}

/// Fails unless a model does, which has a planted bug; what it fails with.
fn is_noticed(setup: Setup, model: Check) -> String {
    explore(setup, model, 2000).unwrap_err()
}
