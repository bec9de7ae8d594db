//! What a user of the log relies on.

mod disk;
mod faults;
mod history;
mod kernel;
mod power_loss;
mod resident;
#[cfg(shuttle)]
mod schedules;
pub(crate) mod simulated;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::append::Log;
use super::block::LogKind;
use super::decoder::Decoder;
use super::options::LogOptions;
use super::segment::FRAMES_START;
use super::storage::{FileSystem, Storage};
use crate::error::{Error, Result};
use crate::log::Durability;
use simulated::Simulated;

pub(super) const SEGMENT_BYTES: u64 = 64 << 10;

/// A fault that a suite must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// An `fdatasync` is left out.
    SkipSync,
    /// A frame counts as written before it is.
    PublishEarly,
    /// Recovery does not look at a payload's checksum.
    SkipChecksum,
    /// Recovery leaves the headers of what it cuts.
    SkipErase,
    /// A segment's name is not made durable.
    SkipAnchor,
    /// A segment is sealed though the next one's name and roll call are not durable.
    SkipRollCallSync,
    /// A segment's file is overwritten before its old name is gone for good.
    RecycleBeforeDirectorySync,
    /// A segment's file is used again though somebody still reads rows of it.
    RecycleHeld,
    /// What was committed while an `fdatasync` ran counts as durable.
    RaiseDurableLate,
    /// A poisoned log wakes those who wait without looking whether somebody is about to.
    WakeUnlocked,
}

/// A directory in memory if that has so much room: on a disk each sync takes long.
#[cfg(any(shuttle, feature = "lake"))]
pub(crate) fn memory_directory(room_bytes: u64) -> TempDir {
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory)
        .is_ok_and(|about| about.f_bavail.saturating_mul(about.f_frsize) >= room_bytes);
    let directory = match has_room {
        true => TempDir::new_in(memory),
        false => TempDir::new(),
    };
    directory.unwrap()
}

/// The file systems that tests simulate for logs that a store opens, by the logs' directories.
static SIMULATED: Mutex<Vec<(PathBuf, Simulated)>> = Mutex::new(Vec::new());

/// What a log in a directory is kept on unless its options say otherwise.
pub(super) fn storage_of(directory: &Path) -> Arc<dyn Storage> {
    let all = SIMULATED.lock();
    let found = all.iter().find(|(of, _)| of == directory);
    match found {
        Some((_, disk)) => Arc::new(disk.clone()),
        None => Arc::new(FileSystem),
    }
}

pub(super) fn options(directory: &Path) -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT_BYTES,
        durability: Durability::Buffered,
        ..LogOptions::new(directory, "t", Uuid::from_u128(1), LogKind::Raw)
    }
}

pub(super) fn open(directory: &Path) -> Result<Log> {
    Log::open(options(directory), 1, None)
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

pub(super) fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let column = Int64Array::from_iter_values(range);
    RecordBatch::try_new(schema(), vec![Arc::new(column)]).unwrap()
}

pub(super) fn read_all(log: &Log) -> Result<Vec<i64>> {
    let mut reader = log.read_from(log.first_offset());
    let mut values = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        assert_eq!(
            frame.header.base_offset,
            values.len() as u64 + log.first_offset()
        );
        let batch = frame.batch(schema())?;
        values.extend(batch.column(0).as_primitive_values());
    }
    Ok(values)
}

pub(super) trait Values {
    fn as_primitive_values(&self) -> Vec<i64>;
}

impl Values for ArrayRef {
    fn as_primitive_values(&self) -> Vec<i64> {
        arrow_array::cast::AsArray::as_primitive::<Int64Type>(self)
            .values()
            .to_vec()
    }
}

pub(super) fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Leaves the files as a killed process would: nothing more is synced, and no thread goes on.
pub(super) fn kill(log: Log) {
    let _ = log
        .shared
        .poisoned::<()>(Err(Error::invalid("process", "killed")));
}

#[test]
fn rows_get_the_offsets_from_zero_on_without_holes() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in [0, 10, 20] {
        let appended = log.append(&numbers(start..start + 10), 1, None).unwrap();
        assert_eq!(
            appended.base_offset..appended.end_offset,
            start as u64..start as u64 + 10
        );
    }
    assert_eq!(read_all(&log).unwrap(), (0..30).collect::<Vec<_>>());
}

