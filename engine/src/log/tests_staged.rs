//! What holds in a staged log, whose frames have the offsets of the rows that they were made of.

use std::path::Path;

use tempfile::TempDir;

use super::append::Log;
use super::block::LogKind;
use super::options::LogOptions;
use super::tests::{kill, numbers, options, schema};
use crate::error::Result;

fn staged(directory: &Path, begins_at: u64) -> LogOptions {
    LogOptions {
        kind: LogKind::Staged,
        begins_at,
        ..options(directory)
    }
}

/// Each frame's first offset, end offset, and number of rows.
fn frames(log: &Log) -> Result<Vec<(u64, u64, usize)>> {
    let mut reader = log.read_from(log.first_offset());
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        let rows = frame.batch(schema())?.num_rows();
        frames.push((frame.header.base_offset, frame.header.end_offset, rows));
    }
    Ok(frames)
}

#[test]
fn a_frame_may_hold_more_rows_than_offsets_or_fewer_or_none() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(staged(dir.path(), 100), 1, None).unwrap();
    log.append_staged(&numbers(0..7), 1, 2).unwrap();
    log.append_staged(&numbers(0..0), 1, 30).unwrap();
    log.append_staged(&numbers(0..1), 1, 5).unwrap();
    let expected = [(100, 102, 7), (102, 132, 0), (132, 137, 1)];
    assert_eq!(frames(&log).unwrap(), expected);
    kill(log);
    let log = Log::open(staged(dir.path(), 0), 1, None).unwrap();
    assert_eq!(frames(&log).unwrap(), expected);
}

#[test]
fn frames_without_rows_fill_segments_that_are_sealed_and_read_back() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(staged(dir.path(), 0), 1, None).unwrap();
    for _ in 0..1000 {
        log.append_staged(&numbers(0..0), 1, 3).unwrap();
    }
    assert!(log.size().0 > 1);
    log.close().unwrap();
    let log = Log::open(staged(dir.path(), 0), 1, None).unwrap();
    let frames = frames(&log).unwrap();
    assert_eq!(frames.len(), 1000);
    assert_eq!(frames.last(), Some(&(2997, 3000, 0)));
}

#[test]
fn a_frame_that_goes_beyond_a_cut_is_cut_whole() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(staged(dir.path(), 0), 1, None).unwrap();
    log.append_staged(&numbers(0..4), 1, 10).unwrap();
    log.append_staged(&numbers(0..4), 1, 10).unwrap();
    log.close().unwrap();
    let log = Log::open(staged(dir.path(), 0), 1, Some(15)).unwrap();
    assert_eq!(log.committed(), 10);
    assert_eq!(frames(&log).unwrap(), [(0, 10, 4)]);
}
