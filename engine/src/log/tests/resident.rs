//! What reading a backlog leaves in a process's resident memory.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use super::*;

/// The resident bytes of the maps of a directory's files, as Linux tells them.
fn resident(directory: &Path) -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut ours, mut bytes) = (false, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some(range) if range.contains('-') && !range.ends_with(':') => {
                ours = line.contains(directory.to_str().unwrap());
            }
            Some("Rss:") if ours => {
                bytes += words.next().unwrap().parse::<u64>().unwrap() << 10;
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn a_passing_reader_keeps_little_of_a_backlog_resident_and_reads_the_same() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(
        LogOptions {
            segment_bytes: 24 << 20,
            ..options(dir.path())
        },
        1,
        None,
    )
    .unwrap();
    let rows = 1 << 17;
    for batch in 0..64 {
        let batch = numbers(batch * rows..(batch + 1) * rows);
        log.append(&batch, 1, None).unwrap();
    }
    // Who writes them elsewhere looks at rows once more when the reader is further on.
    let later = 12;
    let read = |mut reader: crate::log::LogReader| {
        let (mut next, mut most, mut frames) = (0, 0, VecDeque::new());
        while let Some(frame) = reader.next_frame().unwrap() {
            frames.push_back(frame);
            if frames.len() > later {
                frames.pop_front();
            }
            let batches = [frames.front(), frames.back()]
                .map(|frame| frame.unwrap().batch(schema()).unwrap());
            let [_, values] = batches.map(|batch| batch.column(0).as_primitive_values());
            assert_eq!(values[0], next);
            next += values.len() as i64;
            most = most.max(resident(dir.path()));
        }
        assert_eq!(next, 64 * rows);
        most
    };
    let passing = read(log.read_from(0).passing());
    assert!(passing <= 32 << 20, "{passing}");
    assert!(
        read(log.read_from(0)) >= 60 << 20,
        "what is not passed by stays"
    );
}
