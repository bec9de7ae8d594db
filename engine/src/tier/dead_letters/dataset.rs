//! The Lance dataset of a table's dead letters: where it is, and its columns.
//!
//! The table's columns, `__bucket`, `__offset` and `__timestamp` as the lake has them, then `__transform`, `__plugin` (the
//! SHA-256 of the component), `__version` (of the plugin, null when it is not known) and `__error`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::log::{ERROR_COLUMN, PLUGIN_COLUMN, TRANSFORM_COLUMN};
use crate::catalog::{extended, timestamp_field};
use crate::error::{Error, Result};
use crate::tier::lake::{BUCKET_COLUMN, LakeOptions, Layout, OFFSET_COLUMN};

const VERSION_COLUMN: &str = "__version";
const ENDING: &str = ".lance";

/// Where the dead letters of the tables with a lake are: beside it, `photos.dead_letters.lance` for `photos.lance`, with the
/// same storage options.
pub(crate) fn options_of(lake: &LakeOptions) -> LakeOptions {
    let uri = lake.uri.trim_end_matches('/');
    let stem = uri.strip_suffix(ENDING).unwrap_or(uri);
    LakeOptions {
        uri: format!("{stem}.dead_letters{ENDING}"),
        layout: Layout::default(),
        ..lake.clone()
    }
}

/// The dataset's columns.
pub(crate) fn schema_of(table: &Schema) -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let own = [
        Field::new(BUCKET_COLUMN, DataType::Int32, false),
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
        timestamp_field(),
        text(TRANSFORM_COLUMN, false),
        text(PLUGIN_COLUMN, false),
        text(VERSION_COLUMN, true),
        text(ERROR_COLUMN, false),
    ];
    extended(table, own)
}

/// Letters of the log as rows of the dataset; `versions` are those of the plugins that are known, by SHA-256.
pub(super) fn to_dataset(
    letters: &RecordBatch,
    schema: &SchemaRef,
    bucket: i32,
    versions: &BTreeMap<&str, &str>,
) -> Result<RecordBatch> {
    let rows = letters.num_rows();
    let versions = || {
        let plugins = letters
            .column_by_name(PLUGIN_COLUMN)?
            .as_string_opt::<i32>()?;
        let version = |plugin: Option<&str>| versions.get(plugin?).copied();
        Some(plugins.iter().map(version).collect::<StringArray>())
    };
    let column = |field: &Arc<Field>| -> ArrayRef {
        match letters.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None if field.name() == BUCKET_COLUMN => Arc::new(Int32Array::from_value(bucket, rows)),
            None => match versions().filter(|_| field.name() == VERSION_COLUMN) {
                Some(versions) => Arc::new(versions),
                None => new_null_array(field.data_type(), rows),
            },
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(Error::arrow("settle dead letters"))
}

/// Rows of the dataset as letters of the log: its columns, of the types that were appended.
pub(crate) fn from_dataset(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &Arc<Field>| {
        let column = rows.column_by_name(field.name());
        let null = || new_null_array(field.data_type(), rows.num_rows());
        let column = column.map_or_else(null, Arc::clone);
        match column.data_type() == field.data_type() {
            true => Ok(column),
            // Lance has no views, and names the items of lists its own way.
            false => cast(&column, field.data_type()),
        }
    };
    let columns = schema.fields().iter().map(column);
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>();
    columns
        .and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns))
        .map_err(Error::arrow("read dead letters"))
}

/// The rows of a bucket that have one of some offsets, as a filter.
pub(super) fn those_of(bucket: i32, offsets: &[u64]) -> String {
    let offsets: Vec<String> = offsets.iter().map(u64::to_string).collect();
    format!(
        "{BUCKET_COLUMN} = {bucket} AND {OFFSET_COLUMN} IN ({})",
        offsets.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_lie_beside_their_lake() {
        for (lake, letters) in [
            ("/a/photos.lance", "/a/photos.dead_letters.lance"),
            ("s3://b/photos.lance/", "s3://b/photos.dead_letters.lance"),
            ("s3://b/photos", "s3://b/photos.dead_letters.lance"),
        ] {
            let options = LakeOptions {
                uri: lake.to_owned(),
                storage_options: [("region".to_owned(), "x".to_owned())].into(),
                ..LakeOptions::default()
            };
            assert_eq!(options_of(&options).uri, letters);
            assert_eq!(options_of(&options).storage_options["region"], "x");
        }
    }
}
