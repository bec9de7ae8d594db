//! `alluvium bench`.

mod histogram;
mod lanes;
mod machine;
mod place;
mod report;
mod samples;
mod turn;

use std::path::PathBuf;
use std::time::Duration;

use alluvium::Durability;
use indicatif::ProgressBar;

use crate::args::{parse_bytes, parse_durability};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, bytes, plain, time_bar};
use crate::signals::Stop;
use lanes::{AlluviumLane, RawLane, SEGMENT_BYTES};
use machine::Machine;
use place::Place;
use report::{Lane, Report, Share};
use samples::{ROW_BYTES, Sample, samples};
use turn::{Append, Length, Tally};

/// Measure how fast appends are on this disk, beside the raw limit
///
/// Two lanes take short turns in the same directory, so that noise hits both: Alluvium appends to a
/// new table, and the same bytes are written by plain pwrite into preallocated files of a segment's
/// size (128 MiB), with as many threads. With sync each pwrite is followed by fdatasync; with
/// buffered and interval it is not, so the share with interval tells what its syncing costs.
///
/// STORE-DIR says where to measure. It may be missing, empty, a store or any other directory: what
/// is there is not touched. A hidden directory .alluvium-bench-* is made in it and removed at the
/// end, also after an error, Ctrl-C or SIGTERM (only kill -9 and a second Ctrl-C leave it, and it can
/// be deleted then).
///
/// At most 2 GiB of disk are taken at a time, or three batches where those are more; that must be
/// free. Memory holds 128 MiB of batches at most, or two.
///
/// A row has 32 bytes: a time (int64), a value (float64) and 16 random bytes. Latencies are those of
/// single appends, as a producer sees them, and at most 1/64 too large.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// Where to measure; made for the time of the run when it is missing
    #[arg(value_name = "STORE-DIR")]
    directory: PathBuf,
    /// How large a batch is, from 1KiB to 1GiB; rounded down to whole rows
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = parse_batch)]
    batch: u64,
    /// How many threads append at the same time, from 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    producers: u32,
    /// What an acknowledged append survives, as for create: buffered, interval, interval=250ms or
    /// sync
    #[arg(long, value_name = "MODE", default_value = "interval", value_parser = parse_durability)]
    durability: Durability,
    /// How long to measure, half of it for each lane; making and removing the files comes on top
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  alluvium bench ./store
  alluvium bench /mnt/disk --durability sync --producers 8 --batch 64KiB
  alluvium bench /mnt/disk --seconds 60 --json";

/// What a turn writes at most, unless two batches are more. With what a segment may leave unused, as a
/// batch does not fit any more, that stays below `DISK_BYTES`.
const TURN_BYTES: u64 = 896 << 20;

/// What a turn takes of the disk at most, unless three batches are more.
const DISK_BYTES: u64 = 2 << 30;

/// The longest turn.
const TURN_MAX: Duration = Duration::from_secs(1);

/// How many turns a run has at least, those of both lanes.
const TURNS_MIN: u32 = 8;

impl Args {
    /// Measures, and prints what was found.
    pub(crate) fn run(self) -> Outcome {
        let stop = Stop::listen()?;
        let batch_bytes = self.batch / ROW_BYTES * ROW_BYTES;
        let place = Place::make(&self.directory, DISK_BYTES.max(3 * batch_bytes))?;
        let machine = Machine::of(place.within());
        let directory = place.within().display().to_string();
        warn(&machine, &directory);
        let samples = samples(batch_bytes / ROW_BYTES)
            .map_err(|error| Failure::of("cannot make the batches", &error))?;
        let run = Run {
            args: &self,
            place: &place,
            samples: &samples,
            stop: &stop,
            length: self.length(batch_bytes),
            bar: time_bar(Duration::from_secs(self.seconds.into())),
        };
        let pairs = run.pairs();
        run.bar.finish_and_clear();
        // Before anything is printed: whoever reads it may leave early.
        let removed = place.remove();
        let pairs = pairs?;
        removed?;

        let report = self.report(machine, directory, batch_bytes, &pairs);
        let mut output = Output::new();
        match self.json {
            true => report.print_json(&mut output)?,
            false => report.print(&mut output)?,
        }
        output.flush()
    }

    /// How long a turn is.
    fn length(&self, batch_bytes: u64) -> Length {
        let time = Duration::from_secs(self.seconds.into()) / TURNS_MIN;
        Length {
            producers: self.producers as usize,
            time: time.min(TURN_MAX),
            appends: (TURN_BYTES / batch_bytes).max(2),
        }
    }

