//! A log whose process is killed at random moments, again and again.
//!
//! The test runs its own binary as the process that is killed (see [`child`]). It appends from four threads and says
//! on a pipe what was acknowledged, once it was. What the log holds afterwards must agree with that.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use arrow_array::{Int64Array, RecordBatch};
use tempfile::TempDir;

use super::append::{Appended, Log};
use super::options::{Durability, LogOptions, WhenFull};
use super::producers::Source;
use super::tests::{Planted, options, schema};

mod known;

use known::Known;

pub(super) const PRODUCERS: u64 = 4;
/// The producer of large batches, in whose time the others are done.
const LARGE: u64 = 0;
/// The producer that sends no sequences, so that nobody knows what it sent before.
const ANONYMOUS: u64 = 2;
/// The producer that is silent for so long that the frames with its batches are released.
const SILENT: u64 = 3;

/// What the child is told.
#[derive(Clone)]
struct Orders {
    directory: PathBuf,
    mode: &'static str,
    planted: Option<Planted>,
    seed: u64,
    /// For each producer the sequence it goes on with.
    next: [u64; PRODUCERS as usize],
}

impl Orders {
    fn options(&self) -> LogOptions {
        let segment_bytes = 256 << 10;
        LogOptions {
            segment_bytes,
            durability: match self.mode {
                "sync" => Durability::Sync,
                "interval" => Durability::Interval(Duration::from_millis(2)),
                _ => Durability::Buffered,
            },
            max_bytes: Some(8 * segment_bytes),
            when_full: WhenFull::Block(Duration::from_secs(60)),
            planted: self.planted,
            ..options(&self.directory)
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(env::current_exe()?);
        let next = self.next.map(|sequence| sequence.to_string()).join(",");
        command
            .args(["--exact", "log::tests_killed::child"])
            .args(["--ignored", "--nocapture"])
            .env("ALLUVIUM_KILLED_DIRECTORY", &self.directory)
            .env("ALLUVIUM_KILLED_MODE", self.mode)
            .env("ALLUVIUM_KILLED_SEED", self.seed.to_string())
            .env("ALLUVIUM_KILLED_NEXT", next)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if self.planted == Some(Planted::PublishEarly) {
            command.env("ALLUVIUM_KILLED_PLANTED", "publish early");
        }
        command.spawn()
    }

    fn received() -> Option<Self> {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let next = env::var("ALLUVIUM_KILLED_NEXT").ok()?;
        let next: Vec<u64> = next.split(',').map(number).collect();
        Some(Self {
            directory: env::var("ALLUVIUM_KILLED_DIRECTORY").ok()?.into(),
            mode: env::var("ALLUVIUM_KILLED_MODE").ok()?.leak(),
            planted: env::var("ALLUVIUM_KILLED_PLANTED")
                .is_ok()
                .then_some(Planted::PublishEarly),
            seed: number(&env::var("ALLUVIUM_KILLED_SEED").ok()?),
            next: next.try_into().ok()?,
        })
    }
}

/// Numbers that look random (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// The rows that a producer sends under a sequence: each says whose it is and which.
pub(super) fn rows_of(producer: u64, sequence: u64) -> Vec<i64> {
    let limit = if producer == LARGE { 12_000 } else { 300 };
    let count = 1 + Random::new(producer ^ sequence << 8).below(limit);
    let first = producer << 56 | sequence << 20;
    (first..first + count).map(|row| row as i64).collect()
}

pub(super) fn batch_of(producer: u64, sequence: u64) -> RecordBatch {
    let column = Int64Array::from(rows_of(producer, sequence));
    RecordBatch::try_new(schema(), vec![Arc::new(column)]).unwrap()
}

pub(super) fn source_of(producer: u64, sequence: u64) -> Option<Source> {
    (producer != ANONYMOUS).then_some(Source { producer, sequence })
}

/// Says something to the parent: one write of less than `PIPE_BUF` bytes is whole or not at all.
fn say(line: &str) {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
    let line = format!("\n{line}\n");
    fs::File::from(stdout).write_all(line.as_bytes()).unwrap();
}

/// The process that is killed. Without orders it does nothing.
#[test]
#[ignore = "run by the tests that kill it"]
fn child() {
    let Some(orders) = Orders::received() else {
        return;
    };
    say("opening");
    let log = match Log::open(orders.options(), 1, None) {
        Ok(log) => log,
        Err(error) => return say(&format!("failed {error}")),
    };
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (log, orders) = (&log, &orders);
            scope.spawn(move || produce(log, orders, producer));
        }
        let mut random = Random::new(orders.seed);
        loop {
            let (first, committed) = (log.first_offset(), log.committed());
            let until = first + random.below(committed - first + 1);
            say(&format!("released {until}"));
            if let Err(error) = log.release(until) {
                say(&format!("failed {error}"));
            }
            thread::sleep(Duration::from_millis(random.below(4)));
        }
    });
}

