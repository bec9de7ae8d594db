//! Arrow batches from elsewhere, brought into the table's schema: columns by name, types cast
//! where no value changes its meaning, batches cut to size.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::{InputError, Limits, Reader};
use crate::columns::Kind;

/// Casts that fail instead of making nulls.
const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// How the columns of a source become those of a table.
#[derive(Debug)]
pub(super) struct Shaper {
    schema: SchemaRef,
    /// For each column of the table its place in the source.
    places: Vec<Option<usize>>,
}

impl Shaper {
    /// Matches the columns by name, and refuses what can't fit whatever the values.
    pub(super) fn new(
        source: &Schema,
        table: &SchemaRef,
        ignore_unknown: bool,
    ) -> Result<Self, String> {
        let mut places = Vec::new();
        for field in table.fields() {
            let name = field.name();
            let mut found = source
                .fields()
                .iter()
                .enumerate()
                .filter(|(_, f)| f.name() == name);
            let place = found.next();
            if found.next().is_some() {
                return Err(format!("column {name:?} is there twice"));
            }
            match place {
                Some((_, from)) => check_types(from, field)?,
                None if !field.is_nullable() => {
                    return Err(format!(
                        "column {name:?} is missing, and the table requires it"
                    ));
                }
                None => {}
            }
            places.push(place.map(|(index, _)| index));
        }
        let unknown = source
            .fields()
            .iter()
            .find(|f| table.field_with_name(f.name()).is_err());
        if let (Some(field), false) = (unknown, ignore_unknown) {
            return Err(format!(
                "the table has no column {:?}; --ignore-unknown passes over it",
                field.name()
            ));
        }
        Ok(Self {
            schema: Arc::clone(table),
            places,
        })
    }

    /// The places in the source that are read at all.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.places.iter().copied().flatten()
    }

    /// The batch in the table's schema.
    fn shape(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let mut columns = Vec::with_capacity(self.places.len());
        for (field, place) in self.schema.fields().iter().zip(&self.places) {
            let column = match place.and_then(|place| batch.columns().get(place)) {
                Some(array) => convert(array, field)
                    .map_err(|reason| format!("column {:?}: {reason}", field.name()))?,
                None => new_null_array(field.data_type(), batch.num_rows()),
            };
            if column.null_count() > 0 && !field.is_nullable() {
                return Err(format!(
                    "column {:?} is null, and the table requires it",
                    field.name()
                ));
            }
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| error.to_string())
    }

    /// The rows before the first one that doesn't fit, and what is wrong with that one.
    fn shape_prefix(&self, batch: &RecordBatch) -> (RecordBatch, Option<String>) {
        let reason = match self.shape(batch) {
            Ok(shaped) => return (shaped, None),
            Err(reason) => reason,
        };
        // Whether the first n rows fit is decided once for each n: halve.
        let (mut fits, mut fails) = (0, batch.num_rows());
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            match self.shape(&batch.slice(0, middle)) {
                Ok(_) => fits = middle,
                Err(_) => fails = middle,
            }
        }
        let prefix = self.shape(&batch.slice(0, fits));
        let reason = self
            .shape(&batch.slice(fits, fails - fits))
            .err()
            .unwrap_or(reason);
        (
            prefix.unwrap_or_else(|_| RecordBatch::new_empty(Arc::clone(&self.schema))),
            Some(reason),
        )
    }
}

/// Whether values of one type can become values of the other without changing their meaning.
fn check_types(from: &Field, to: &Field) -> Result<(), String> {
    let kind = Kind::of(to.data_type());
    let mut data_type = from.data_type();
    if let DataType::Dictionary(_, values) = data_type {
        data_type = values;
    }
    if let DataType::RunEndEncoded(_, values) = data_type {
        data_type = values.data_type();
    }
    let number = data_type.is_integer() || data_type.is_floating();
    let fits = data_type == &DataType::Null
        || data_type == to.data_type()
        || match kind {
            Some(Kind::Int32 | Kind::Int64 | Kind::Float32 | Kind::Float64) => number,
            Some(Kind::Utf8) => data_type.is_string() || data_type.is_binary(),
            Some(Kind::Binary) => data_type.is_binary(),
            Some(Kind::Timestamp) => matches!(
                data_type,
                DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 | DataType::Int64
            ),
            Some(Kind::Vector(dim)) => match data_type {
                DataType::FixedSizeList(item, size) => {
                    item.data_type().is_floating() && usize::try_from(*size) == Ok(dim)
                }
                DataType::List(item) | DataType::LargeList(item) => item.data_type().is_floating(),
                _ => false,
            },
            Some(Kind::Bool) | None => false,
        };
    if fits {
        return Ok(());
    }
    let to = kind.map_or_else(|| to.data_type().to_string(), |kind| kind.to_string());
    Err(format!(
        "column {:?} is of type {}, which cannot become {to}",
        from.name(),
        from.data_type()
    ))
}

/// One column in the table's type.
fn convert(array: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
    let cast = |array: &ArrayRef, to: &DataType| {
        cast_with_options(array, to, &STRICT).map_err(|error| match error {
            ArrowError::CastError(reason) => reason,
            other => other.to_string(),
        })
    };
    let to = field.data_type();
    let from = array.data_type();
    if let DataType::FixedSizeList(item, dim) = to {
        return convert_vectors(array, item, *dim, &cast);
    }
    if from == to {
        return Ok(Arc::clone(array));
    }
    if from.is_floating() && to.is_integer() {
        let wide = cast(array, &DataType::Float64)?;
        let fraction = wide
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .find(|v| v.fract() != 0.0);
        if let Some(number) = fraction {
            return Err(format!("{number} is not whole"));
        }
        return cast(&wide, to);
    }
    let converted = cast(array, to)?;
    if from == &DataType::Float64 && to == &DataType::Float32 {
        let narrow = converted.as_primitive::<Float32Type>();
        let wide = array.as_primitive::<Float64Type>();
        let lost = narrow
            .iter()
            .zip(wide.iter())
            .find_map(|(n, w)| n.zip(w).filter(|(n, w)| n.is_infinite() && w.is_finite()));
        if let Some((_, number)) = lost {
            return Err(format!("{number} is out of range for a float32"));
        }
    }
    Ok(converted)
}

