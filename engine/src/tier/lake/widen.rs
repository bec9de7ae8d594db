//! New columns for a lake that has rows.

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use lance::dataset::{ColumnAlteration, NewColumnTransform};

use super::Lake;
use super::round::{ATTEMPTS, is_conflict, pause};
use crate::Result;

impl Lake {
    /// Gives the lake the columns of a schema that it lacks, null in the rows that it has, and lets its columns be null that
    /// may be null in the schema. Only metadata is written. It survives power loss once this returned.
    ///
    /// # Errors
    ///
    /// [`Error::LakeMismatch`](crate::Error::LakeMismatch) when the lake has a column of another type.
    pub(crate) async fn widen(&mut self, schema: &Schema) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            self.refresh().await?;
            match self.widen_once(schema).await {
                Ok(()) => return self.accepts(schema),
                Err(error) if is_conflict(&error) && attempt + 1 < ATTEMPTS => {
                    tokio::time::sleep(pause(attempt)).await;
                }
                Err(error) => return Err(self.error("add columns to")(error)),
            }
        }
        self.accepts(schema)
    }

    async fn widen_once(&mut self, schema: &Schema) -> lance::Result<()> {
        let lake = self.schema();
        let there = |field: &Field| lake.field_with_name(field.name()).ok().cloned();
        let fields = schema.fields().iter();
        let missing: Vec<_> = fields.clone().filter(|f| there(f).is_none()).collect();
        let relaxed = fields.filter(|field| {
            field.is_nullable() && there(field).is_some_and(|there| !there.is_nullable())
        });
        let relaxed: Vec<ColumnAlteration> = relaxed
            .map(|field| ColumnAlteration::new(field.name().clone()).set_nullable(true))
            .collect();
        if !missing.is_empty() {
            let missing = missing.into_iter().cloned().collect::<Vec<_>>();
            let missing = NewColumnTransform::AllNulls(Arc::new(Schema::new(missing)));
            self.dataset.add_columns(missing, None, None).await?;
        }
        if !relaxed.is_empty() {
            self.dataset.alter_columns(&relaxed).await?;
        }
        Ok(())
    }
}
