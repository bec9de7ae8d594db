//! Fits a plugin's columns to a table's, before any data flows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};

use super::chain::BoundTransform;
use super::field::Column;
use super::instance::{Instance, Opening, list_columns};
use super::limits::Limits;
use super::spec::{OnError, TransformSpec};

/// Where a column of a stage's output comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// The incoming column of that index, untouched.
    Passed(usize),
    /// The plan's output of that index.
    Made(usize),
}

/// An opened plugin whose columns fit.
pub(super) struct Wired {
    pub(super) opening: Opening,
    pub(super) instance: Instance,
    /// For each of the plan's inputs the incoming column.
    pub(super) inputs: Vec<usize>,
    pub(super) schema: SchemaRef,
    pub(super) layout: Vec<Source>,
}

/// Opens a transform's plugin on the columns it is given. The error says what does not fit.
pub(super) fn wire(
    bound: &BoundTransform,
    schema: &Schema,
    limits: &Limits,
) -> Result<Wired, String> {
    let spec = &bound.spec;
    let given = given_columns(spec, schema)?;
    let config = match &spec.config {
        serde_json::Value::Null => "{}".to_owned(),
        config => config.to_string(),
    };
    let opening = Opening {
        transform: spec.name.clone(),
        config,
        schema: given.iter().map(|(column, _)| column.clone()).collect(),
        assets: Arc::new(bound.assets.clone()),
        limits: limits.clone(),
    };
    let instance = Instance::open(&bound.plugin, &opening)
        .map_err(|reason| format!("plugin {}: {reason}", bound.plugin.name()))?;
    check_names("inputs", "reads", &spec.inputs, &instance.inputs)?;
    check_names("outputs", "makes", &spec.outputs, &instance.outputs)?;
    let inputs = instance.inputs.iter().filter_map(|input| {
        let found = given.iter().find(|(column, _)| column.name == input.name);
        found.map(|(_, index)| *index)
    });
    let inputs = inputs.collect();
    let (schema, layout) = lay_out(spec, schema, &instance.outputs)?;
    Ok(Wired {
        opening,
        instance,
        inputs,
        schema,
        layout,
    })
}

/// The columns that the plugin is offered, under its own names, and where the table has them.
fn given_columns(spec: &TransformSpec, schema: &Schema) -> Result<Vec<(Column, usize)>, String> {
    if spec.inputs.is_empty() {
        let all = schema.fields().iter().enumerate();
        return Ok(all
            .filter_map(|(index, field)| Some((Column::from_arrow(field.name(), field)?, index)))
            .collect());
    }
    let wired = spec.inputs.iter().map(|(name, table_name)| {
        let (index, field) = schema.column_with_name(table_name).ok_or_else(|| {
            let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            format!("input {name:?} is wired to column {table_name:?}, which does not exist; there are: {}", names.join(", "))
        })?;
        let column = Column::from_arrow(name, field).ok_or_else(|| {
            format!("input {name:?} is wired to column {table_name:?} of type {}, which cannot be handed to a plugin", field.data_type())
        })?;
        Ok((column, index))
    });
    wired.collect()
}

fn check_names(
    what: &str,
    verb: &str,
    wired: &BTreeMap<String, String>,
    columns: &[Column],
) -> Result<(), String> {
    match wired
        .keys()
        .find(|name| columns.iter().all(|c| c.name != **name))
    {
        Some(name) => Err(format!(
            "{what} names column {name:?}, but the plugin {verb}: {}",
            list_columns(columns)
        )),
        None => Ok(()),
    }
}

/// The schema after the transform: an output replaces the column whose name it takes, or comes last.
fn lay_out(
    spec: &TransformSpec,
    schema: &Schema,
    outputs: &[Column],
) -> Result<(SchemaRef, Vec<Source>), String> {
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut layout: Vec<Source> = (0..fields.len()).map(Source::Passed).collect();
    let mut taken = BTreeSet::new();
    for (index, output) in outputs.iter().enumerate() {
        let target = match spec.outputs.get(&output.name) {
            Some(target) => target,
            None if spec.outputs.is_empty() => &output.name,
            None => continue,
        };
        if !taken.insert(target) {
            return Err(format!("two outputs are wired to column {target:?}"));
        }
        let nullable = output.nullable || spec.on_error == OnError::Null;
        let field = Arc::new(output.to_arrow().with_name(target).with_nullable(nullable));
        match schema
            .index_of(target)
            .ok()
            .and_then(|i| fields.get_mut(i).zip(layout.get_mut(i)))
        {
            Some((old, source)) => (*old, *source) = (field, Source::Made(index)),
            None => {
                fields.push(field);
                layout.push(Source::Made(index));
            }
        }
    }
    Ok((
        Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
        layout,
    ))
}
