//! Recovery: whatever happened to its files, a log opens to rows that were appended to it, or says what is wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alluvium::Error;
use alluvium::fuzzing::{FuzzLog, Rows};
use arbitrary::Arbitrary;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::SchemaRef;

use crate::damage::Damage;
use crate::files::{Files, new_directory};

/// Small, so that a log of a few frames has several segments.
const SEGMENT_BYTES: u64 = 16 << 10;
/// Rows of a template's batches.
const BATCHES: [u64; 10] = [1, 7, 100, 3, 40, 64, 2, 90, 5, 11];
/// More things don't happen to a log between two sessions.
const DAMAGES_MAX: usize = 12;
const PRODUCERS: u64 = 3;

/// What a log goes through.
#[derive(Debug, Arbitrary)]
pub struct Scenario {
    /// Whether its first owner closed it, or was killed.
    is_closed: bool,
    first: Round,
    second: Option<Round>,
}

/// What happens to its files, and what its next owner does.
#[derive(Debug, Arbitrary)]
struct Round {
    damages: Vec<Damage>,
    keep_until: Option<u16>,
    appends: Vec<Append>,
    /// Below which offset segments are let go of.
    release: Option<u16>,
    is_closed: bool,
}

#[derive(Debug, Arbitrary)]
struct Append {
    rows: u8,
    producer: Option<u8>,
    sync: bool,
}

/// What was appended at each offset, by any owner.
#[derive(Debug, Clone, Default)]
struct Truth(BTreeMap<u64, Vec<i64>>);

impl Truth {
    /// The rows that are appended at an offset, which say when and where they were.
    fn batch(&mut self, session: i64, offset: u64, rows: u64) -> RecordBatch {
        let offsets = offset..offset + rows;
        let values: Vec<i64> = offsets
            .clone()
            .map(|at| at as i64 ^ (session << 56))
            .collect();
        for (at, value) in offsets.zip(&values) {
            self.0.entry(at).or_default().push(*value);
        }
        batch(&values)
    }

    /// Whether these rows were appended, there and in this order.
    fn check(&self, rows: &Rows) {
        let values = rows.batch.column(0).as_primitive::<Int64Type>();
        let texts = rows.batch.column(1).as_string::<i32>();
        for (row, offset) in rows.offsets.clone().enumerate() {
            let value = values.value(row);
            let known = self.0.get(&offset).is_some_and(|all| all.contains(&value));
            assert!(known, "offset {offset} was never {value}");
            assert_eq!(texts.value(row), text(value));
        }
    }
}

fn text(value: i64) -> String {
    format!("row {value}")
}

fn batch(values: &[i64]) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        values.iter().map(|v| text(*v)),
    ));
    RecordBatch::try_from_iter([("n", numbers), ("text", texts)]).expect("columns of one length")
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| batch(&[]).schema());

/// A log whose owner was killed, the same when it was closed, and what is in it.
static TEMPLATES: LazyLock<(Files, Files, Truth)> = LazyLock::new(|| {
    let directory = new_directory();
    let mut truth = Truth::default();
    let log = FuzzLog::open(directory.path(), SEGMENT_BYTES, None).expect("a new log");
    for (index, rows) in BATCHES.into_iter().cycle().take(24).enumerate() {
        let index = index as u64;
        let batch = truth.batch(0, log.committed(), rows);
        let source = index
            .is_multiple_of(2)
            .then_some((index % PRODUCERS, index));
        log.append(&batch, source).expect("room for a batch");
        // What the background thread does is done, so that the next run has the same log, as nearly as can be.
        log.release(0).expect("nothing to let go of");
        if index.is_multiple_of(5) {
            log.sync().expect("a disk that works");
        }
    }
    log.release(0).expect("nothing to let go of");
    let killed = Files::of(directory.path());
    log.close().expect("a disk that works");
    drop(log);
    (killed, Files::of(directory.path()), truth)
});

/// The rows that a log gives, looked at.
fn read(log: &FuzzLog, truth: &Truth, forged: bool) -> Vec<Rows> {
    log.measure();
    let (all, end) = log.read(log.first_offset(), &SCHEMA);
    if let Err(error) = end {
        assert!(is_damage(&error) || forged, "{error:?}");
    }
    if !forged {
        all.iter().for_each(|rows| truth.check(rows));
    }
    all
}

fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. })
}

