//! What a staged frame holds: the columns that transforms made of some rows, and what became of each row.
//!
//! A frame's schema id is twice the number of the generation of transforms that made it. Its rows are one to one with
//! the raw rows of its offsets, and its columns are the made ones. Where rows were filtered, repeated or failed the
//! schema id is one more, all columns may be null, and four more tell of each row which it came from and why it failed:
//!
//! | column | |
//! |---|---|
//! | `__origin` uint32 | the raw row, counted from the frame's base offset, never decreasing |
//! | `__transform`, `__plugin`, `__error` utf8 | null, or the transform that failed on the raw row, its plugin's SHA-256, and why; the made columns are null then |
//!
//! A raw row that has no row was filtered.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::filter::{filter, filter_record_batch};
use arrow_select::take::take;

use crate::error::{Error, Result};
use crate::transform::{MadeRows, RowFailure};

const ORIGIN: &str = "__origin";
const TRANSFORM: &str = "__transform";
const PLUGIN: &str = "__plugin";
const ERROR: &str = "__error";
/// Generations are numbered by 15 bits of a schema id.
pub(crate) const GENERATION_MAX: u16 = u16::MAX >> 1;

/// What became of some raw rows.
#[derive(Debug, Clone)]
pub(crate) struct StagedRows {
    /// The columns that transforms made.
    pub(crate) made: RecordBatch,
    /// For each of those rows the raw row, from the frame's first on; `None` is one to one.
    pub(crate) origin: Option<Vec<u32>>,
    /// The raw rows that failed, ascending.
    pub(crate) failures: Vec<RowFailure>,
}

/// The number of the transforms that made a frame.
pub(crate) fn generation_of(schema_id: u16) -> u16 {
    schema_id >> 1
}

fn has_origin(schema_id: u16) -> bool {
    schema_id & 1 == 1
}

/// The columns of a frame.
pub(crate) fn frame_schema(made: &SchemaRef, schema_id: u16) -> SchemaRef {
    if !has_origin(schema_id) {
        return Arc::clone(made);
    }
    let made = made.fields().iter();
    let made = made.map(|field| field.as_ref().clone().with_nullable(true));
    let text = |name| Field::new(name, DataType::Utf8, true);
    let own = [
        Field::new(ORIGIN, DataType::UInt32, false),
        text(TRANSFORM),
        text(PLUGIN),
        text(ERROR),
    ];
    Arc::new(Schema::new(made.chain(own).collect::<Vec<_>>()))
}

/// The rows of a frame, and its schema id.
pub(crate) fn to_frame(made: &MadeRows, generation: u16) -> Result<(RecordBatch, u16)> {
    let plain = generation << 1;
    if made.origin.is_none() && made.failures.is_empty() {
        return Ok((made.made.clone(), plain));
    }
    let schema_id = plain | 1;
    let schema = frame_schema(&made.made.schema(), schema_id);
    let batch = with_failures(made, schema).map_err(Error::arrow("build a staged frame"))?;
    Ok((batch, schema_id))
}

fn with_failures(made: &MadeRows, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = u32::try_from(made.made.num_rows()).unwrap_or(u32::MAX);
    let origin = |row: u32| match &made.origin {
        Some(origin) => origin.get(row as usize).copied().unwrap_or_default(),
        None => row,
    };
    // Which row of the made ones, or which failure.
    let made_rows = (0..rows).map(|row| (origin(row), Ok(row)));
    let failed = made.failures.iter().map(|f| (f.row, Err(f)));
    let mut all: Vec<(u32, Result<u32, &RowFailure>)> = made_rows.chain(failed).collect();
    all.sort_by_key(|(row, _)| *row);
    let indices: UInt32Array = all.iter().map(|(_, row)| row.ok()).collect();
    let column = |column: &ArrayRef| match (made.failures.is_empty(), column.is_empty()) {
        (true, _) => Ok(Arc::clone(column)),
        (false, true) => Ok(new_null_array(column.data_type(), all.len())),
        (false, false) => take(column, &indices, None),
    };
    let columns = made.made.columns().iter().map(column);
    let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
    columns.push(Arc::new(UInt32Array::from_iter_values(
        all.iter().map(|(row, _)| *row),
    )));
    let told: [fn(&RowFailure) -> &str; 3] =
        [|f| &f.transform, |f| &f.plugin_sha256, |f| &f.message];
    for tell in told {
        let text = all.iter().map(|(_, row)| row.err().map(tell));
        columns.push(Arc::new(text.collect::<StringArray>()));
    }
    RecordBatch::try_new(schema, columns)
}

