//! Bringing a lake's columns to those of a table: new ones, wider ones, ones that may be null, and some less.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema};
use lance::dataset::{ColumnAlteration, NewColumnTransform};
use lance::datatypes::format_field_path;
use lance::index::DatasetIndexExt;

use super::Lake;
use super::layout::takes;
use super::round::{ATTEMPTS, is_conflict, pause};
use super::schema::{through_lance, unlike};
use crate::crash::crash_point;
use crate::schemas::is_widening;
use crate::{Error, Result};

/// What a lake's columns lack to be those of a table.
#[derive(Default)]
struct Steps {
    /// Columns that are to have another type, or may be null from now on.
    alter: Vec<ColumnAlteration>,
    /// The names of those that are cast.
    cast: Vec<String>,
    add: Vec<FieldRef>,
    drop: Vec<String>,
}

impl Steps {
    fn are_none(&self) -> bool {
        self.alter.is_empty() && self.add.is_empty() && self.drop.is_empty()
    }
}

impl Lake {
    /// Gives the lake the columns of a schema that it lacks, null in the rows that it has; lets its columns be null that may be
    /// null in the schema or are not in it; casts narrower columns, whose indices are dropped; drops those of these names. Only
    /// metadata is written but for what is cast. It survives power loss once this returned.
    ///
    /// # Errors
    ///
    /// [`Error::LakeMismatch`] when the lake has a column of another type that is not a narrower one.
    pub(crate) async fn conform(&mut self, schema: &Schema, dropped: &[String]) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            // Also after all went well: only the newest version tells what came of it.
            self.refresh().await?;
            let steps = self.steps(schema, dropped)?;
            if steps.are_none() {
                break;
            }
            let Err(error) = self.take_steps(&steps).await else {
                continue;
            };
            // Maintenance may have built an index of a column once more.
            let indices = self.indices_of(&steps.cast).await;
            let is_indexed = indices.is_ok_and(|indices| !indices.is_empty());
            if attempt + 1 == ATTEMPTS || (!is_conflict(&error) && !is_indexed) {
                return Err(self.error("alter the columns of")(error));
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        self.accepts(schema)
    }

    /// Whether there is something to do for [`Lake::conform`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn differs(&self, schema: &Schema, dropped: &[String]) -> Result<bool> {
        Ok(!self.steps(schema, dropped)?.are_none())
    }

    fn steps(&self, schema: &Schema, dropped: &[String]) -> Result<Steps> {
        let (lake, stored) = (self.schema(), through_lance(schema));
        let mut steps = Steps::default();
        for (field, stored) in schema.fields().iter().zip(stored.fields()) {
            let Ok(there) = lake.field_with_name(field.name()) else {
                steps.add.push(self.layout.stored_field(field));
                continue;
            };
            let is_cast = is_widening(there.data_type(), stored.data_type());
            let is_relaxed = stored.is_nullable() && !there.is_nullable();
            let alteration = ColumnAlteration::new(path_of(field.name()));
            let alteration = match is_relaxed {
                true => alteration.set_nullable(true),
                false => alteration,
            };
            if is_cast {
                steps.cast.push(field.name().clone());
                let alteration = alteration.cast_to(stored.data_type().clone());
                steps.alter.push(alteration);
            } else if !takes(there, stored.data_type()) {
                return Err(self.mismatch(unlike(stored, there)));
            } else if is_relaxed {
                steps.alter.push(alteration);
            }
        }
        for there in lake.fields() {
            let name = there.name();
            match (schema.field_with_name(name), dropped.contains(name)) {
                (Ok(_), _) => {}
                (Err(_), true) => steps.drop.push(name.clone()),
                (Err(_), false) if there.is_nullable() => {}
                (Err(_), false) => {
                    let alteration = ColumnAlteration::new(path_of(name));
                    steps.alter.push(alteration.set_nullable(true));
                }
            }
        }
        Ok(steps)
    }

    /// Casting comes first: the other steps don't depend on the rows, and fail for nothing that is known before.
    async fn take_steps(&mut self, steps: &Steps) -> lance::Result<()> {
        for index in self.indices_of(&steps.cast).await? {
            self.dataset.drop_index(&index).await?;
        }
        if !steps.alter.is_empty() {
            self.dataset.alter_columns(&steps.alter).await?;
        }
        crash_point("alter: columns cast");
        if !steps.add.is_empty() {
            let added = Arc::new(Schema::new(steps.add.clone()));
            let added = NewColumnTransform::AllNulls(added);
            self.dataset.add_columns(added, None, None).await?;
        }
        crash_point("alter: columns added");
        if !steps.drop.is_empty() {
            let paths: Vec<String> = steps.drop.iter().map(|name| path_of(name)).collect();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            self.dataset.drop_columns(&paths).await?;
        }
        Ok(())
    }

    /// The names of the indices of some columns.
    async fn indices_of(&self, columns: &[String]) -> lance::Result<BTreeSet<String>> {
        if columns.is_empty() {
            return Ok(BTreeSet::new());
        }
        let schema = self.dataset.schema();
        let ids = columns
            .iter()
            .filter_map(|name| schema.field(&path_of(name)));
        let ids: Vec<i32> = ids.map(|field| field.id).collect();
        let indices = self.dataset.load_indices().await?;
        let of = indices
            .iter()
            .filter(|index| index.fields.iter().any(|id| ids.contains(id)));
        Ok(of.map(|index| index.name.clone()).collect())
    }

    fn mismatch(&self, reason: Option<String>) -> Error {
        Error::LakeMismatch {
            uri: self.uri().to_owned(),
            reason: reason.unwrap_or_default(),
        }
    }
}

/// A column's name as Lance wants to read it.
fn path_of(name: &str) -> String {
    format_field_path(&[name])
}
