//! Checking everything that a table promises: frames, offsets, and what of them is in the lake.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use serde::Serialize;

use crate::dead_letters;
use crate::error::{Error, Result};
use crate::pipeline::StagedLog;
use crate::pipeline::staged::generation_of;
use crate::read::query::{self, QueryResult, Source};
use crate::table::TableInner;
use crate::tier::lake::{BUCKET_COLUMN, OFFSET_COLUMN};

/// How often is looked at a lake that moves on meanwhile.
const ATTEMPTS: u32 = 5;
/// Problems beyond so many are only counted.
const PROBLEMS_MAX: usize = 100;

/// What [`Table::verify`](crate::Table::verify) looked at, and what it found wrong.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The table's name.
    pub table: String,
    /// Segment files of the raw log.
    pub segments: usize,
    /// Frames whose checksums were verified and whose rows were decoded.
    pub frames: u64,
    /// Rows in those frames.
    pub rows: u64,
    /// Frames of the staged log, their checksums verified and their rows decoded.
    pub staged_frames: u64,
    /// Rows whose fate is settled, by the lake's own record.
    pub rows_tiered: u64,
    /// Rows that the lake has of this table.
    pub lake_rows: u64,
    /// Offsets among them.
    pub lake_offsets: u64,
    /// Offsets among the dead letters.
    pub dead_letters: u64,
    /// Offsets that a transform filtered, by the lake's record.
    pub filtered: u64,
    /// Dead letters that were dropped, by the lake's record.
    pub dropped: u64,
    /// What does not hold, one line each, the first hundred. Empty: all is well.
    pub problems: Vec<String>,
    /// How many problems there are in all.
    pub problems_total: u64,
}

impl VerifyReport {
    /// The report on a table that could not even be looked at.
    #[must_use]
    pub fn of_failure(table: &str, error: &Error) -> Self {
        Self {
            table: table.to_owned(),
            problems: vec![error.to_string()],
            problems_total: 1,
            ..Self::default()
        }
    }

