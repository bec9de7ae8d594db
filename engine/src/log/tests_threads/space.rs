//! What a log takes of the disk: limits, and what is kept for how long.

use std::time::Instant;

use super::*;
use crate::log::Retention;
use crate::log::tests::numbers;
use crate::log::tests_disk::Done;

/// As many rows as fill a segment.
const SEGMENT_ROWS: i64 = 8 * FRAME_ROWS;
const FRAME_ROWS: i64 = 320;

/// Appends rows that are their offsets.
fn fill(log: &Log, rows: i64) -> Result<()> {
    let end = log.committed() as i64 + rows;
    while (log.committed() as i64) < end {
        let next = log.committed() as i64;
        log.append(&numbers(next..next + FRAME_ROWS), 1, None)?;
    }
    Ok(())
}

fn limited(directory: &Path, segments: u64, when_full: WhenFull) -> LogOptions {
    LogOptions {
        max_bytes: Some(segments * SEGMENT_BYTES),
        when_full,
        ..tiny(directory)
    }
}

fn bytes_of_files(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap();
    files
        .map(|f| f.unwrap().metadata().map_or(0, |m| m.len()))
        .sum()
}

#[test]
fn blocked_appends_go_on_when_there_is_room_and_lose_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_path_buf();
    within_30_seconds(move || {
        let options = limited(&path, 3, WhenFull::Block(Duration::from_secs(25)));
        let log = Log::open(options, 1, None).map_err(text)?;
        thread::scope(|scope| {
            let producer = scope.spawn(|| fill(&log, 30 * SEGMENT_ROWS).map_err(text));
            let (mut reader, mut next) = (log.read_from(0), 0);
            while !producer.is_finished() || next < log.committed() {
                thread::sleep(Duration::from_millis(5));
                assert!(bytes_of_files(&path) <= 3 * SEGMENT_BYTES);
                while let Some(frame) = reader.next_frame().map_err(text)? {
                    assert_eq!(frame.header.base_offset, next);
                    next = frame.header.end_offset;
                }
                log.release(next).map_err(text)?;
            }
            assert_eq!(next, 30 * SEGMENT_ROWS as u64);
            joined(producer)
        })
    })
    .unwrap();
}

fn is_refused(when_full: WhenFull) -> Duration {
    let directory = TempDir::new().unwrap();
    let log = Log::open(limited(directory.path(), 3, when_full), 1, None).unwrap();
    let started = Instant::now();
    let refused = fill(&log, 30 * SEGMENT_ROWS).unwrap_err();
    assert!(matches!(refused, Error::LogFull { .. }), "{refused}");
    let took = started.elapsed();
    let full = log.committed();
    assert!(full >= 2 * SEGMENT_ROWS as u64);
    assert!(bytes_of_files(directory.path()) <= 3 * SEGMENT_BYTES);
    log.release(full).unwrap();
    fill(&log, SEGMENT_ROWS).unwrap();
    drop(log);
    let log = Log::open(limited(directory.path(), 3, when_full), 1, None).unwrap();
    assert_eq!(log.committed(), full + SEGMENT_ROWS as u64);
    took
}

#[test]
fn a_full_log_refuses_after_the_time_it_was_given() {
    let took = is_refused(WhenFull::Block(Duration::from_millis(200)));
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(10));
}

#[test]
fn a_full_log_that_is_not_to_block_refuses_at_once() {
    is_refused(WhenFull::Fail);
}

#[test]
fn what_is_tiered_before_it_is_sealed_makes_room_without_being_released_again() {
    let directory = TempDir::new().unwrap();
    let options = LogOptions {
        storage: Disk::slow(20),
        ..limited(directory.path(), 3, WhenFull::Fail)
    };
    let log = Log::open(options, 1, None).unwrap();
    log.release(u64::MAX >> 1).unwrap();
    fill(&log, 20 * SEGMENT_ROWS).unwrap();
}