/// A column of vectors: lists of the right length without nulls in them.
fn convert_vectors(
    array: &ArrayRef,
    item: &FieldRef,
    dim: i32,
    cast: &dyn Fn(&ArrayRef, &DataType) -> Result<ArrayRef, String>,
) -> Result<ArrayRef, String> {
    let target = DataType::FixedSizeList(Arc::clone(item), dim);
    let fixed = match array.data_type() {
        DataType::FixedSizeList(_, _) => Arc::clone(array),
        _ => cast(array, &target)?,
    };
    let Some(list) = fixed.as_fixed_size_list_opt() else {
        return Err("is no list".to_owned());
    };
    if list.values().null_count() > 0 {
        for row in 0..list.len() {
            if list.is_valid(row) && list.value(row).null_count() > 0 {
                return Err("a vector has a null among its numbers".to_owned());
            }
        }
    }
    if fixed.data_type() == &target {
        return Ok(fixed);
    }
    let values = cast(list.values(), &DataType::Float32)?;
    FixedSizeListArray::try_new(Arc::clone(item), dim, values, list.nulls().cloned())
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| error.to_string())
}

/// About how many bytes the rows of a batch take: what is referred to, not what the buffers hold,
/// as a slice shares the buffers of the whole.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(array_bytes).sum()
}

fn array_bytes(array: &ArrayRef) -> usize {
    let rows = array.len();
    let spread = |offsets: &[i32]| match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => usize::try_from(last - first).unwrap_or(0) + 4 * rows,
        _ => 0,
    };
    match array.data_type() {
        DataType::Utf8 => spread(array.as_string::<i32>().value_offsets()),
        DataType::Binary => spread(array.as_binary::<i32>().value_offsets()),
        DataType::FixedSizeList(_, dim) => rows * 4 * usize::try_from(*dim).unwrap_or(0),
        DataType::Boolean => rows / 8 + 1,
        other => other
            .primitive_width()
            .map_or_else(|| array.get_array_memory_size(), |width| width * rows),
    }
}

/// How far a source was read.
#[derive(Debug)]
pub(super) enum Meter {
    /// Something counts the bytes as they are read.
    Counter(Arc<AtomicU64>),
    /// The bytes are in proportion to the rows.
    PerRow(f64),
}

/// The batches of an Arrow source, shaped and cut.
pub(super) struct Shaped<I> {
    name: String,
    inner: I,
    shaper: Shaper,
    limits: Limits,
    meter: Meter,
    /// Rows of the source that were shaped so far.
    rows: u64,
    waiting: VecDeque<RecordBatch>,
    failed: Option<InputError>,
    done: bool,
}

impl<I: Iterator<Item = Result<RecordBatch, ArrowError>>> Shaped<I> {
    /// Shapes the batches of `inner`; `name` is the source's in messages.
    pub(super) fn new(
        name: String,
        inner: I,
        shaper: Shaper,
        limits: Limits,
        meter: Meter,
    ) -> Self {
        Self {
            name,
            inner,
            shaper,
            limits,
            meter,
            rows: 0,
            waiting: VecDeque::new(),
            failed: None,
            done: false,
        }
    }

    fn pull(&mut self) {
        match self.inner.next() {
            None => self.done = true,
            Some(Err(error)) => {
                self.done = true;
                let place = self.rows + 1;
                self.failed = Some(InputError::row(&self.name, place, error));
            }
            Some(Ok(batch)) => {
                let (shaped, wrong) = self.shaper.shape_prefix(&batch);
                self.rows += shaped.num_rows() as u64;
                cut(shaped, self.limits, &mut self.waiting);
                if let Some(reason) = wrong {
                    self.done = true;
                    self.failed = Some(InputError::row(&self.name, self.rows + 1, reason));
                }
            }
        }
    }
}

/// Halves a batch until its parts are within the limits.
fn cut(batch: RecordBatch, limits: Limits, parts: &mut VecDeque<RecordBatch>) {
    let rows = batch.num_rows();
    if rows > 1 && (rows > limits.rows || batch_bytes(&batch) > limits.bytes) {
        cut(batch.slice(0, rows / 2), limits, parts);
        cut(batch.slice(rows / 2, rows - rows / 2), limits, parts);
    } else if rows > 0 {
        parts.push_back(batch);
    }
}

impl<I: Iterator<Item = Result<RecordBatch, ArrowError>>> Iterator for Shaped<I> {
    type Item = Result<RecordBatch, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.waiting.is_empty() && !self.done {
            self.pull();
        }
        match self.waiting.pop_front() {
            Some(batch) => Some(Ok(batch)),
            None => self.failed.take().map(Err),
        }
    }
}

impl<I: Iterator<Item = Result<RecordBatch, ArrowError>>> Reader for Shaped<I> {
    fn consumed(&self) -> u64 {
        match &self.meter {
            Meter::Counter(counter) => counter.load(Ordering::Relaxed),
            Meter::PerRow(bytes) => (self.rows as f64 * bytes) as u64,
        }
    }
}
