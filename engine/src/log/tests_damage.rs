//! A log whose files are damaged: torn, flipped, renamed, mixed up. What was durable is reported, never silently cut; what
//! was not is cut where a frame begins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use uuid::Uuid;

use super::append::Log;
use super::block::{BLOCK_BYTES, LogKind};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader};
use super::options::LogOptions;
use super::producers::Source;
use super::segment::{FRAMES_START, Segment};
use super::tests::{Values, kill, numbers, options, schema, segments};
use super::tests_disk::Disk;
use crate::error::{Error, Result};

mod files;

type Opener = fn(&Path) -> Result<Log>;

fn small(directory: &Path) -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        storage: Disk::unsynced(),
        ..options(directory)
    }
}

fn open(directory: &Path) -> Result<Log> {
    Log::open(small(directory), 1, None)
}

/// Opens as if it were asked to cut, which it then does whatever is damaged: the fault to be noticed.
fn open_cutting(directory: &Path) -> Result<Log> {
    Log::open(small(directory), 1, Some(u64::MAX >> 1))
}

/// A frame of the log, and where it lies.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    position: u64,
    header: FrameHeader,
    is_sealed: bool,
}

impl Place {
    fn end(&self) -> u64 {
        self.position + self.header.frame_bytes()
    }
}

/// The files of a log, what is in them, and where to damage them.
struct Specimen {
    directory: TempDir,
    files: BTreeMap<PathBuf, Vec<u8>>,
    places: Vec<Place>,
    first: u64,
    /// Offsets below are known to be durable.
    durable: u64,
    /// Rows from the first offset on.
    rows: Vec<i64>,
}

/// Appends ten rows, which are their offsets.
fn append(log: &Log, source: Option<Source>) {
    let next = log.committed() as i64;
    log.append(&numbers(next..next + 10), 1, source).unwrap();
}

fn source(producer: u64, sequence: u64) -> Option<Source> {
    Some(Source { producer, sequence })
}

impl Specimen {
    /// Sealed segments behind released ones, and one with barriers, frames that are known to be durable and three that
    /// are not. Producer 7 is known from roll calls only.
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let log = open(directory.path()).unwrap();
        append(&log, source(7, 1));
        for sequence in 0..65 {
            append(&log, source(8, sequence).filter(|_| sequence % 3 == 0));
        }
        log.release(250).unwrap();
        append(&log, source(8, 100));
        log.sync_through(log.committed()).unwrap();
        append(&log, None);
        drop(log);
        let log = open(directory.path()).unwrap();
        append(&log, source(9, 1));
        append(&log, source(9, 2));
        log.sync_through(log.committed()).unwrap();
        for _ in 0..3 {
            append(&log, None);
        }
        kill(log);
        Self::of(directory)
    }

    fn of(directory: TempDir) -> Self {
        let paths = segments(directory.path()).into_iter();
        let files = paths.filter(|path| path.extension().is_some_and(|e| e == "seg"));
        let files = files.map(|path| (path.clone(), fs::read(path).unwrap()));
        let log = Log::open_read_only(small(directory.path())).unwrap();
        let places = log
            .shared
            .segments
            .read()
            .iter()
            .flat_map(places_of)
            .collect();
        let (first, durable) = (log.first_offset(), log.durable());
        Self {
            files: files.collect(),
            places,
            first,
            durable,
            rows: (first as i64..log.committed() as i64).collect(),
            directory,
        }
    }

    /// Writes the files as they were, but for what is put in place of one.
    fn write(&self, path: &Path, bytes: &[u8]) {
        for left in segments(self.directory.path()) {
            fs::remove_file(left).unwrap();
        }
        for (other, whole) in self.files.iter().filter(|(other, _)| *other != path) {
            fs::write(other, whole).unwrap();
        }
        fs::write(path, bytes).unwrap();
    }

    fn flip(&self, path: &Path, position: u64) {
        let mut bytes = self.files[path].clone();
        bytes[position as usize] ^= 1 << (position % 8);
        self.write(path, &bytes);
    }

    /// The rows, the rows' end in the undamaged log being one where a frame ends; and what is known of producers.
    fn read(&self, open: Opener) -> Result<(Vec<i64>, Option<u64>)> {
        let log = open(self.directory.path())?;
        let mut rows = Vec::new();
        let mut reader = log.read_from(log.first_offset());
        while let Some(frame) = reader.next_frame()? {
            rows.extend(frame.batch(schema())?.column(0).as_primitive_values());
        }
        Ok((rows, log.last_sequence(7)))
    }

    /// Whether these rows are what may be left: all that is durable, and no part of a frame.
    fn check_rows(&self, rows: &[i64]) -> Result<(), String> {
        let end = self.first + rows.len() as u64;
        match self.rows.starts_with(rows) && end >= self.durable && rows.len().is_multiple_of(10) {
            true => Ok(()),
            false => Err(format!("rows until {end}, {} were durable", self.durable)),
        }
    }

    /// Damages a byte of a frame, and compares what is read then with what was promised.
    fn check_flip(&self, open: Opener, place: &Place, position: u64) -> Result<(), String> {
        self.flip(&place.path, position);
        let at = format!("byte {position} of {}", place.path.display());
        let header = &place.header;
        let is_durable = place.is_sealed || header.end_offset <= self.durable;
        match self.read(open) {
            // A barrier, or a roll call with no rows before it that count, is itself all that is lost.
            Ok(_) if is_durable && header.row_count > 0 => Err(format!("{at} is not noticed")),
            Ok((rows, Some(1))) => self.check_rows(&rows),
            Ok(_) => Err(format!("{at}: a producer is forgotten")),
            Err(Error::Corrupt {
                path,
                position: found,
                ..
            }) if is_durable && path == place.path && found == place.position => Ok(()),
            Err(error) => Err(format!("{at}: {error}")),
        }
    }
}

