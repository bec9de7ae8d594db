//! The schemas that a table has had, and frames of any of them read as rows of its newest.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use crate::error::{Error, Result};
use crate::log::{Decoder, Frame};

/// A table's schemas by id, each frame naming its own. There is always one.
#[derive(Debug, Clone)]
pub(crate) struct Schemas {
    by_id: BTreeMap<u16, SchemaRef>,
    newest_id: u16,
    newest: SchemaRef,
}

impl Schemas {
    /// `None` when there is no schema.
    pub(crate) fn new(by_id: BTreeMap<u16, SchemaRef>) -> Option<Self> {
        let (newest_id, newest) = by_id.last_key_value()?;
        Some(Self {
            newest_id: *newest_id,
            newest: Arc::clone(newest),
            by_id,
        })
    }

    pub(crate) fn newest(&self) -> &SchemaRef {
        &self.newest
    }

    pub(crate) fn newest_id(&self) -> u16 {
        self.newest_id
    }

    /// All of them, the newest last.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &SchemaRef> {
        self.by_id.values()
    }

    /// The schema of a frame.
    pub(crate) fn of(&self, frame: &Frame) -> Result<&SchemaRef> {
        let id = frame.header.schema_id;
        self.by_id.get(&id).ok_or_else(|| {
            Error::invalid(
                format!("schema {id} of a frame"),
                "is not in the table's file; if another process altered the table, open the store again",
            )
        })
    }

    /// The same schemas made into others.
    pub(crate) fn map(&self, make: impl Fn(&Schema) -> SchemaRef) -> Self {
        let made = self.by_id.iter().map(|(id, schema)| (*id, make(schema)));
        Self {
            by_id: made.collect(),
            newest_id: self.newest_id,
            newest: make(&self.newest),
        }
    }

    /// The id of the newest schema that a batch fits; what keeps it from the newest of all when it fits none.
    pub(crate) fn fit(&self, batch: &RecordBatch) -> Result<u16, String> {
        let Some(reason) = mismatch(&self.newest, batch) else {
            return Ok(self.newest_id);
        };
        let mut older = self.by_id.iter().rev().skip(1);
        let fits = older.find(|(_, schema)| mismatch(schema, batch).is_none());
        fits.map_or(Err(reason), |(id, _)| Ok(*id))
    }

    /// Rows of an older schema as rows of the newest, or of some of its columns: those that were added since are null, those
    /// that were widened are cast, those that were dropped left out.
    pub(crate) fn adapt(&self, rows: &RecordBatch, id: u16, to: &SchemaRef) -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
            Some(column) if self.is_kept(field.name(), id) => widened(column, field.data_type()),
            _ => Ok(new_null_array(field.data_type(), rows.num_rows())),
        };
        let columns = to.fields().iter().map(column).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(to), columns, &options)
            .map_err(Error::arrow("read rows of an older schema"))
    }

    /// Whether the column of that name is still the one that a schema has: one that was dropped and added again is another.
    fn is_kept(&self, name: &str, id: u16) -> bool {
        let mut since = self.by_id.range(id..);
        since.all(|(_, schema)| schema.field_with_name(name).is_ok())
    }
}

/// A column as one of a type that is the same or wider.
pub(crate) fn widened(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options).map_err(Error::arrow("widen a column"))
}

/// Whether every value of a type is one of another, larger type.
pub(crate) fn is_widening(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    let orders: [&[DataType]; 5] = [
        &[D::Int8, D::Int16, D::Int32, D::Int64],
        &[D::UInt8, D::UInt16, D::UInt32, D::UInt64],
        &[D::Float16, D::Float32, D::Float64],
        &[D::Utf8, D::LargeUtf8],
        &[D::Binary, D::LargeBinary],
    ];
    orders.iter().any(|order| {
        let place = |of: &DataType| order.iter().position(|known| known == of);
        matches!((place(from), place(to)), (Some(from), Some(to)) if from < to)
    })
}

