//! Replacing a table's transforms while rows are appended.

use std::sync::Arc;

use crate::catalog::{Generation, check_columns, lake_schema};
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::runner::Current;
use crate::pipeline::staged::GENERATION_MAX;
use crate::shape::{Shape, schemas_of, widened};
use crate::table::TableInner;
use crate::transform::TransformSpec;

/// Pins, compiles and opens other transforms, widens the lake by what they make, and lets them take over.
pub(crate) fn replace(table: &Arc<TableInner>, specs: &[TransformSpec]) -> Result<()> {
    let _alone = table.altering.lock();
    let context = &table.tierer.context;
    let shape = context.shape();
    let pinned = specs.iter().map(|spec| context.plugins.pin(spec));
    let pinned = pinned.collect::<Result<Vec<_>>>()?;
    let limits = &context.settings.limits;
    let plan = context.plugins.plan(&context.schema, &pinned, limits)?;
    let (made, columns) = schemas_of(plan.as_ref(), &context.schema);
    check_columns(&columns)?;
    let lake_columns = widened(&*shape.meta.lake_columns(&context.directory)?, &columns)?;
    let lake_schema = lake_schema(&lake_columns);
    let number = next_after(shape.generation())?;
    let generation = Generation::new(pinned, &made);
    // No round runs in here: the rows that are staged keep their transforms, and where there were none all that are not
    // tiered get the new ones.
    table
        .tierer
        .alter_lake(&table.raw, &lake_schema, |tiered| {
            table.pipeline.begin(tiered)?;
            let staged = table.pipeline.log();
            let named = staged.map(|log| log.generations_from(tiered)).transpose()?;
            let mut named = named.unwrap_or_default();
            // Rows that are under way are staged under the number that they have.
            named.extend(table.pipeline.oldest_generation()..number);
            let meta = shape
                .meta
                .with_generation(number, generation, &named, &lake_columns);
            let next = Shape::new(meta, &context.directory)?;
            next.meta.write(&context.directory)?;
            let plan = plan.clone();
            table.pipeline.take_over(Current {
                generation: number,
                plan,
            });
            *context.shape.write() = Arc::new(next);
            Ok(())
        })?;
    Pipeline::start(table)?;
    table.pipeline.retry();
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