/// Reads a frame's rows back. `made` are the columns that its generation makes.
pub(crate) fn from_frame(
    batch: &RecordBatch,
    made: &SchemaRef,
    schema_id: u16,
) -> Result<StagedRows> {
    if !has_origin(schema_id) {
        return Ok(StagedRows {
            made: batch.clone(),
            origin: None,
            failures: Vec::new(),
        });
    }
    let read = || {
        let own = |name| batch.column_by_name(name);
        let origin = own(ORIGIN)?.as_primitive_opt::<UInt32Type>()?;
        let text = |name| own(name)?.as_string_opt::<i32>();
        let (transform, plugin, error) = (text(TRANSFORM)?, text(PLUGIN)?, text(ERROR)?);
        let failed = |row: &usize| error.is_valid(*row);
        let failures = (0..batch.num_rows()).filter(failed).map(|row| RowFailure {
            row: origin.value(row),
            transform: transform.value(row).to_owned(),
            plugin_sha256: plugin.value(row).to_owned(),
            message: error.value(row).to_owned(),
        });
        Some((origin.clone(), failures.collect::<Vec<_>>(), error.clone()))
    };
    let (origin, failures, error) =
        read().ok_or_else(|| Error::invalid("a staged frame", "lacks one of its columns"))?;
    let kept: BooleanArray = error.iter().map(|error| Some(error.is_none())).collect();
    let made_columns: Vec<usize> = (0..made.fields().len()).collect();
    let rows = batch.project(&made_columns).and_then(|rows| {
        let origin = filter(&origin, &kept)?;
        let origin = origin.as_primitive::<UInt32Type>().values().to_vec();
        Ok((filter_record_batch(&rows, &kept)?, origin))
    });
    let (made, origin) = rows.map_err(Error::arrow("read a staged frame"))?;
    Ok(StagedRows {
        made,
        origin: Some(origin),
        failures,
    })
}

impl StagedRows {
    /// What became of the raw rows behind the first `count`, counted from there on.
    pub(crate) fn behind(mut self, count: u32) -> Self {
        if count == 0 {
            return self;
        }
        let skipped = match &self.origin {
            Some(origin) => origin.partition_point(|row| *row < count),
            None => count as usize,
        };
        let rows = self.made.num_rows();
        let skipped = skipped.min(rows);
        self.made = self.made.slice(skipped, rows - skipped);
        if let Some(origin) = &mut self.origin {
            origin.drain(..skipped);
            origin.iter_mut().for_each(|row| *row -= count);
        }
        self.failures.retain(|failure| failure.row >= count);
        self.failures.iter_mut().for_each(|f| f.row -= count);
        self
    }

    /// How many of `count` raw rows neither came out nor failed.
    pub(crate) fn filtered(&self, count: u64) -> u64 {
        let Some(origin) = &self.origin else {
            return 0;
        };
        let repeated = origin.windows(2).filter(|pair| pair.first() == pair.last());
        let present = origin.len() - repeated.count();
        count.saturating_sub((present + self.failures.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Int32Array;
    use proptest::prelude::*;

    use super::*;

    /// What becomes of each raw row: its rows' values, or the reason why it failed.
    type Fate = Result<Vec<i32>, String>;

    fn fates() -> impl Strategy<Value = Vec<Fate>> {
        let fate = prop_oneof![
            4 => proptest::collection::vec(any::<i32>(), 1..2).prop_map(Ok),
            2 => proptest::collection::vec(any::<i32>(), 0..4).prop_map(Ok),
            1 => "[a-z]{0,5}".prop_map(Err),
        ];
        proptest::collection::vec(fate, 1..40)
    }

    fn made(fates: &[Fate]) -> MadeRows {
        let mut values: Vec<i32> = Vec::new();
        let (mut origin, mut failures) = (Vec::new(), Vec::new());
        for (row, fate) in (0..).zip(fates) {
            match fate {
                Ok(rows) => {
                    values.extend(rows);
                    origin.extend(rows.iter().map(|_| row));
                }
                Err(message) => failures.push(RowFailure {
                    row,
                    transform: "t".to_owned(),
                    plugin_sha256: "0".to_owned(),
                    message: message.clone(),
                }),
            }
        }
        let is_one_to_one = fates.iter().all(|f| f.as_ref().is_ok_and(|f| f.len() == 1));
        let column: ArrayRef = Arc::new(Int32Array::from(values));
        let schema = Schema::new(vec![Field::new("y", DataType::Int32, false)]);
        MadeRows {
            made: RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap(),
            origin: (!is_one_to_one).then_some(origin),
            failures,
            filtered: 0,
            nulled: 0,
        }
    }

    /// The fates that a frame tells of `count` rows.
    fn told(rows: &StagedRows, count: usize) -> Vec<Fate> {
        let mut fates = vec![Ok(Vec::new()); count];
        let values = rows.made.column(0);
        let values = values.as_primitive::<arrow_array::types::Int32Type>();
        for (index, value) in values.values().iter().enumerate() {
            let row = rows.origin.as_ref().map_or(index, |o| o[index] as usize);
            fates[row].as_mut().unwrap().push(*value);
        }
        for failure in &rows.failures {
            fates[failure.row as usize] = Err(failure.message.clone());
        }
        fates
    }

    proptest! {
        #[test]
        fn a_frame_tells_what_became_of_each_row(fates in fates(), skipped in 0usize..50) {
            let made = made(&fates);
            let (frame, schema_id) = to_frame(&made, 7).unwrap();
            prop_assert_eq!(generation_of(schema_id), 7);
            let schema = frame_schema(&made.made.schema(), schema_id);
            prop_assert_eq!(frame.schema(), schema);
            let rows = from_frame(&frame, &made.made.schema(), schema_id).unwrap();
            let count = fates.len();
            prop_assert_eq!(told(&rows, count), fates.clone());
            let filtered = fates.iter().filter(|f| f.as_ref().is_ok_and(Vec::is_empty)).count();
            prop_assert_eq!(rows.filtered(count as u64), filtered as u64);
            let skipped = skipped.min(count);
            let behind = rows.behind(skipped as u32);
            prop_assert_eq!(told(&behind, count - skipped), &fates[skipped..]);
        }
    }
}