fn places_of(segment: &Arc<Segment>) -> Vec<Place> {
    let mut position = FRAMES_START;
    let mut places = Vec::new();
    while let Some(header) = segment.frame_header(position) {
        places.push(Place {
            path: segment.path.clone(),
            position,
            header,
            is_sealed: segment.footer().is_some(),
        });
        position += header.frame_bytes();
    }
    places
}

/// The frames to damage: of each file the first and the last of each kind, and whatever is in the last.
fn sampled(specimen: &Specimen) -> Vec<Place> {
    let mut kinds: BTreeMap<(PathBuf, u16), Vec<Place>> = BTreeMap::new();
    for place in &specimen.places {
        let key = (place.path.clone(), place.header.flags);
        let of_kind = kinds.entry(key).or_default();
        if of_kind.len() > 1 && place.is_sealed {
            of_kind.pop();
        }
        of_kind.push(place.clone());
    }
    kinds.into_values().flatten().collect()
}

fn flips_are_noticed(open: Opener) -> Result<(), String> {
    let specimen = Specimen::new();
    for place in sampled(&specimen) {
        let payload = place.position + FRAME_HEADER_BYTES;
        let sampled = (payload..place.end()).step_by(37);
        for position in (place.position..payload).chain(sampled) {
            specimen.check_flip(open, &place, position)?;
        }
    }
    Ok(())
}

#[test]
fn a_flipped_bit_of_what_is_durable_is_reported_with_its_frame() {
    flips_are_noticed(open).unwrap();
}

#[test]
fn the_flipped_bits_notice_a_recovery_that_cuts_what_is_damaged() {
    println!("{}", flips_are_noticed(open_cutting).unwrap_err());
}

#[test]
fn a_flipped_bit_of_a_segments_header_is_reported() {
    let specimen = Specimen::new();
    for (index, path) in specimen.files.keys().enumerate() {
        // All of them are alike.
        for position in 0..if index == 0 { BLOCK_BYTES } else { 128 } {
            specimen.flip(path, position);
            let error = specimen.read(open).unwrap_err();
            let is_named = matches!(&error, Error::Corrupt { path: named, .. } if named == path);
            assert!(is_named, "byte {position}: {error}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_footer_costs_nothing() {
    let specimen = Specimen::new();
    let path = &specimen.places[0].path;
    let start = specimen.files[path].len() as u64 - BLOCK_BYTES;
    for position in (start..start + 64).chain((start + 64..start + BLOCK_BYTES).step_by(97)) {
        specimen.flip(path, position);
        assert_eq!(specimen.read(open).unwrap().0, specimen.rows, "{position}");
        let sealed = Log::open_read_only(small(specimen.directory.path())).unwrap();
        assert!(
            sealed.shared.segments.read()[0].footer().is_some(),
            "{position}"
        );
    }
}

/// Puts other bytes in place of those from `from` to `to`, and opens: everything in front of the first frame that is not
/// what it was must be there, and nothing else.
fn check_cut(
    specimen: &Specimen,
    from: u64,
    to: u64,
    other: &[u8],
    open: Opener,
) -> Result<(), String> {
    let last = specimen.places.last().ok_or("no frames")?;
    let whole = &specimen.files[&last.path];
    let range = from as usize..to as usize;
    let mut torn = whole.clone();
    torn[range.clone()].copy_from_slice(&other[range]);
    let differs = |place: &&Place| {
        let frame = place.position as usize..place.end() as usize;
        place.path == last.path && torn[frame.clone()] != whole[frame]
    };
    let end = specimen
        .places
        .iter()
        .find(differs)
        .map(|place| place.header.base_offset);
    let end = end.unwrap_or(last.header.end_offset);
    specimen.write(&last.path, &torn);
    let at = |error: String| format!("{from}..{to}: {error}");
    let (rows, _) = specimen.read(open).map_err(|error| at(error.to_string()))?;
    match specimen.first + rows.len() as u64 == end && specimen.rows.starts_with(&rows) {
        true => Ok(()),
        false => Err(at(format!("{} rows, they should end at {end}", rows.len()))),
    }
}

/// Cuts the three frames that are not known to be durable at every byte.
fn tails_are_cut(other: &[u8], open: Opener) -> Result<(), String> {
    let specimen = Specimen::new();
    let tail = &specimen.places[specimen.places.len() - 3..];
    let (start, end) = (tail[0].position, tail[2].end());
    for cut in start..end {
        check_cut(&specimen, cut, end, other, open)?;
    }
    // Pages reach the disk in any order: holes, with whole frames behind them.
    for hole in (start..end).step_by(64) {
        check_cut(&specimen, hole, hole + 64, other, open)?;
    }
    let log = open(specimen.directory.path()).map_err(|e| e.to_string())?;
    append(&log, None);
    kill(log);
    let next = specimen.read(open).map_err(|e| e.to_string())?.0;
    match next
        .iter()
        .zip(specimen.first as i64..)
        .all(|(row, offset)| *row == offset)
    {
        true => Ok(()),
        false => Err("what was appended to a cut log is not what is read".to_owned()),
    }
}

#[test]
fn a_tail_cut_to_zeros_at_any_byte_ends_where_a_frame_begins() {
    tails_are_cut(&[0; 16 << 10], open).unwrap();
}

#[test]
fn a_tail_cut_to_what_a_used_file_held_before_ends_where_a_frame_begins() {
    let specimen = Specimen::new();
    let stale = &specimen.files[&specimen.places[0].path];
    tails_are_cut(stale, open).unwrap();
}