#[test]
fn an_empty_batch_takes_no_offset() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    let appended = log.append(&numbers(0..0), 1, None).unwrap();
    assert_eq!((appended.base_offset, appended.end_offset), (0, 0));
    assert_eq!(read_all(&log).unwrap(), Vec::<i64>::new());
}

#[test]
fn a_read_batch_lies_in_the_mapped_segment_and_outlives_its_release() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    log.append(&numbers(0..1000), 1, None).unwrap();
    let frame = log.read_from(0).next_frame().unwrap().unwrap();
    let (first, second) = (
        frame.batch(schema()).unwrap(),
        frame.batch(schema()).unwrap(),
    );
    let address = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr() as usize;
    assert_eq!(
        address(&first),
        address(&second),
        "both are the same mapped memory"
    );
    assert_eq!(address(&first) % 64, 0);
    drop(second);
    drop(log);
    fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(first, numbers(0..1000));
}

#[test]
fn full_segments_are_sealed_and_reopened_without_a_gap() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..40_000).step_by(1000) {
        log.append(&numbers(start..start + 1000), 1, None).unwrap();
    }
    assert!(segments(dir.path()).len() > 4);
    drop(log);
    let log = open(dir.path()).unwrap();
    let sealed = log
        .shared
        .segments
        .read()
        .iter()
        .filter(|s| s.footer().is_some())
        .count();
    assert_eq!(sealed, segments(dir.path()).len() - 1);
    log.append(&numbers(40_000..40_001), 1, None).unwrap();
    assert_eq!(read_all(&log).unwrap(), (0..40_001).collect::<Vec<_>>());
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_segment_of_its_size() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    let many = 3 * SEGMENT_BYTES as i64 / 8;
    log.append(&numbers(0..many), 1, None).unwrap();
    log.append(&numbers(many..many + 1), 1, None).unwrap();
    assert_eq!(read_all(&log).unwrap().len() as i64, many + 1);
    drop(log);
    assert_eq!(
        read_all(&open(dir.path()).unwrap()).unwrap().len() as i64,
        many + 1
    );
}

#[test]
fn a_reader_starts_at_the_frame_that_holds_the_offset() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..20_000).step_by(100) {
        log.append(&numbers(start..start + 100), 1, None).unwrap();
    }
    let frame = log.read_from(12_345).next_frame().unwrap().unwrap();
    assert_eq!(
        (frame.header.base_offset, frame.header.end_offset),
        (12_300, 12_400)
    );
}

#[test]
fn released_segments_are_gone_and_the_offsets_go_on() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..40_000).step_by(1000) {
        log.append(&numbers(start..start + 1000), 1, None).unwrap();
    }
    log.release(25_500).unwrap();
    let first = log.first_offset();
    assert!(first > 0 && first <= 25_500);
    assert!(matches!(
        log.read_from(0).next_frame(),
        Err(Error::Invalid { .. })
    ));
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!((log.first_offset(), log.committed()), (first, 40_000));
}

#[test]
fn a_killed_log_has_everything_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..20_000).step_by(500) {
        log.append(&numbers(start..start + 500), 1, None).unwrap();
    }
    kill(log);
    assert_eq!(
        read_all(&open(dir.path()).unwrap()).unwrap(),
        (0..20_000).collect::<Vec<_>>()
    );
}

/// A log of three frames of ten rows, killed; its one segment file, and where the third frame starts.
pub(super) fn three_frames(dir: &Path) -> (PathBuf, u64, u64) {
    let log = open(dir).unwrap();
    let mut positions = Vec::new();
    for start in [0, 10, 20] {
        positions.push(log.writer.lock().as_ref().unwrap().prefix.end_position);
        log.append(&numbers(start..start + 10), 1, None).unwrap();
    }
    let end = log.writer.lock().as_ref().unwrap().prefix.end_position;
    kill(log);
    (segments(dir)[0].clone(), positions[2], end)
}

