//! How a new lake lays out its rows: the version of Lance's file format, and which binaries are blobs.
//!
//! A blob column (Lance's blob v2, <https://lance.org/guide/blob/>) keeps large values in files of their own beside the data
//! files, so that neither scans nor merges of other columns touch them. Only this module and the writer of rounds know of
//! it: everything else sees binaries, as they were appended.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use lance::{BlobFieldOptions, blob_field_with_options};
use serde::{Deserialize, Serialize};

use super::progress::OFFSET_COLUMN;
use crate::catalog::TIMESTAMP_COLUMN;
use crate::{Error, Result};

/// Where Arrow keeps the name of an extension type, and Lance's name for blobs.
const EXTENSION: &str = "ARROW:extension:name";
const BLOB: &str = "lance.blob.v2";
/// The child of a blob that has its bytes.
const DATA: &str = "data";
/// The versions of Lance's file format that have no blobs of that kind.
const VERSIONS_WITHOUT_BLOBS: [&str; 2] = ["2.0", "2.1"];
const VERSIONS_WITH_BLOBS: [&str; 2] = ["2.2", "2.3"];

/// The layout that a lake gets when it is created; one that is there keeps its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Lance's default when there is none.
    #[serde(default)]
    pub(crate) storage_version: Option<String>,
    #[serde(default)]
    pub(crate) blob_columns: BTreeSet<String>,
    /// From how many bytes on a value is kept outside of the data file. Without named columns it makes blobs of all binaries.
    #[serde(default)]
    pub(crate) blobs_above: Option<u64>,
}

impl Layout {
    /// Refuses a layout that a lake of these columns cannot have.
    pub(crate) fn check(&self, lake: &Schema) -> Result<()> {
        let has_blobs = !self.blob_columns.is_empty() || self.blobs_above.is_some();
        if let Some(version) = self.storage_version.as_deref() {
            let is_old = VERSIONS_WITHOUT_BLOBS.contains(&version);
            if !is_old && !VERSIONS_WITH_BLOBS.contains(&version) {
                let known = [VERSIONS_WITHOUT_BLOBS, VERSIONS_WITH_BLOBS].concat();
                let reason = format!("{version:?} is none of {}", known.join(", "));
                return Err(Error::invalid("storage version", reason));
            }
            if is_old && has_blobs {
                let reason = format!("{version} has no blob columns; use 2.2");
                return Err(Error::invalid("storage version", reason));
            }
        }
        for name in &self.blob_columns {
            let Ok(field) = lake.field_with_name(name) else {
                let what = format!("blob column {name:?}");
                return Err(Error::invalid(what, "the lake has no such column"));
            };
            if !is_binary(field.data_type()) {
                let reason = format!("is {}; only binaries can be blobs", field.data_type());
                return Err(Error::invalid(format!("blob column {name:?}"), reason));
            }
        }
        Ok(())
    }

    /// The columns as the lake stores them.
    pub(super) fn stored(&self, columns: &Schema) -> Schema {
        let fields = columns
            .fields()
            .iter()
            .map(|field| self.stored_field(field));
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), columns.metadata().clone())
    }

    /// A column as the lake stores it.
    pub(super) fn stored_field(&self, field: &Arc<Field>) -> Arc<Field> {
        if let Some((key, value)) = encoding_of(field.name()) {
            let metadata = HashMap::from([(key.to_owned(), value.to_owned())]);
            return Arc::new(field.as_ref().clone().with_metadata(metadata));
        }
        let is_named = match self.blob_columns.is_empty() {
            true => self.blobs_above.is_some(),
            false => self.blob_columns.contains(field.name()),
        };
        if !is_named || !is_binary(field.data_type()) {
            return Arc::clone(field);
        }
        let mut options = BlobFieldOptions::default();
        if let Some(bytes) = self.blobs_above {
            // Lance keeps inline what is not larger than its threshold.
            let inline = usize::try_from(bytes.saturating_sub(1)).unwrap_or(usize::MAX);
            options = options.with_inline_size_threshold(inline);
            let dedicated = NonZeroUsize::new(inline).filter(|bytes| bytes.get() > DEDICATED_BYTES);
            if let Some(dedicated) = dedicated {
                options = options.with_dedicated_size_threshold(dedicated);
            }
        }
        Arc::new(blob_field_with_options(
            field.name(),
            field.is_nullable(),
            options,
        ))
    }
}

