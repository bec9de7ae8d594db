//! Replacing a table's columns or its transforms while rows are appended.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::alteration::{Alteration, Altered};
use crate::catalog::{
    Altering, Generation, PinnedTransform, TableMeta, check_columns, lake_schema,
};
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::runner::Current;
use crate::pipeline::staged::GENERATION_MAX;
use crate::shape::{schemas_of, widened};
use crate::table::TableInner;
use crate::tier::tierer::Change;
use crate::transform::TransformSpec;

/// Pins, compiles and opens other transforms, widens the lake by what they make, and lets them take over.
pub(crate) fn replace_transforms(table: &Arc<TableInner>, specs: &[TransformSpec]) -> Result<()> {
    let context = &table.tierer.context;
    let _alone = context.altering.lock();
    let pinned = specs.iter().map(|spec| context.plugins.pin(spec));
    let pinned = pinned.collect::<Result<Vec<_>>>()?;
    reshape(table, pinned, None)
}

/// Changes a table's columns, and lets its transforms go on with the new ones.
pub(crate) fn alter(table: &Arc<TableInner>, alterations: &[Alteration]) -> Result<()> {
    let context = &table.tierer.context;
    let _alone = context.altering.lock();
    let shape = context.shape();
    let altered = Altered::new(&shape, alterations)?;
    match altered.schema == **shape.schemas.newest() {
        true => Ok(()),
        false => reshape(table, shape.transforms().to_vec(), Some(altered)),
    }
}

/// Gives a table these transforms and other columns. The caller holds `altering`.
fn reshape(
    table: &Arc<TableInner>,
    pinned: Vec<PinnedTransform>,
    altered: Option<Altered>,
) -> Result<()> {
    let context = &table.tierer.context;
    let shape = context.shape();
    let (schema, dropped) = match &altered {
        Some(altered) => (
            SchemaRef::new(altered.schema.clone()),
            altered.dropped.as_slice(),
        ),
        None => (Arc::clone(shape.schemas.newest()), [].as_slice()),
    };
    let limits = &context.settings.limits;
    let plan = context.plugins.plan(&schema, &pinned, limits)?;
    let (made, columns) = schemas_of(plan.as_ref(), &schema);
    check_columns(&columns)?;
    let lake_columns = shape.meta.lake_columns(&context.directory)?;
    let lake_columns = widened(&lake_columns, &columns, dropped)?;
    // Where nothing is staged there is nothing to tell apart.
    let is_staged = !shape.never_had_transforms() || !pinned.is_empty();
    let number = match is_staged {
        true => next_after(shape.generation())?,
        false => shape.generation(),
    };
    let mut meta = shape.meta.clone();
    if altered.is_some() {
        meta.add_schema(&schema)?;
    }
    let lake_schema = lake_schema(&lake_columns);
    let is_there = |column: &str| lake_schema.field_with_name(column).is_ok();
    meta.indices.retain(|index| is_there(&index.column));
    let gone = dropped.iter().filter(|column| !is_there(column));
    meta.altering = Some(Altering {
        dropped: gone.cloned().collect(),
    });
    let generation = Generation::new(pinned, &made);
    let change = Change { meta, lake_schema };
    // No round runs in here: the rows that are staged keep their transforms, and where there were none all that are not
    // tiered get the new ones.
    let prepare = |tiered, meta: &mut TableMeta| {
        if is_staged {
            table.pipeline.begin(tiered)?;
        }
        let staged = table.pipeline.log();
        let named = staged.map(|log| log.generations_from(tiered)).transpose()?;
        let mut named = named.unwrap_or_default();
        // Rows that are under way are staged under the number that they have.
        named.extend(table.pipeline.oldest_generation()..number);
        meta.add_generation(number, generation, &named, &lake_columns);
        Ok(())
    };
    let take_over = || {
        table.pipeline.take_over(Current {
            generation: number,
            plan: plan.clone(),
        });
    };
    table
        .tierer
        .alter_lake(&table.raw, change, prepare, take_over)?;
    Pipeline::start(table)?;
    table.pipeline.retry();
    table.maintainer.hurry();
    table.raw.wake();
    Ok(())
}

fn next_after(generation: u16) -> Result<u16> {
    let next = generation + 1;
    match next <= GENERATION_MAX {
        true => Ok(next),
        false => Err(Error::invalid(
            "transforms",
            format!("were replaced {GENERATION_MAX} times, which is as often as can be"),
        )),
    }
}

#[cfg(test)]
mod tests;