#[test]
fn a_tail_cut_at_any_byte_costs_only_the_torn_frame() {
    let dir = TempDir::new().unwrap();
    let (path, start, end) = three_frames(dir.path());
    let whole = fs::read(&path).unwrap();
    let last_byte = whole[..end as usize].iter().rposition(|b| *b != 0).unwrap() as u64;
    for cut in start..=last_byte {
        let mut torn = whole.clone();
        torn[cut as usize..end as usize].fill(0);
        fs::write(&path, &torn).unwrap();
        let log = open(dir.path()).unwrap();
        assert_eq!(log.committed(), 20, "cut at {cut}");
        assert_eq!(
            log.append(&numbers(20..23), 1, None).unwrap().base_offset,
            20
        );
        assert_eq!(read_all(&log).unwrap(), (0..23).collect::<Vec<_>>());
    }
}

/// Ten rows, the first of which has that many bytes.
pub(super) fn texts(bytes: usize) -> RecordBatch {
    let column =
        StringArray::from_iter_values((0..10).map(|i| "x".repeat(if i == 0 { bytes } else { 0 })));
    RecordBatch::try_from_iter([("s", Arc::new(column) as ArrayRef)]).unwrap()
}

#[test]
fn what_was_cut_does_not_come_back_behind_a_new_frame_that_ends_where_it_begins() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    let mut positions = Vec::new();
    for _ in 0..3 {
        positions.push(log.writer.lock().as_ref().unwrap().prefix.end_position);
        log.append(&texts(640), 1, None).unwrap();
    }
    kill(log);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&segments(dir.path())[0])
        .unwrap();
    file.write_all_at(&[0xff; 8], positions[1] + 70).unwrap();
    let log = open(dir.path()).unwrap();
    assert_eq!(
        log.committed(),
        10,
        "the third frame was written after one that never was whole"
    );
    // The barrier of recovery takes 64 bytes, so this ends where the third frame lay.
    log.append(&texts(640 - 64), 1, None).unwrap();
    assert_eq!(
        log.writer.lock().as_ref().unwrap().prefix.end_position,
        positions[2]
    );
    kill(log);
    assert_eq!(open(dir.path()).unwrap().committed(), 20);
}

#[test]
fn damage_to_what_was_durable_is_reported_and_never_cut() {
    let dir = TempDir::new().unwrap();
    let (path, third, end) = three_frames(dir.path());
    drop(open(dir.path()).unwrap());
    let whole = fs::read(&path).unwrap();
    for position in (FRAMES_START..third + 64).step_by(7).chain([end - 65]) {
        let mut damaged = whole.clone();
        damaged[position as usize] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        match open(dir.path()) {
            Err(Error::Corrupt { path: named, .. }) => assert_eq!(named, path),
            Err(other) => panic!("byte {position}: {other}"),
            Ok(log) => assert_eq!(log.committed(), 30, "byte {position} is padding"),
        }
    }
}

/// Reopens a log of ten rows, appends two frames of ten, and destroys the header of the first of them.
fn second_session(dir: &Path, sync_between: bool) {
    let log = open(dir).unwrap();
    log.append(&numbers(0..10), 1, None).unwrap();
    drop(log);
    let log = open(dir).unwrap();
    let position = log.writer.lock().as_ref().unwrap().prefix.end_position;
    log.append(&numbers(10..20), 1, None).unwrap();
    if sync_between {
        log.sync_through(20).unwrap();
    }
    log.append(&numbers(20..30), 1, None).unwrap();
    kill(log);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&segments(dir)[0])
        .unwrap();
    file.write_all_at(&[0; 64], position).unwrap();
}