#[test]
fn an_append_that_waits_for_room_ends_when_the_log_is_closed() {
    for rows in [FRAME_ROWS, SEGMENT_ROWS + FRAME_ROWS] {
        let directory = TempDir::new().unwrap();
        let options = limited(
            directory.path(),
            3,
            WhenFull::Block(Duration::from_secs(60)),
        );
        let ended = within_30_seconds(move || {
            let log = Log::open(options, 1, None).map_err(text)?;
            thread::scope(|scope| {
                let append = || log.append(&numbers(0..rows), 1, None);
                let waits = scope.spawn(move || {
                    loop {
                        append()?;
                    }
                });
                thread::sleep(Duration::from_millis(200));
                log.close().map_err(text)?;
                let ended: Result<()> = waits.join().map_err(|_| "it panicked")?;
                Ok(ended)
            })
        });
        assert!(
            matches!(ended.unwrap(), Err(Error::Unavailable { .. })),
            "{rows}"
        );
    }
}

#[test]
fn segments_go_in_their_order_however_many_release_them() {
    let directory = TempDir::new().unwrap();
    let disk = Disk::slow(2);
    let storage = Arc::clone(&disk) as _;
    let options = tiny(directory.path());
    let log = Log::open(LogOptions { storage, ..options }, 1, None).unwrap();
    fill(&log, 12 * SEGMENT_ROWS).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| log.release(log.committed()).unwrap());
        }
    });
    let done = disk.done.lock();
    let segment = |done: &Done| match done {
        Done::Gone(path) if path.extension()? == "seg" => Some(path.clone()),
        _ => None,
    };
    let gone: Vec<_> = done.iter().filter_map(segment).collect();
    assert!(gone.len() > 8 && gone.is_sorted(), "{gone:?}");
}

/// How many segments are kept of twelve when nine are tiered.
fn kept_of_twelve(age: Option<Duration>, segments: Option<u64>) -> u64 {
    let directory = TempDir::new().unwrap();
    let bytes = segments.map(|segments| segments * SEGMENT_BYTES);
    let options = LogOptions {
        retention: Retention { age, bytes },
        ..tiny(directory.path())
    };
    let log = Log::open(options, 1, None).unwrap();
    fill(&log, 12 * SEGMENT_ROWS).unwrap();
    log.release(9 * SEGMENT_ROWS as u64).unwrap();
    let (count, bytes) = log.size();
    assert_eq!(bytes, count as u64 * SEGMENT_BYTES);
    assert_eq!(log.committed(), 12 * SEGMENT_ROWS as u64);
    count as u64
}

#[test]
fn tiered_segments_are_kept_until_the_first_limit_is_passed() {
    let (hour, none) = (Some(Duration::from_secs(3600)), Some(Duration::ZERO));
    assert_eq!(kept_of_twelve(None, None), 3, "not at all by default");
    assert_eq!(kept_of_twelve(hour, None), 12);
    assert_eq!(kept_of_twelve(none, None), 3);
    assert_eq!(kept_of_twelve(None, Some(4)), 7, "four of the tiered");
    assert_eq!(kept_of_twelve(hour, Some(4)), 7);
    assert_eq!(kept_of_twelve(none, Some(4)), 3);
}

#[test]
fn a_full_log_keeps_nothing_longer_than_it_must() {
    let directory = TempDir::new().unwrap();
    let options = LogOptions {
        retention: Retention {
            age: Some(Duration::from_secs(3600)),
            bytes: None,
        },
        ..limited(directory.path(), 4, WhenFull::Fail)
    };
    let log = Log::open(options, 1, None).unwrap();
    fill(&log, 3 * SEGMENT_ROWS).unwrap();
    log.release(u64::MAX >> 1).unwrap();
    assert_eq!(log.first_offset(), 0, "there is room");
    fill(&log, 12 * SEGMENT_ROWS).unwrap();
    assert!(log.first_offset() > 0);
}