/// Reads frames of any of a table's schemas as rows of its newest, or of some of its columns. Nothing is copied of those
/// that have the newest.
#[derive(Debug)]
pub(crate) struct FrameRows {
    schemas: Arc<Schemas>,
    /// Of the rows.
    schema: SchemaRef,
    decoders: BTreeMap<u16, Decoder>,
}

impl FrameRows {
    pub(crate) fn new(schemas: Arc<Schemas>) -> Self {
        Self {
            schema: Arc::clone(schemas.newest()),
            schemas,
            decoders: BTreeMap::new(),
        }
    }

    /// Only the columns of these names, in this order.
    pub(crate) fn of_columns(schemas: Arc<Schemas>, names: &[&str]) -> Result<Self, ArrowError> {
        let decoder = Decoder::of_columns(Arc::clone(schemas.newest()), names)?;
        Ok(Self {
            schema: Arc::clone(decoder.schema()),
            decoders: BTreeMap::from([(schemas.newest_id(), decoder)]),
            schemas,
        })
    }

    /// The schema of the rows.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn schemas(&self) -> &Arc<Schemas> {
        &self.schemas
    }

    /// The rows of a frame, without checking again what this process has checked, or has written itself.
    pub(crate) fn read(&mut self, frame: &Frame) -> Result<RecordBatch> {
        let id = frame.header.schema_id;
        let decoder = match self.decoders.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let whole = Arc::clone(self.schemas.of(frame)?);
                let wanted = self
                    .schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str());
                let wanted = wanted.filter(|name| whole.index_of(name).is_ok());
                let wanted: Vec<_> = wanted.collect();
                let decoder = Decoder::of_columns(Arc::clone(&whole), &wanted);
                new.insert(decoder.map_err(Error::arrow("read rows of an older schema"))?)
            }
        };
        let rows = frame.batch_verified_once(decoder)?;
        match id == self.schemas.newest_id() {
            true => Ok(rows),
            false => self.schemas.adapt(&rows, id, &self.schema),
        }
    }
}

/// What keeps a batch out of a table of this schema. A batch may declare a column nullable that holds no nulls.
fn mismatch(schema: &Schema, batch: &RecordBatch) -> Option<String> {
    let (expected, found) = (schema.fields(), batch.schema_ref().fields());
    if expected.len() != found.len() {
        return Some(format!(
            "it has {} columns instead of {}",
            found.len(),
            expected.len()
        ));
    }
    let columns = expected.iter().zip(found).zip(batch.columns());
    for ((expected, found), column) in columns {
        let name = expected.name();
        if name != found.name() {
            return Some(format!(
                "column {:?} stands where {name:?} should",
                found.name()
            ));
        }
        if !same_type(expected.data_type(), found.data_type()) {
            let (has, should) = (found.data_type(), expected.data_type());
            return Some(format!("column {name:?} is {has} instead of {should}"));
        }
        if !expected.is_nullable() && column.null_count() > 0 {
            return Some(format!("column {name:?} must not be null, and has nulls"));
        }
    }
    None
}

/// Whether two types are the same, whatever lists call their items and whether parts may be null. The
/// fields of a struct count by name and in their order.
fn same_type(a: &DataType, b: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct};
    let same_field = |a: &Field, b: &Field| same_type(a.data_type(), b.data_type());
    match (a, b) {
        (List(a), List(b)) | (LargeList(a), LargeList(b)) => same_field(a, b),
        (FixedSizeList(a, size), FixedSizeList(b, other)) => size == other && same_field(a, b),
        (Map(a, _), Map(b, _)) => match (a.data_type(), b.data_type()) {
            // What a map calls its keys and values says nothing.
            (Struct(a), Struct(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_field(a, b))
            }
            _ => false,
        },
        (Struct(a), Struct(b)) => {
            let same =
                |(a, b): (&Arc<Field>, &Arc<Field>)| a.name() == b.name() && same_field(a, b);
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        _ => a == b,
    }
}