#[test]
fn damage_right_behind_the_barrier_of_an_earlier_session_is_reported() {
    let dir = TempDir::new().unwrap();
    second_session(dir.path(), true);
    assert!(matches!(open(dir.path()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_frame_behind_one_that_power_loss_took_never_comes_back() {
    let dir = TempDir::new().unwrap();
    second_session(dir.path(), false);
    let log = open(dir.path()).unwrap();
    assert_eq!(log.committed(), 10);
    for _ in 0..2 {
        log.append(&numbers(10..20), 1, None).unwrap();
    }
    kill(log);
    assert_eq!(open(dir.path()).unwrap().committed(), 30);
    let segment = open(dir.path()).unwrap().shared.segments.read()[0].clone();
    let prefix = super::recovery::scan(&segment, u64::MAX).unwrap();
    assert!(super::recovery::survivors(&segment, &prefix).is_empty());
}

#[test]
fn a_record_that_looks_like_a_frame_is_not_taken_for_one() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    let header = super::frame::FrameHeader {
        segment_sequence: 1,
        base_offset: 500,
        end_offset: 500,
        synced_offset: 500,
        timestamp_us: 0,
        payload_length: 0,
        payload_checksum: 0,
        row_count: 0,
        schema_id: 1,
        flags: super::frame::FLAG_BARRIER,
    };
    let forged = header.to_bytes(0).repeat(64);
    let column = BinaryArray::from_iter_values([forged]);
    let batch = RecordBatch::try_from_iter([("b", Arc::new(column) as ArrayRef)]).unwrap();
    log.append(&batch, 1, None).unwrap();
    kill(log);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&segments(dir.path())[0])
        .unwrap();
    file.write_all_at(&[0; 64], FRAMES_START).unwrap();
    assert_eq!(
        open(dir.path()).unwrap().committed(),
        0,
        "torn, not damaged"
    );
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_corruption_when_it_is_read() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..20_000).step_by(1000) {
        log.append(&numbers(start..start + 1000), 1, None).unwrap();
    }
    drop(log);
    let first = segments(dir.path())[0].clone();
    let file = fs::OpenOptions::new().write(true).open(&first).unwrap();
    file.write_all_at(&[0xff], FRAMES_START + 5000).unwrap();
    let log = open(dir.path()).unwrap();
    let error = read_all(&log).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { path, .. } if *path == first),
        "{error}"
    );
}

#[test]
fn a_reopened_segment_is_looked_at_once_in_its_order_and_by_batch_always() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..20_000).step_by(1000) {
        log.append(&numbers(start..start + 1000), 1, None).unwrap();
    }
    drop(log);
    let log = open(dir.path()).unwrap();
    let first = || log.read_from(0).next_frame().unwrap().unwrap();
    assert!(first().batch_verified_once(&Decoder::new(schema())).is_ok());
    let path = segments(dir.path())[0].clone();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // In the first frame's numbers, behind the roll call.
    file.write_all_at(&[0xff], FRAMES_START + 5000).unwrap();
    assert!(first().batch_verified_once(&Decoder::new(schema())).is_ok());
    assert!(matches!(
        first().batch(schema()),
        Err(Error::Corrupt { .. })
    ));
}

#[test]
fn a_missing_segment_is_corruption() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..40_000).step_by(1000) {
        log.append(&numbers(start..start + 1000), 1, None).unwrap();
    }
    drop(log);
    fs::remove_file(&segments(dir.path())[2]).unwrap();
    assert!(matches!(open(dir.path()), Err(Error::Corrupt { .. })));
}

#[test]
fn producers_are_known_behind_a_segment_that_got_its_name_and_no_roll_call() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    let source = super::producers::Source {
        producer: 7,
        sequence: 42,
    };
    log.append(&numbers(0..10), 1, Some(source)).unwrap();
    for _ in 0..12 {
        log.append(&numbers(0..1000), 1, None).unwrap();
    }
    log.release(0).unwrap();
    kill(log);
    let paths = segments(dir.path());
    let last = paths.iter().rfind(|p| p.extension().unwrap() == "seg");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(last.unwrap())
        .unwrap();
    let zeros = vec![0; (SEGMENT_BYTES - FRAMES_START) as usize];
    file.write_all_at(&zeros, FRAMES_START).unwrap();
    let log = open(dir.path()).unwrap();
    log.release(u64::MAX).unwrap();
    assert_eq!(log.size().0, 1);
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(log.last_sequence(7), Some(42));
}

#[test]
fn a_spare_of_any_name_is_removed() {
    let dir = TempDir::new().unwrap();
    let spare = dir.path().join(format!("{}.spare", u64::MAX));
    fs::write(&spare, []).unwrap();
    let log = open(dir.path()).unwrap();
    log.append(&numbers(0..10), 1, None).unwrap();
    drop(log);
    assert!(!spare.exists());
    assert_eq!(open(dir.path()).unwrap().committed(), 10);
}

