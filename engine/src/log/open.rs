//! Opening a log: recovery for its writer, a snapshot for a reader.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;

use super::append::{Log, Shared};
use super::block::BLOCK_BYTES;
use super::concurrency::atomic::AtomicU64;
use super::concurrency::{Mutex, RwLock};
use super::keeper::Keeper;
use super::options::LogOptions;
use super::pool::Pool;
use super::producers::Producers;
use super::publish::InFlight;
use super::recovery::{self, ValidPrefix};
use super::segment::{FRAMES_START, SEGMENT_ENDING, Segment};
use super::spare::{self, SPARE_ENDING, Spare};
use super::storage::{create_directory, files_ending_in, sync_names};
use super::sync::Syncing;
use super::writer::Writer;
use crate::error::{Error, Result};

/// How often a reader starts anew when segments are released under its feet.
const READ_ATTEMPTS: usize = 10;

/// How many segments a thread opens in about the time that it takes to start one.
const PATHS_A_THREAD: usize = 16;

/// What opening found.
struct Found {
    segments: Vec<Arc<Segment>>,
    /// The valid frames of the last segment.
    prefix: ValidPrefix,
    /// Below this everything is known to have been durable.
    synced_offset: u64,
}

impl Log {
    /// Opens a log for appending, creating it if there is none.
    ///
    /// A torn tail is cut and made unreadable for ever, what remains is made durable. Damage to frames
    /// that are known to have been durable is [`Error::Corrupt`]. Rows from `keep_until` on are cut too.
    pub(crate) fn open(
        options: LogOptions,
        schema_id: u16,
        keep_until: Option<u64>,
    ) -> Result<Self> {
        create_directory(&options.directory)?;
        if let Some(limit) = keep_until {
            cut_segments(&options, limit)?;
        }
        let spares = files_ending_in(&options.directory, SPARE_ENDING)?;
        let segments = open_segments(&options, true)?;
        // Whatever frames are left in a file, none of them may be taken for a new one.
        let used = segments.iter().map(|s| s.header.sequence);
        let used = used.chain(spares.iter().filter_map(|path| spare::sequence_of(path)));
        let next_sequence = used.max().unwrap_or(0) + 1;
        spare::remove_left(&*options.storage, &spares)?;

        let is_new = segments.is_empty();
        let mut found = match is_new {
            true => first_segment(&options, next_sequence)?,
            false => examine(segments, keep_until)?,
        };
        // A killed process may have left names that are not durable yet, and a lost segment must not come back.
        sync_names(&*options.storage, &options.directory)?;
        repair(&mut found, keep_until.is_some())?;
        let active = last(&found.segments, &options.directory)?;
        let mut writer = Writer {
            active,
            last_timestamp_us: newest_timestamp_us(&found),
            schema_id,
            producers: producers_of(&found, &options)?,
            prefix: found.prefix,
        };
        let bytes = found.segments.iter().map(|s| s.header.capacity).sum();
        let pool = Pool::new(options.clone(), next_sequence + u64::from(is_new), bytes);
        let mut log = Self::assemble(options, &found, found.prefix.end_offset);
        log.write_barrier(&mut writer)?;
        // Also where power loss took the roll call: the segments before, which have the last one, may be released.
        let roll_call = writer.producers.roll_call_bytes();
        if writer.prefix.end_position == FRAMES_START && writer.has_room(roll_call) {
            log.write_roll_call(&mut writer)?;
            writer.active.sync()?;
        }
        log.writer = Mutex::new(Some(writer));
        log.keeper = Some(Keeper::new(Arc::clone(&log.shared)));
        log.pool = Some(pool);
        Ok(log)
    }

    /// Fails when a frame of the active segment is damaged that is known to have been durable. A frame that
    /// another process is writing right now is not taken for one.
    pub(crate) fn check_tail(&self) -> Result<()> {
        let Some(active) = self.shared.segments.read().last().map(Arc::clone) else {
            return Ok(());
        };
        if active.footer().is_some() {
            return Ok(());
        }
        let prefix = recovery::scan(&active, u64::MAX)?;
        let survivors = recovery::survivors(&active, &prefix);
        let damage = recovery::check_no_damage(&active, &prefix, &survivors);
        match recovery::scan(&active, u64::MAX)?.end_offset > prefix.end_offset {
            true => Ok(()),
            false => damage,
        }
    }

    /// Opens a log for reading what is committed now, also while another process writes it.
    ///
    /// The durable offset is the lowest that it can be: what frames and footers say of it.
    pub(crate) fn open_read_only(options: LogOptions) -> Result<Self> {
        for attempt in 1.. {
            let found = open_segments(&options, false).and_then(|segments| walk(segments, None));
            match found {
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && attempt < READ_ATTEMPTS => {
                }
                Err(error) => return Err(error),
                Ok(found) => {
                    let durable = found.synced_offset;
                    return Ok(Self::assemble(options, &found, durable));
                }
            }
        }
        Err(Error::invalid("log", "could not be read"))
    }

