//! Which indices a table wants its lake to have.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::IndexSpec;
use crate::shape::Shape;
use crate::table::TableInner;
use crate::tier::lake::Lake;

/// Adds an index to the table's file; maintenance builds it.
pub(crate) fn create(table: &TableInner, spec: IndexSpec) -> Result<()> {
    let shape = table.tierer.context.shape();
    let column = shape.lake_schema.field_with_name(&spec.column);
    let column = column.map_err(|_| {
        let what = format!("column {:?}", spec.column);
        Error::invalid(what, "is not in the table's lake")
    })?;
    spec.kind.resolved(column.data_type())?;
    replace(table, |indices| {
        if indices.iter().all(|index| index.name != spec.name) {
            indices.push(spec);
        }
        Ok(())
    })?;
    table.maintainer.hurry();
    Ok(())
}

/// Takes an index out of the table's file, so that nobody builds it again, and out of the lake.
pub(crate) fn drop(table: &TableInner, name: &str) -> Result<()> {
    replace(table, |indices| {
        let at = indices.iter().position(|index| index.name == name);
        let at = at.ok_or_else(|| {
            let all: Vec<_> = indices.iter().map(|index| index.name.as_str()).collect();
            let told = format!("is not there; the table has {all:?}");
            Error::invalid(format!("index {name:?}"), told)
        })?;
        indices.remove(at);
        Ok(())
    })?;
    let context = &table.tierer.context;
    let (options, name) = (context.lake.clone(), name.to_owned());
    context.executor.run(async move {
        match Lake::open(&options).await? {
            Some(mut lake) => lake.drop_index(&name).await,
            None => Ok(()),
        }
    })?
}

fn replace(
    table: &TableInner,
    change: impl FnOnce(&mut Vec<IndexSpec>) -> Result<()>,
) -> Result<()> {
    let context = &table.tierer.context;
    let _alone = context.altering.lock();
    let mut meta = context.shape().meta.clone();
    change(&mut meta.indices)?;
    let next = Shape::new(meta, &context.directory)?;
    next.meta.write(&context.directory)?;
    *context.shape.write() = Arc::new(next);
    Ok(())
}