/// What Lance then does not try on each page of the lake's own columns, as a field's metadata tells it (`constants.rs` of
/// lance-encoding): a dictionary of times, which come in runs, would be a sixth of the work of encoding narrow rows, and
/// offsets have no runs.
fn encoding_of(column: &str) -> Option<(&'static str, &'static str)> {
    match column {
        // A dictionary has no more entries than a page has values, over this.
        TIMESTAMP_COLUMN => Some(("lance-encoding:dict-divisor", "18446744073709551615")),
        // Runs are encoded where there are fewer than a page has values, times this.
        OFFSET_COLUMN => Some(("lance-encoding:rle-threshold", "0")),
        _ => None,
    }
}

/// From where on Lance gives a blob a file of its own: a higher threshold for inline values must not pass it.
const DEDICATED_BYTES: usize = 4 << 20;

fn is_binary(kind: &DataType) -> bool {
    use DataType as D;
    matches!(kind, D::Binary | D::LargeBinary | D::BinaryView)
}

/// Whether a lake's column holds blobs.
fn is_blob(field: &Field) -> bool {
    field
        .metadata()
        .get(EXTENSION)
        .is_some_and(|name| name == BLOB)
}

/// A lake's columns as a reader sees them who asks for blobs as binaries.
pub(super) fn plain(lake: &Schema) -> SchemaRef {
    let fields = lake.fields().iter().map(|field| match is_blob(field) {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::LargeBinary)),
        false => Arc::clone(field),
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, lake.metadata().clone()))
}

/// Whether values of a table's type go into a lake's column as they are.
pub(super) fn takes(lake: &Field, kind: &DataType) -> bool {
    lake.data_type() == kind || (is_blob(lake) && is_binary(kind))
}

/// The way of rows into a lake that may have blob columns.
#[derive(Debug, Clone)]
pub(super) struct Blobs(Vec<Field>);

impl Blobs {
    /// Those of a dataset with these columns.
    pub(super) fn of(lake: &Schema) -> Self {
        let blobs = lake.fields().iter().filter(|field| is_blob(field));
        let written = blobs.map(|field| {
            // As it is written, whatever it looks like when it is read.
            let written = blob_field_with_options(
                field.name(),
                field.is_nullable(),
                BlobFieldOptions::default(),
            );
            written.with_metadata(field.metadata().clone())
        });
        Self(written.collect())
    }

    /// The rows with their binaries as blobs; the values are not copied.
    pub(super) fn wrap(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.0.is_empty() {
            return Ok(rows);
        }
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns());
        let wrapped = columns.map(|(field, column)| {
            match self.0.iter().find(|blob| blob.name() == field.name()) {
                Some(blob) => Ok((Arc::new(blob.clone()), wrap(blob, column)?)),
                None => Ok((Arc::clone(field), Arc::clone(column))),
            }
        });
        let (fields, columns): (Vec<_>, Vec<ArrayRef>) =
            wrapped.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        RecordBatch::try_new(Arc::new(schema), columns)
            .map_err(Error::arrow("make blobs of binaries"))
    }
}

fn wrap(blob: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let failed = || Error::arrow("make blobs of binaries");
    let DataType::Struct(parts) = blob.data_type() else {
        return Ok(Arc::clone(column));
    };
    let data = arrow_cast::cast(column, &DataType::LargeBinary).map_err(failed())?;
    let parts_of = parts.iter().map(|part| match part.name().as_str() {
        DATA => Arc::clone(&data),
        _ => new_null_array(part.data_type(), data.len()),
    });
    let nulls = data.logical_nulls();
    let made = StructArray::try_new(parts.clone(), parts_of.collect(), nulls);
    Ok(Arc::new(made.map_err(failed())?))
}