#[test]
fn a_segment_under_the_name_of_a_later_one_is_corruption() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..40_000).step_by(1000) {
        log.append(&numbers(start..start + 1000), 1, None).unwrap();
    }
    drop(log);
    let paths = segments(dir.path());
    fs::copy(&paths[1], paths.last().unwrap()).unwrap();
    assert!(matches!(open(dir.path()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_reader_of_another_process_sees_what_is_committed_and_repairs_nothing() {
    let dir = TempDir::new().unwrap();
    let writer = open(dir.path()).unwrap();
    writer.append(&numbers(0..100), 1, None).unwrap();
    let reader = Log::open_read_only(options(dir.path())).unwrap();
    writer.append(&numbers(100..200), 1, None).unwrap();
    assert_eq!(read_all(&reader).unwrap(), (0..100).collect::<Vec<_>>());
    assert!(matches!(
        reader.append(&numbers(0..1), 1, None),
        Err(Error::Unavailable { .. })
    ));
    assert_eq!(read_all(&writer).unwrap().len(), 200);
}

#[test]
fn rows_beyond_a_limit_are_cut_for_good() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    for start in (0..40_000).step_by(1000) {
        log.append(&numbers(start..start + 1000), 1, None).unwrap();
    }
    drop(log);
    for _ in 0..2 {
        let log = Log::open(options(dir.path()), 1, Some(13_000)).unwrap();
        assert_eq!(read_all(&log).unwrap(), (0..13_000).collect::<Vec<_>>());
    }
    let log = open(dir.path()).unwrap();
    log.append(&numbers(13_000..13_500), 1, None).unwrap();
    assert_eq!(read_all(&log).unwrap(), (0..13_500).collect::<Vec<_>>());
}

#[test]
fn sync_mode_acknowledges_what_is_durable_and_buffered_says_that_it_is_not() {
    let dir = TempDir::new().unwrap();
    let buffered = open(&dir.path().join("buffered")).unwrap();
    buffered.append(&numbers(0..10), 1, None).unwrap();
    assert_eq!(buffered.durable(), 0);
    buffered.sync_through(10).unwrap();
    assert_eq!(buffered.durable(), 10);

    let mut synced = options(&dir.path().join("sync"));
    synced.durability = Durability::Sync;
    let synced = Log::open(synced, 1, None).unwrap();
    synced.append(&numbers(0..10), 1, None).unwrap();
    assert_eq!(synced.durable(), 10);
}

#[test]
fn a_poisoned_log_takes_nothing_more_and_says_why() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path()).unwrap();
    log.append(&numbers(0..10), 1, None).unwrap();
    let _ = log
        .shared
        .poisoned::<()>(Err(Error::invalid("disk", "on fire")));
    let error = log
        .append(&numbers(10..20), 1, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("on fire"), "{error}");
    assert_eq!(read_all(&log).unwrap().len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_sequence_of_appends_syncs_and_kills_reads_back_in_order(steps in proptest::collection::vec((0u8..10, 1i64..2000), 1..40)) {
        let dir = TempDir::new().unwrap();
        let mut log = open(dir.path()).unwrap();
        let mut next = 0;
        for (kind, rows) in steps {
            match kind {
                0 => { kill(log); log = open(dir.path()).unwrap(); }
                1 => { drop(log); log = open(dir.path()).unwrap(); }
                2 => log.sync_through(log.committed()).unwrap(),
                _ => {
                    log.append(&numbers(next..next + rows), 1, None).unwrap();
                    next += rows;
                }
            }
        }
        prop_assert_eq!(read_all(&log).unwrap(), (0..next).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_in_a_segment_never_panic(garbage in proptest::collection::vec(any::<u8>(), 1..400), at in 0u64..3000) {
        let dir = TempDir::new().unwrap();
        let (path, _, _) = three_frames(dir.path());
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&garbage, FRAMES_START + at).unwrap();
        if let Ok(log) = open(dir.path()) {
            let _ = read_all(&log);
        }
    }
}

#[test]
fn every_block_of_a_log_that_syncs_was_written_before_a_frame_is() {
    let directory = TempDir::new().unwrap();
    let options = LogOptions {
        durability: Durability::Sync,
        ..options(directory.path())
    };
    let log = Log::open(options, 1, None).unwrap();
    for first in (0..20_000).step_by(1000) {
        log.append(&numbers(first..first + 1000), 1, None).unwrap();
    }
    let segments = log.shared.segments.read().clone();
    assert!(segments.len() > 2);
    for segment in segments {
        let written = segment.data_from(FRAMES_START);
        assert_eq!(written.len(), 1);
        assert_eq!(written[0], FRAMES_START..segment.frames_end());
    }
}