    fn report(
        &self,
        machine: Machine,
        directory: String,
        batch_bytes: u64,
        pairs: &[(Tally, Tally)],
    ) -> Report {
        let (mut alluvium, mut raw) = (Tally::new(), Tally::new());
        for (one, other) in pairs {
            alluvium.add(one);
            raw.add(other);
        }
        let operation = match self.durability {
            Durability::Sync => "raw pwrite and fdatasync",
            _ => "raw pwrite",
        };
        Report {
            directory,
            machine,
            optimized: !cfg!(debug_assertions),
            durability: name_of(self.durability),
            producers: self.producers,
            batch_bytes,
            batch_rows: batch_bytes / ROW_BYTES,
            segment_bytes: SEGMENT_BYTES,
            turns: pairs.len(),
            share: Share::of(pairs, &alluvium, &raw),
            alluvium: Lane::of("append", &alluvium),
            raw: Lane::of(operation, &raw),
        }
    }
}

/// The lanes' turns.
struct Run<'a> {
    args: &'a Args,
    place: &'a Place,
    samples: &'a [Sample],
    stop: &'a Stop,
    length: Length,
    bar: ProgressBar,
}

impl Run<'_> {
    /// Measures in pairs of turns until it took long enough.
    fn pairs(&self) -> Outcome<Vec<(Tally, Tally)>> {
        // The first ones warm up: code and memory are touched for the first time.
        let warm = Length {
            time: self.length.time / 4,
            ..self.length
        };
        self.pair(warm, true)?;
        let time = Duration::from_secs(self.args.seconds.into());
        let mut measured = Duration::ZERO;
        let mut pairs = Vec::new();
        while measured < time {
            // In turn, so that neither always follows the other.
            let pair = self.pair(self.length, pairs.len().is_multiple_of(2))?;
            let (alluvium, raw) = &pair;
            measured += alluvium.time + raw.time;
            self.bar
                .set_position(u64::try_from(measured.as_millis()).unwrap_or(u64::MAX));
            let rate = |tally: &Tally| bytes(tally.rate(tally.bytes) as u64);
            let (alluvium, raw) = (rate(alluvium), rate(raw));
            self.bar
                .set_message(format!("alluvium {alluvium}/s, raw {raw}/s"));
            pairs.push(pair);
        }
        Ok(pairs)
    }

    /// Alluvium's turn and the raw one.
    fn pair(&self, length: Length, raw_first: bool) -> Outcome<(Tally, Tally)> {
        if raw_first {
            let raw = self.raw(length)?;
            return Ok((self.alluvium(length)?, raw));
        }
        Ok((self.alluvium(length)?, self.raw(length)?))
    }

    fn alluvium(&self, length: Length) -> Outcome<Tally> {
        let lane = AlluviumLane::open(self.place.path("store"), self.args.durability)?;
        let tally = self.turn(length, &|sample| lane.append(sample));
        let closed = lane.close();
        let tally = tally?;
        closed.map(|()| tally)
    }

    fn raw(&self, length: Length) -> Outcome<Tally> {
        let bytes = self.samples.first().map_or(0, |sample| sample.bytes.len());
        let sync = self.args.durability == Durability::Sync;
        let lane = RawLane::open(self.place.path("raw"), bytes as u64, sync)?;
        let tally = self.turn(length, &|sample| lane.append(sample));
        let closed = lane.close();
        let tally = tally?;
        closed.map(|()| tally)
    }

    fn turn(&self, length: Length, append: Append<'_>) -> Outcome<Tally> {
        let tally = turn::run(length, self.samples, self.stop, append)?;
        match self.stop.asked() {
            true => Err(Failure::new("interrupted; what was written is removed")),
            false => Ok(tally),
        }
    }
}

/// Tells what makes the figures worth less than they seem.
fn warn(machine: &Machine, directory: &str) {
    if cfg!(debug_assertions) {
        eprintln!(
            "alluvium: this build is not optimized, its figures say nothing about Alluvium; build it with --release"
        );
    }
    if machine.is_memory() {
        eprintln!(
            "alluvium: {} is in memory, no disk is measured",
            plain(directory)
        );
    }
}

/// Reads a batch's size.
fn parse_batch(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        size if (1 << 10..=1 << 30).contains(&size) => Ok(size),
        size => Err(format!("{size} bytes is not between 1KiB and 1GiB")),
    }
}

/// A durability as it is written on the command line.
fn name_of(durability: Durability) -> String {
    match durability {
        Durability::Buffered => "buffered".to_owned(),
        Durability::Interval(interval) => {
            format!("interval={}", humantime::format_duration(interval)).replace(' ', "")
        }
        Durability::Sync => "sync".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_from_a_kibibyte_to_a_gibibyte() {
        assert_eq!(parse_batch("1KiB"), Ok(1024));
        assert_eq!(parse_batch("1GiB"), Ok(1 << 30));
        assert_eq!(parse_batch("64KB"), Ok(64_000));
        for wrong in ["1023", "2GiB", "0", "much"] {
            assert!(parse_batch(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_durability_is_named_as_it_is_given() {
        for name in ["buffered", "interval=250ms", "interval=1s500ms", "sync"] {
            assert_eq!(name_of(parse_durability(name).unwrap()), name);
        }
    }
}