    fn assemble(options: LogOptions, found: &Found, durable: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                segments: RwLock::new(found.segments.clone()),
                committed: AtomicU64::new(found.prefix.end_offset),
                position: AtomicU64::new(found.prefix.end_position),
                durable: AtomicU64::new(durable),
                in_flight: InFlight::default(),
                syncing: Syncing::default(),
                poison: OnceLock::new(),
            }),
            writer: Mutex::new(None),
            keeper: None,
            pool: None,
            tiered: AtomicU64::new(0),
            releasing: Mutex::default(),
        }
    }
}

fn last(segments: &[Arc<Segment>], directory: &Path) -> Result<Arc<Segment>> {
    let last = segments.last().map(Arc::clone);
    last.ok_or_else(|| Error::invalid(format!("log {}", directory.display()), "has no segment"))
}

fn first_segment(options: &LogOptions, sequence: u64) -> Result<Found> {
    let header = options.segment_header(sequence, options.segment_bytes);
    let spare = Spare::allocate(options, header)?;
    options.metrics.segment_created();
    let begins_at = options.begins_at;
    let segment = spare.name(begins_at).map_err(|failed| failed.1)?;
    Ok(Found {
        segments: vec![Arc::new(segment)],
        prefix: ValidPrefix::empty(begins_at),
        synced_offset: 0,
    })
}

fn open_segments(options: &LogOptions, writable: bool) -> Result<Vec<Arc<Segment>>> {
    let paths = files_ending_in(&options.directory, SEGMENT_ENDING)?;
    let open = |path: &PathBuf| {
        let segment = Segment::open(&options.storage, path, writable)?;
        if segment.header.table_id != options.table_id || segment.header.kind != options.kind {
            return Err(segment.corrupt(0, "the segment belongs to another table or log"));
        }
        Ok(Arc::new(segment))
    };
    in_parallel(&paths, open)
}

/// Does the same for every path, on several threads if there are many: each is a few system calls, and on a cold disk two reads.
fn in_parallel<T: Send>(
    paths: &[PathBuf],
    run: impl Fn(&PathBuf) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = paths.len().div_ceil(cores).max(PATHS_A_THREAD);
    let run_all = |share: &[PathBuf]| share.iter().map(&run).collect::<Result<Vec<_>>>();
    thread::scope(|scope| {
        let mut shares = paths.chunks(share);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares
            .map(|share| {
                let spawned = thread::Builder::new().spawn_scoped(scope, move || run_all(share));
                (share, spawned)
            })
            .collect();
        let mut done = run_all(own)?;
        for (share, spawned) in others {
            done.extend(match spawned.map(thread::ScopedJoinHandle::join) {
                Ok(joined) => joined.unwrap_or_else(|panic| resume_unwind(panic))?,
                // The system has no thread to spare.
                Err(_) => run_all(share)?,
            });
        }
        Ok(done)
    })
}

/// The newest time of a frame, which no later one may be older than, whatever the clock does.
fn newest_timestamp_us(found: &Found) -> i64 {
    let sealed = found.segments.iter().rev().find_map(|s| s.footer());
    let sealed = sealed.map_or(i64::MIN, |footer| footer.timestamp_us_max);
    found.prefix.newest_us.max(sealed)
}

/// What the log knows of its producers: the last roll call, and the frames since.
fn producers_of(found: &Found, options: &LogOptions) -> Result<Producers> {
    let mut producers = Producers::of_segments(options.segment_bytes);
    let ends = found.segments.iter().map(|segment| match segment.footer() {
        Some(footer) => footer.length,
        None => found.prefix.end_position,
    });
    let with_ends: Vec<_> = found.segments.iter().zip(ends).collect();
    let begins = with_ends
        .iter()
        .rposition(|(segment, _)| recovery::begins_with_roll_call(segment));
    for (segment, end) in with_ends.iter().skip(begins.unwrap_or(0)) {
        recovery::call_roll(segment, *end, &mut producers)?;
    }
    Ok(producers)
}

/// The valid frames of a segment: what its footer says, or else what a scan finds.
fn prefix_of(segment: &Segment, keep_until: Option<u64>) -> Result<ValidPrefix> {
    match segment.footer() {
        Some(footer) => Ok(ValidPrefix::sealed(footer, segment.frames_end())),
        None => recovery::scan(segment, keep_until.unwrap_or(u64::MAX)),
    }
}

/// Walks the segments up to where the valid frames end, and fails on damage.
fn examine(segments: Vec<Arc<Segment>>, keep_until: Option<u64>) -> Result<Found> {
    let mut found = walk(segments.clone(), keep_until)?;
    let Some(active) = found.segments.last() else {
        return Ok(found);
    };
    let lost = segments.get(found.segments.len()..).unwrap_or_default();
    let known = lost
        .iter()
        .map(|s| known_synced(s))
        .collect::<Result<Vec<_>>>()?;
    let known = known.into_iter().max().unwrap_or(0);
    if known > found.prefix.end_offset {
        let reason = format!(
            "no valid frame for offset {}, though offsets below {known} were durable",
            found.prefix.end_offset
        );
        return Err(active.corrupt(found.prefix.end_position, reason));
    }
    // From the end, so that a crash in between leaves no gap.
    for segment in lost.iter().rev() {
        tracing::warn!(segment = %segment.path.display(), "removed: power was lost before the rows in front of it were durable");
        segment.remove()?;
    }
    found.synced_offset = found.synced_offset.max(known);
    Ok(found)
}