fn produce(log: &Log, orders: &Orders, producer: u64) {
    let mut random = Random::new(orders.seed ^ producer);
    let mut sequence = orders.next[producer as usize];
    if producer == SILENT && random.below(4) > 0 {
        return;
    }
    loop {
        let source = source_of(producer, sequence);
        let batch = batch_of(producer, sequence);
        let append = || {
            let appended = log.append(&batch, 1, source);
            let appended = appended.inspect_err(|error| say(&format!("failed {error}")));
            appended.unwrap_or_else(|_| {
                loop {
                    thread::park();
                }
            })
        };
        let Appended {
            base_offset,
            end_offset,
            ..
        } = append();
        say(&format!(
            "ack {producer} {sequence} {base_offset} {end_offset}"
        ));
        if source.is_some() && random.below(4) == 0 {
            let again = append();
            if !again.is_duplicate || again.base_offset != base_offset {
                say(&format!("failed to know {producer} {sequence}: {again:?}"));
            }
        }
        sequence += 1;
        if producer == SILENT {
            return;
        }
    }
}

/// Lets the child run, and kills it after a while that begins when it opens the log.
fn run_and_kill(orders: &Orders, known: &mut Known, moment: Duration) -> Result<(), String> {
    let mut child = orders.start().map_err(|e| e.to_string())?;
    let stdout = child.stdout.take().ok_or("no pipe")?;
    let (opening, opened) = mpsc::channel();
    let listener = thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let mut heard = Vec::new();
        for line in lines {
            if line == "opening" {
                let _ = opening.send(());
            }
            heard.push(line);
        }
        heard
    });
    let is_there = opened.recv_timeout(Duration::from_secs(30));
    thread::sleep(moment);
    let ended = child.try_wait().map_err(|e| e.to_string())?;
    child.kill().map_err(|e| e.to_string())?;
    child.wait().map_err(|e| e.to_string())?;
    let lines = listener.join().map_err(|_| "the listener panicked")?;
    lines.iter().try_for_each(|line| known.hear(line))?;
    match (is_there, ended) {
        (Ok(()), None) => Ok(()),
        (_, ended) => Err(format!("the child ended by itself ({ended:?}): {lines:?}")),
    }
}

/// Kills a log's process that many times; in between everything must be as it was promised.
fn kill_again_and_again(
    directory: &Path,
    mode: &'static str,
    times: u64,
    planted: Option<Planted>,
) -> Result<Known, String> {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed) + u64::from(std::process::id());
    let mut random = Random::new(seed);
    let mut known = Known::default();
    for time in 0..times {
        let mut next = known.acknowledged;
        // Without a sequence in the log what may be there already can't be sent again: on to the one behind it.
        next[ANONYMOUS as usize] += time;
        let orders = Orders {
            directory: directory.to_path_buf(),
            mode,
            planted,
            seed: random.below(u64::MAX >> 11),
            next,
        };
        let said = |error| format!("seed {seed}, kill {time}: {error}");
        let moment = Duration::from_micros(random.below(60_000));
        run_and_kill(&orders, &mut known, moment).map_err(said)?;
        // Every other time it is the next child that finds the log as the kill left it.
        let opened = match time % 2 {
            0 => Log::open(orders.options(), 1, None),
            _ => Log::open_read_only(orders.options()),
        };
        let log = opened.map_err(|error| said(error.to_string()))?;
        known.check(&log).map_err(said)?;
    }
    Ok(known)
}

fn every_acknowledged_batch_is_there_once(mode: &'static str) {
    let times = match env::var("ALLUVIUM_SOAK") {
        Ok(_) => 170,
        Err(_) => 34,
    };
    let directory = TempDir::new().unwrap();
    let known = kill_again_and_again(directory.path(), mode, times, None).unwrap();
    println!(
        "{mode}: {times} kills, {} acknowledgements, {} batches survived without one, {} offsets released",
        known.acknowledgements, known.survivors, known.released
    );
    assert!(known.acknowledgements as u64 > times && known.released > 0);
}

#[test]
fn every_acknowledged_batch_of_a_buffered_log_that_is_killed_is_there_once() {
    every_acknowledged_batch_is_there_once("buffered");
}

#[test]
fn every_acknowledged_batch_of_a_log_that_syncs_at_intervals_and_is_killed_is_there_once() {
    every_acknowledged_batch_is_there_once("interval");
}

#[test]
fn every_acknowledged_batch_of_a_log_that_syncs_and_is_killed_is_there_once() {
    every_acknowledged_batch_is_there_once("sync");
}

#[test]
fn killing_notices_frames_that_are_readable_before_they_are_written() {
    let directory = TempDir::new().unwrap();
    let planted = Some(Planted::PublishEarly);
    let noticed = kill_again_and_again(directory.path(), "buffered", 400, planted);
    println!("{}", noticed.unwrap_err());
}
