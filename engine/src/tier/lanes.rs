//! A large round in lanes. Lance encodes the batches of one stream one after the other, so a backlog is cut into ranges of
//! offsets that are read, encoded and written at once, each by a thread and a writer of its own, and committed together.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Builder, ScopedJoinHandle};

use arrow_array::RecordBatch;

use crate::crash::crash_point;
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::tier::lake::{Lake, Written};
use crate::tier::round::Settled;
use crate::tier::writing::{check_written, piped};

/// A lane has about so many bytes of log at least: its last pages, and its fragments, are not to be small. Those of tests are.
const LANE_BYTES_LEAST: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };
/// No more, however many cores there are.
const LANES_MAX: usize = 4;

/// How many lanes so many bytes of log are worth.
pub(crate) fn worth(bytes: u64) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let most = cores.min(LANES_MAX) as u64;
    (bytes / LANE_BYTES_LEAST).clamp(1, most) as usize
}

/// Cuts a round into as many ranges of offsets, about alike.
pub(crate) fn cut(round: Range<u64>, lanes: usize) -> Vec<Range<u64>> {
    let rows = round.end.saturating_sub(round.start);
    let share = rows.div_ceil(lanes.max(1) as u64).max(1);
    let starts = (0..lanes as u64).map(|lane| round.start + lane * share);
    let starts = starts.take_while(|start| *start < round.end);
    starts
        .map(|start| start..(start + share).min(round.end))
        .collect()
}

/// What makes the rows of a range of offsets: it hands them to a sink, which says whether it wants more, and stops early
/// when it is told to.
pub(crate) type Make<'a> = dyn Fn(Range<u64>, &dyn Fn() -> bool, &mut dyn FnMut(RecordBatch) -> bool) -> Result<Settled>
    + Sync
    + 'a;

/// How a lane ended: what became of its rows, and where they are written.
type Lane = Result<(Settled, Written)>;

/// Writes the rows of ranges that follow one another to a lake's files; nothing is committed. What is kept is what has no gap
/// before it: behind a range that failed, or was stopped before its end, the rows are thrown away, for the next round to
/// make again.
///
/// # Errors
///
/// What the first range failed with. Another's failure is met again when a round begins there.
pub(crate) fn written(
    executor: &Executor,
    mut lake: Lake,
    ranges: &[Range<u64>],
    make: &Make<'_>,
) -> Result<(Lake, Settled, Written)> {
    let Some((first, others)) = ranges.split_first() else {
        return Err(Error::Internal {
            reason: "a round of no rows was begun".to_owned(),
        });
    };
    let (lake, writer) = executor.run(async move {
        let writer = lake.writer().await;
        (lake, writer)
    })?;
    let writer = writer?;
    // The first offset whose lane failed. Those before it go on to their ends, so that the next round begins with it.
    let broken = AtomicU64::new(u64::MAX);
    let lane = |range: &Range<u64>| {
        let writer = writer.clone();
        let write = |batches| writer.write(batches);
        let stop = || broken.load(Ordering::Relaxed) < range.start;
        let ended = piped(executor, write, |sink| {
            let settled = make(range.clone(), &stop, sink)?;
            crash_point("round: rows made");
            Ok(settled)
        });
        let ended = ended.and_then(|(settled, written)| {
            let (settled, written) = (settled?, written?);
            check_written(settled.done.rows, &written)?;
            Ok((settled, written))
        });
        if ended.is_err() {
            broken.fetch_min(range.start, Ordering::Relaxed);
        }
        ended
    };
    let (kept, ended) = thread::scope(|scope| {
        let lane = &lane;
        let threads = others.iter().map(|range| {
            let thread = Builder::new().name(format!("tier-lane-{}", range.start));
            thread.spawn_scoped(scope, move || lane(range))
        });
        let threads: Vec<_> = threads.collect();
        let first = lane(first);
        (first, threads.into_iter().map(joined).collect::<Vec<_>>())
    });
    crash_point("round: rows written");
    without_gap(executor, lake, kept, others.iter().zip(ended))
}

/// How a lane's thread ended, if there could be one.
fn joined(thread: std::io::Result<ScopedJoinHandle<'_, Lane>>) -> Lane {
    let thread = thread.map_err(|error| error.to_string());
    let ended = thread.and_then(|thread| thread.join().map_err(|_| "it panicked".into()));
    ended.unwrap_or_else(|reason| {
        let reason = format!("a lane of a round could not run: {reason}");
        Err(Error::Internal { reason })
    })
}