/// Lets it happen, and looks whether the log keeps what it promises.
pub fn run(scenario: Scenario) {
    let (killed, closed, truth) = &*TEMPLATES;
    let mut truth = truth.clone();
    let mut files = match scenario.is_closed {
        true => closed.clone(),
        false => killed.clone(),
    };
    let mut forged = false;
    for (number, round) in (1..).zip(
        [Some(scenario.first), scenario.second]
            .into_iter()
            .flatten(),
    ) {
        for damage in round.damages.iter().take(DAMAGES_MAX) {
            forged |= damage.apply(&mut files);
        }
        match session(number, &round, &files, &mut truth, forged) {
            None => return,
            Some(left) => files = left,
        }
    }
}

/// One owner of a log: opens it, reads, appends, and leaves it; the next one must find all of that.
fn session(
    number: i64,
    round: &Round,
    files: &Files,
    truth: &mut Truth,
    forged: bool,
) -> Option<Files> {
    let directory = files.lay_out();
    let path = directory.path();
    look(files, path, truth, forged);
    let log = match FuzzLog::open(path, SEGMENT_BYTES, round.keep_until.map(u64::from)) {
        Ok(log) => log,
        Err(error) => {
            assert!(is_damage(&error) || forged, "{error:?}");
            return None;
        }
    };
    let before = read(&log, truth, forged);
    for append in round.appends.iter().take(8) {
        if !try_append(number, append, &log, truth, forged) {
            break;
        }
    }
    let after = read(&log, truth, forged);
    assert!(forged || after.starts_with(&before));
    if let Some(tiered) = round.release {
        let released = log.release(tiered.into());
        assert!(released.is_ok() || forged, "{released:?}");
    }
    let settled = log.release(0);
    assert!(settled.is_ok() || forged, "{settled:?}");
    let rest = read(&log, truth, forged);
    // What let go of a damaged segment may read on behind it.
    let known = rest.iter().all(|rows| {
        let is_same = |other: &&Rows| other.offsets == rows.offsets;
        after.iter().find(is_same).is_none_or(|same| same == rows)
    });
    assert!(forged || known, "rows that were not there before");
    let producers = (0..PRODUCERS).map(|p| log.last_sequence(p));
    let producers: Vec<_> = producers.collect();
    let killed = Files::of(path);
    let closed = log.close();
    assert!(closed.is_ok() || forged, "{closed:?}");
    drop(log);
    let left = match round.is_closed {
        true => Files::of(path),
        false => killed,
    };
    drop(directory);
    let directory = left.lay_out();
    match FuzzLog::open(directory.path(), SEGMENT_BYTES, None) {
        Err(error) => assert!(forged, "what was open before: {error:?}"),
        Ok(log) => {
            let again = read(&log, truth, forged);
            assert!(forged || again == rest, "not what was left");
            let now = (0..PRODUCERS).map(|p| log.last_sequence(p));
            assert!(
                forged || now.eq(producers),
                "not the producers that were left"
            );
        }
    }
    Some(left)
}

/// Whether a reader beside the owner changes nothing.
fn look(files: &Files, path: &std::path::Path, truth: &Truth, forged: bool) {
    match FuzzLog::open_read_only(path, SEGMENT_BYTES) {
        Err(error) => assert!(is_damage(&error) || forged, "{error:?}"),
        Ok(log) => {
            read(&log, truth, forged);
            if let Err(error) = log.check_tail() {
                assert!(is_damage(&error), "{error:?}");
            }
        }
    }
    assert!(Files::of(path) == *files, "a reader wrote");
}

/// Appends and reads back. Whether the log takes more.
fn try_append(
    number: i64,
    append: &Append,
    log: &FuzzLog,
    truth: &mut Truth,
    forged: bool,
) -> bool {
    let start = log.committed();
    let rows = u64::from(append.rows);
    let batch = truth.batch(number, start, rows);
    let source = append.producer.map(|producer| {
        let producer = u64::from(producer) % PRODUCERS;
        // Every second time what is known already.
        let last = log.last_sequence(producer).unwrap_or(0);
        (producer, last.saturating_add(rows % 2))
    });
    let (offsets, is_duplicate) = match log.append(&batch, source) {
        Ok(appended) => appended,
        Err(error) => {
            // A file may have got a name that leaves no offsets behind it.
            let is_end = start + rows > i64::MAX as u64;
            assert!(forged || is_end, "{error:?}");
            return false;
        }
    };
    if append.sync {
        let synced = log.sync();
        assert!(synced.is_ok() || forged, "{synced:?}");
    }
    if !is_duplicate && rows > 0 {
        assert_eq!(offsets, start..start + rows);
        let (read, end) = log.read(start, &SCHEMA);
        let expected = [Rows { offsets, batch }];
        let is_there = read == expected && end.is_ok();
        assert!(
            is_there,
            "appended at {start}, {rows} rows, forged: {forged}, and read {end:?} {read:?}"
        );
    }
    true
}