/// The highest offset below which a segment proves that everything was durable.
fn known_synced(segment: &Segment) -> Result<u64> {
    match segment.footer() {
        // A segment is sealed only after it and all before it were synced.
        Some(footer) => Ok(footer.end_offset),
        None => Ok(recovery::scan(segment, u64::MAX)?.synced_offset),
    }
}

/// The segments whose valid frames follow one another. What does not follow was lost, or, in a log that another
/// process is writing, is not there yet.
fn walk(segments: Vec<Arc<Segment>>, keep_until: Option<u64>) -> Result<Found> {
    let base_offset = segments.first().map_or(0, |s| s.base_offset);
    let mut found = Found {
        segments: Vec::with_capacity(segments.len()),
        prefix: ValidPrefix::empty(base_offset),
        synced_offset: 0,
    };
    for segment in segments {
        let expected = found.prefix.end_offset;
        let is_first = found.segments.is_empty();
        if segment.base_offset != expected && !is_first {
            let sealed_before = found.segments.last().is_some_and(|s| s.footer().is_some());
            if sealed_before || segment.base_offset < expected {
                let reason = format!("the segment before it ends at offset {expected}");
                return Err(segment.corrupt(0, reason));
            }
            break;
        }
        found.prefix = prefix_of(&segment, keep_until)?;
        if is_first && keep_until.is_none() {
            check_first(&segment, &found.prefix)?;
        }
        let synced = segment
            .footer()
            .map_or(found.prefix.synced_offset, |f| f.end_offset);
        found.synced_offset = found.synced_offset.max(synced);
        found.segments.push(segment);
    }
    Ok(found)
}

/// Fails when the first segment hasn't the roll call that was durable before the segment in front of it was released.
fn check_first(segment: &Segment, prefix: &ValidPrefix) -> Result<()> {
    let base_offset = segment.base_offset;
    if base_offset > 0 && prefix.end_position == FRAMES_START {
        let reason = format!("no valid frame for offset {base_offset}, though it was durable");
        return Err(segment.corrupt(FRAMES_START, reason));
    }
    Ok(())
}

/// Seals what is full, erases what was cut and makes the rest durable.
fn repair(found: &mut Found, was_cut: bool) -> Result<()> {
    let Some((active, full)) = found.segments.split_last() else {
        return Ok(());
    };
    for segment in full.iter().filter(|s| s.footer().is_none()) {
        let prefix = recovery::scan(segment, u64::MAX)?;
        segment.rewrite(prefix.synced_position..prefix.end_position)?;
        segment.sync()?;
        segment.seal(prefix.footer(segment.header.sequence))?;
    }
    if active.footer().is_some() {
        return Ok(());
    }
    let survivors = recovery::survivors(active, &found.prefix);
    if !was_cut {
        recovery::check_no_damage(active, &found.prefix, &survivors)?;
    }
    if !survivors.is_empty() {
        tracing::warn!(
            segment = %active.path.display(),
            position = found.prefix.end_position,
            frames = survivors.len(),
            "cut frames that were not written whole"
        );
        recovery::erase(active, &survivors, found.prefix.end_offset)?;
        found.prefix.ends_in_barrier = false;
    }
    active.rewrite(found.prefix.synced_position..found.prefix.end_position)?;
    // Recovery has looked at all of it; what follows is this process's own.
    active.trust();
    active.sync()
}

/// Removes the segments that begin at `limit` or later and takes the footer off the one that `limit` is in.
fn cut_segments(options: &LogOptions, limit: u64) -> Result<()> {
    let paths = files_ending_in(&options.directory, SEGMENT_ENDING)?;
    // From the end, so that a crash in between leaves no gap.
    for (index, path) in paths.iter().enumerate().rev() {
        let segment = Segment::open(&options.storage, path, true)?;
        if index > 0 && segment.base_offset >= limit {
            segment.remove()?;
        } else if segment.footer().is_some_and(|f| f.end_offset > limit) {
            let zeros = [0u8; BLOCK_BYTES as usize];
            segment.write_at(&mut [std::io::IoSlice::new(&zeros)], segment.frames_end())?;
            segment.sync()?;
        }
    }
    sync_names(&*options.storage, &options.directory)
}

impl ValidPrefix {
    /// What a footer says of its segment, which takes no more frames.
    fn sealed(footer: &super::block::SegmentFooter, frames_end: u64) -> Self {
        Self {
            end_position: frames_end.max(FRAMES_START),
            end_offset: footer.end_offset,
            rows: footer.rows,
            timestamp_us_min: footer.timestamp_us_min,
            timestamp_us_max: footer.timestamp_us_max,
            newest_us: footer.timestamp_us_max,
            synced_offset: footer.end_offset,
            synced_position: frames_end,
            ends_in_barrier: false,
        }
    }
}