/// Puts together what the first lane and those behind it wrote without a gap, and deletes the rest.
fn without_gap<'a>(
    executor: &Executor,
    lake: Lake,
    mut kept: Lane,
    behind: impl Iterator<Item = (&'a Range<u64>, Lane)>,
) -> Result<(Lake, Settled, Written)> {
    let mut discarded = Vec::new();
    for (range, lane) in behind {
        match (lane, &mut kept) {
            (Ok((settled, written)), Ok((before, rows))) if before.done.to == range.start => {
                before.done = before.done.then(settled.done);
                rows.append(written);
            }
            (Ok((_, written)), _) => discarded.push(written),
            (Err(error), _) => {
                tracing::warn!(%error, from = range.start, "a lane of a round failed; the next round begins with its rows");
            }
        }
    }
    let lake = executor.run(async move {
        for written in discarded {
            lake.discard(written).await;
        }
        lake
    })?;
    let (settled, written) = kept?;
    Ok((lake, settled, written))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use proptest::prelude::*;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::tier::lake::tests::{at, columns, rows};
    use crate::tier::lake::{OFFSET_COLUMN, Progress, Round};
    use crate::{StoreOptions, TableOptions};

    /// Rows of a batch.
    const STEP: u64 = 100;

    proptest! {
        #[test]
        fn a_round_is_cut_into_ranges_that_follow_one_another(from in 0_u64..1 << 40, rows in 1_u64..10_000, lanes in 1_usize..9) {
            let ranges = cut(from..from + rows, lanes);
            prop_assert!(ranges.len() <= lanes);
            prop_assert!(ranges.iter().all(|range| range.start < range.end));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert_eq!(ranges.first().unwrap().start, from);
            prop_assert_eq!(ranges.last().unwrap().end, from + rows);
        }
    }

    fn settled(to: u64, rows: u64) -> Settled {
        let done = Progress {
            to,
            rows,
            ..Progress::default()
        };
        Settled {
            done,
            generation: 0,
        }
    }

    /// Hands over the rows of a range until it is told to stop, or an offset is `end`.
    fn until(
        end: u64,
        range: Range<u64>,
        stop: &dyn Fn() -> bool,
        sink: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Settled {
        let mut to = range.start;
        while to < range.end.min(end) && !stop() {
            let next = (to + STEP).min(range.end).min(end);
            if !sink(rows(0, to, next)) {
                break;
            }
            to = next;
        }
        settled(to, to - range.start)
    }

    /// Writes three ranges of a thousand rows to a new lake and commits what is kept: up to where, the files and the offsets
    /// that there are.
    fn written_by(make: &Make<'_>) -> (Result<u64>, usize, Vec<i64>) {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        let executor = Executor::new(folder).unwrap();
        let at = at(&folder.join("lake"));
        let options = at.clone();
        let lake = executor.run(async move { Lake::create(&options, &columns()).await });
        let lake = lake.unwrap().unwrap();
        let ranges = cut(0..3000, 3);
        let kept = written(&executor, lake, &ranges, make);
        let to = kept.and_then(|(mut lake, settled, written)| {
            let round = Round {
                table_id: Uuid::new_v4(),
                bucket: 0,
                from: 0,
                amends: None,
                after: settled.done,
                transforms: Vec::new(),
                writer: Uuid::nil(),
            };
            executor.run(async move { lake.commit(written, &round).await })??;
            Ok(settled.done.to)
        });
        let files = std::fs::read_dir(folder.join("lake/data"));
        let files = files.map_or(0, Iterator::count);
        let offsets = executor.run(async move {
            let lake = Lake::open_existing(&at).await.unwrap();
            let rows = lake.dataset().scan().try_into_batch().await.unwrap();
            let offsets = rows[OFFSET_COLUMN].as_primitive::<Int64Type>();
            offsets.values().to_vec()
        });
        (to, files, offsets.unwrap())
    }

    /// Sees that the rows up to an offset are kept, in order, in so many files.
    fn assert_kept(make: &Make<'_>, to: u64, files: usize) {
        let (kept, left, offsets) = written_by(make);
        assert_eq!((kept.unwrap(), left), (to, files));
        assert!(offsets.into_iter().eq(0..to as i64));
    }

    #[test]
    fn what_lanes_wrote_is_in_the_lake_in_the_order_of_offsets() {
        // The first ends last.
        let make: &Make<'_> = &|range, stop, sink| {
            if range.start == 0 {
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(until(u64::MAX, range, stop, sink))
        };
        assert_kept(make, 3000, 3);
    }

    #[test]
    fn behind_a_lane_that_was_stopped_nothing_is_kept() {
        let make: &Make<'_> = &|range, stop, sink| {
            let end = if range.start == 1000 { 1500 } else { u64::MAX };
            Ok(until(end, range, stop, sink))
        };
        assert_kept(make, 1500, 2);
    }

    #[test]
    fn a_lane_that_fails_takes_only_its_rows_and_those_behind_with_it() {
        let make: &Make<'_> = &|range, stop, sink| match range.start {
            0 => {
                std::thread::sleep(Duration::from_millis(300));
                Ok(until(u64::MAX, range, stop, sink))
            }
            1000 => Err(Error::invalid("the log", "it broke")),
            _ => Ok(until(u64::MAX, range, &|| false, sink)),
        };
        assert_kept(make, 1000, 1);
    }

    #[test]
    fn a_round_whose_first_lane_fails_stops_the_others_and_leaves_its_error_and_no_files() {
        let make: &Make<'_> = &|range, stop, sink| match range.start {
            0 => Err(Error::invalid("the log", "it broke")),
            _ => {
                let begun = Instant::now();
                while !stop() {
                    assert!(begun.elapsed() < Duration::from_secs(60), "never stopped");
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(until(u64::MAX, range, &|| false, sink))
            }
        };
        let (to, files, offsets) = written_by(make);
        assert!(matches!(to, Err(Error::Invalid { .. })), "{to:?}");
        assert_eq!((files, offsets.len()), (0, 0));
    }

    #[test]
    fn a_lane_that_panics_leaves_no_file_and_takes_nothing_of_those_before_it_along() {
        let make: &Make<'_> = &|range, stop, sink| {
            let is_second = range.start == 1000;
            let settled = until(u64::MAX, range, stop, sink);
            assert!(!is_second, "a decoder's, say");
            Ok(settled)
        };
        assert_kept(make, 1000, 1);
    }

    /// Drains a backlog that is worth lanes, and gives the lake.
    fn drained(folder: &Path, rows: i64, memory: u64) -> (tokio::runtime::Runtime, Lake) {
        let lake = folder.join("lake");
        let store = StoreOptions::new().tiering(false).tiering_memory(memory);
        let store = store.open(folder.join("store")).unwrap();
        let numbers = |from: i64| {
            let column = Int64Array::from_iter_values(from..from + 8192);
            RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap()
        };
        let options = TableOptions::new(numbers(0).schema()).lake(lake.to_str().unwrap());
        let table = store.create_table("t", options).unwrap();
        assert!(rows as u64 * 8 > 4 * LANE_BYTES_LEAST, "worth lanes");
        for from in (0..rows).step_by(8192) {
            let _ = table.append(&numbers(from)).unwrap();
        }
        table.flush_to_lake().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let lake = runtime.block_on(Lake::open_existing(&at(&lake))).unwrap();
        (runtime, lake)
    }

    #[test]
    fn a_large_backlog_is_in_the_lake_in_the_order_of_its_offsets() {
        let folder = TempDir::new().unwrap();
        let rows = 8192 * 40;
        let (runtime, lake) = drained(folder.path(), rows, 1 << 30);
        let read = runtime.block_on(lake.dataset().scan().try_into_batch());
        let read = read.unwrap();
        for column in ["n", OFFSET_COLUMN] {
            let column = read[column].as_primitive::<Int64Type>();
            assert!(column.values().iter().copied().eq(0..rows));
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(
            lake.size().0,
            cores.min(LANES_MAX) as u64,
            "a fragment a lane"
        );
    }

    #[test]
    fn a_round_has_one_lane_where_there_is_no_memory_for_more() {
        let folder = TempDir::new().unwrap();
        let (_, lake) = drained(folder.path(), 8192 * 40, 1);
        assert_eq!(lake.size().0, 1);
    }
}