    fn problem(&mut self, problem: String) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

pub(crate) fn of(table: &TableInner) -> Result<VerifyReport> {
    // Beside a writer the lake may go on to another version in between: then look again.
    for _ in 1..ATTEMPTS {
        let (_, before) = table.tierer.context.lake_progress()?;
        let report = look(table)?;
        let (_, after) = table.tierer.context.lake_progress()?;
        if before == after {
            return Ok(report);
        }
    }
    look(table)
}

fn look(table: &TableInner) -> Result<VerifyReport> {
    let mut report = VerifyReport {
        table: table.name.clone(),
        segments: table.raw.size().0,
        ..VerifyReport::default()
    };
    let checked = check_log(table, &mut report).and_then(|()| check_staged(table, &mut report));
    if let Err(error) = checked {
        report.problem(error.to_string());
    }
    check_lake(table, &mut report)?;
    Ok(report)
}

fn check_log(table: &TableInner, report: &mut VerifyReport) -> Result<()> {
    let context = &table.tierer.context;
    table.raw.check_tail()?;
    let mut reader = table.raw.read_from(table.raw.first_offset());
    let mut expected = table.raw.first_offset();
    while let Some(frame) = reader.next_frame()? {
        let header = frame.header;
        let schemas = context.schemas_of(&frame)?;
        let rows = frame.batch(Arc::clone(schemas.of(&frame)?))?.num_rows() as u64;
        if header.base_offset != expected || header.end_offset - header.base_offset != rows {
            report.problem(format!(
                "a frame has offsets {} to {} and {rows} rows where offset {expected} should follow",
                header.base_offset, header.end_offset
            ));
        }
        expected = header.end_offset;
        report.frames += 1;
        report.rows += rows;
    }
    Ok(())
}

/// What is not tiered yet must be readable, as the raw log is beside it.
fn check_staged(table: &TableInner, report: &mut VerifyReport) -> Result<()> {
    let Some(staged) = table.pipeline.log() else {
        return Ok(());
    };
    let shape = table.tierer.context.shape();
    let mut expected = staged.first_offset();
    let mut reader = staged.read_from(expected);
    while let Some(frame) = reader.next_frame()? {
        let header = frame.header;
        let generation = generation_of(header.schema_id);
        // Of what is tiered the transforms may be forgotten.
        if let Some(made) = shape.made(generation) {
            StagedLog::rows(&frame, made)?;
        }
        if header.base_offset != expected {
            report.problem(format!(
                "a staged frame has offsets {} to {} where offset {expected} should follow",
                header.base_offset, header.end_offset
            ));
        }
        expected = header.end_offset;
        report.staged_frames += 1;
    }
    Ok(())
}

fn check_lake(table: &TableInner, report: &mut VerifyReport) -> Result<()> {
    let context = &table.tierer.context;
    let (progress, _) = context.lake_progress()?;
    report.rows_tiered = progress.to;
    report.filtered = progress.filtered;
    report.dropped = progress.dropped;
    let mut seen = Offsets::new(progress.to)?;
    let mut dead = Offsets::new(progress.to)?;
    for batch in lake_offsets(table)? {
        report.lake_rows += seen.add(&batch?, report)?;
    }
    let mut letters = 0;
    for batch in dead_letters::read(table, OFFSET_COLUMN)? {
        letters += dead.add(&batch?, report)?;
    }
    report.lake_offsets = seen.count();
    report.dead_letters = dead.count();
    if letters != report.dead_letters || letters != progress.dead {
        report.problem(format!(
            "there are {letters} dead letters of {} offsets, and the lake's commits say {}",
            report.dead_letters, progress.dead
        ));
    }
    let both = seen.in_both(&dead);
    if both > 0 {
        let problem = format!("{both} offsets are in the lake and among the dead letters");
        report.problem(problem);
    }
    let settled = report.lake_offsets + report.dead_letters + report.filtered + report.dropped;
    if settled != progress.to {
        report.problem(format!(
            "of {} tiered offsets {} are in the lake, {} are dead letters, {} were filtered and {} dropped, which makes {settled}",
            progress.to, report.lake_offsets, report.dead_letters, report.filtered, report.dropped
        ));
    }
    if context.shape().never_had_transforms() && report.lake_rows != report.lake_offsets {
        let doubled = report.lake_rows - report.lake_offsets;
        report.problem(format!(
            "{doubled} rows of the lake have an offset that another has"
        ));
    }
    if progress.rows != report.lake_rows {
        report.problem(format!(
            "the lake has {} rows of this table, and its commits say {}",
            report.lake_rows, progress.rows
        ));
    }
    Ok(())
}

fn lake_offsets(table: &TableInner) -> Result<QueryResult> {
    let context = &table.tierer.context;
    let bucket = context.settings.bucket;
    let sql = format!("SELECT \"{OFFSET_COLUMN}\" FROM lake WHERE \"{BUCKET_COLUMN}\" = {bucket}");
    let source = Source {
        name: "lake".to_owned(),
        lake: context.lake.clone(),
        schema: Some(Arc::clone(&context.shape().lake_schema)),
    };
    query::run(&context.executor, sql, vec![source])
}

/// A set of offsets, a bit each.
struct Offsets {
    bits: Vec<u64>,
    end: u64,
}

impl Offsets {
    fn new(end: u64) -> Result<Self> {
        let words = usize::try_from(end.div_ceil(64)).unwrap_or(usize::MAX);
        let mut bits = Vec::new();
        bits.try_reserve_exact(words)
            .map_err(|e| Error::invalid(format!("a set of {end} offsets"), e.to_string()))?;
        bits.resize(words, 0);
        Ok(Self { bits, end })
    }

    /// Adds a batch's `__offset` column; gives its number of rows.
    fn add(&mut self, batch: &arrow_array::RecordBatch, report: &mut VerifyReport) -> Result<u64> {
        let column = batch.column_by_name(OFFSET_COLUMN).ok_or_else(|| {
            Error::invalid("the lake", format!("it has no column {OFFSET_COLUMN}"))
        })?;
        for offset in column.as_primitive::<Int64Type>().values() {
            let word = u64::try_from(*offset)
                .ok()
                .filter(|offset| *offset < self.end);
            match word.and_then(|offset| self.bits.get_mut((offset / 64) as usize)) {
                Some(bits) => *bits |= 1 << (offset % 64),
                None => report.problem(format!(
                    "offset {offset} is settled, and only those below {} should be",
                    self.end
                )),
            }
        }
        Ok(batch.num_rows() as u64)
    }

    fn count(&self) -> u64 {
        self.bits
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    fn in_both(&self, other: &Self) -> u64 {
        let words = self.bits.iter().zip(&other.bits);
        words.map(|(a, b)| u64::from((a & b).count_ones())).sum()
    }
}
