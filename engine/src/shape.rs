//! What a table is until its columns or its transforms are others: its file, decoded.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{Field, Fields, Schema, SchemaRef};

use crate::catalog::{FIRST_GENERATION, PinnedTransform, TableMeta};
use crate::error::{Error, Result};
use crate::schemas::{Schemas, is_widening};
use crate::transform::ChainPlan;

/// A table's file and its schemas.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) meta: TableMeta,
    /// What is appended, and what was.
    pub(crate) schemas: Arc<Schemas>,
    /// The lake's columns, its own three last.
    pub(crate) lake_schema: SchemaRef,
    /// The columns that each generation of transforms makes.
    made: BTreeMap<u16, SchemaRef>,
}

impl Shape {
    /// Decodes a table's file; `directory` is named in errors.
    pub(crate) fn new(meta: TableMeta, directory: &Path) -> Result<Self> {
        Ok(Self {
            schemas: Arc::new(meta.schemas(directory)?),
            lake_schema: meta.lake_schema(directory)?,
            made: meta.made_schemas(directory)?,
            meta,
        })
    }

    /// The number of the transforms that the table has now.
    pub(crate) fn generation(&self) -> u16 {
        let last = self.meta.generations.last_key_value();
        last.map_or(0, |(number, _)| *number)
    }

    /// The transforms that the table has now.
    pub(crate) fn transforms(&self) -> &[PinnedTransform] {
        self.transforms_of(self.generation())
    }

    /// The transforms of a generation; none when it isn't known any more.
    pub(crate) fn transforms_of(&self, generation: u16) -> &[PinnedTransform] {
        let generation = self.meta.generations.get(&generation);
        generation.map_or(&[], |generation| generation.transforms.as_slice())
    }

    /// The versions of the plugins that the table has or had lately, by SHA-256, as far as they say one.
    pub(crate) fn plugin_versions(&self) -> BTreeMap<&str, &str> {
        let generations = self.meta.generations.values();
        let pinned = generations.flat_map(|generation| &generation.transforms);
        let versions = pinned.filter_map(|pinned| {
            let version = pinned.plugin_version.as_deref()?;
            Some((pinned.plugin_sha256.as_str(), version))
        });
        versions.collect()
    }

    /// Whether each row of the lake is a row of the log, as it was appended.
    pub(crate) fn never_had_transforms(&self) -> bool {
        self.generation() == FIRST_GENERATION && self.transforms().is_empty()
    }

    /// The columns that a generation of transforms makes.
    pub(crate) fn made(&self, generation: u16) -> Option<&SchemaRef> {
        self.made.get(&generation)
    }

    /// The columns that each generation of transforms makes that is at work or that staged rows name.
    pub(crate) fn all_made(&self) -> impl Iterator<Item = &SchemaRef> {
        self.made.values()
    }
}

/// The columns that transforms make, and all that come out of them; without transforms these are the table's own.
pub(crate) fn schemas_of(plan: Option<&ChainPlan>, table: &SchemaRef) -> (SchemaRef, SchemaRef) {
    match plan {
        Some(plan) => (
            SchemaRef::clone(plan.made_schema()),
            SchemaRef::clone(plan.output_schema()),
        ),
        None => (SchemaRef::new(Schema::empty()), SchemaRef::clone(table)),
    }
}

/// The lake's columns once the table has other columns or transforms: it keeps what it has but for dropped columns that nobody
/// makes, and gets what is new. A column that rows may lack from now on may be null.
///
/// # Errors
///
/// [`Error::Invalid`] for a column whose type would be another and not a wider one.
pub(crate) fn widened(lake: &Schema, made: &Schema, dropped: &[String]) -> Result<Schema> {
    let is_kept = |field: &&Arc<Field>| {
        !dropped.contains(field.name()) || made.field_with_name(field.name()).is_ok()
    };
    let known = lake.fields().iter().filter(is_kept).map(|field| {
        let Ok(new) = made.field_with_name(field.name()) else {
            return Ok(field.as_ref().clone().with_nullable(true));
        };
        let is_wider = is_widening(field.data_type(), new.data_type());
        if new.data_type() != field.data_type() && !is_wider {
            let (is, was) = (new.data_type(), field.data_type());
            return Err(Error::invalid(
                format!("column {:?}", field.name()),
                format!(
                    "the lake has it as {was}, and the transforms would make it {is}; give it another name in their outputs"
                ),
            ));
        }
        let nullable = field.is_nullable() || new.is_nullable();
        let field = field.as_ref().clone().with_nullable(nullable);
        Ok(field.with_data_type(new.data_type().clone()))
    });
    let known = known.collect::<Result<Vec<Field>>>()?;
    let added = made
        .fields()
        .iter()
        .filter(|field| lake.field_with_name(field.name()).is_err())
        .map(|field| field.as_ref().clone().with_nullable(true));
    let fields: Fields = known.into_iter().chain(added).collect();
    Ok(Schema::new_with_metadata(fields, lake.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;

    fn schema(fields: &[(&str, DataType, bool)]) -> Schema {
        let fields = fields
            .iter()
            .map(|(name, kind, null)| Field::new(*name, kind.clone(), *null));
        Schema::new(fields.collect::<Vec<_>>())
    }

    #[test]
    fn a_lake_keeps_its_columns_and_gets_new_ones_that_older_rows_lack() {
        let lake = schema(&[
            ("id", DataType::Int64, false),
            ("old", DataType::Utf8, false),
            ("same", DataType::Utf8, false),
        ]);
        let made = schema(&[
            ("id", DataType::Int64, false),
            ("same", DataType::Utf8, true),
            ("new", DataType::Binary, false),
        ]);
        let expected = schema(&[
            ("id", DataType::Int64, false),
            ("old", DataType::Utf8, true),
            ("same", DataType::Utf8, true),
            ("new", DataType::Binary, true),
        ]);
        assert_eq!(widened(&lake, &made, &[]).unwrap(), expected);
    }

    #[test]
    fn a_column_that_would_change_its_type_is_refused_with_both_types() {
        let lake = schema(&[("v", DataType::Utf8, true)]);
        let made = schema(&[("v", DataType::Int32, true)]);
        let told = widened(&lake, &made, &[]).unwrap_err().to_string();
        assert!(told.contains("\"v\"") && told.contains("Utf8") && told.contains("Int32"));
    }
}
