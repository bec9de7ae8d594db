//! Fits a plugin's columns to a table's, before any data flows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::{Field, FieldRef, Schema, SchemaRef};

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

/// A column that a plugin is offered, under its own name.
pub(super) struct Given<'a> {
    pub(super) column: Column,
    /// Where the table has it.
    index: usize,
    field: &'a Field,
}

/// Opens a transform's plugin on the columns it is given. The error says what does not fit.
pub(super) fn wire(
    bound: &BoundTransform,
    schema: &Schema,
    limits: &Limits,
) -> Result<Wired, String> {
    let spec = &bound.spec;
    let in_plugin = |reason| format!("plugin {}: {reason}", bound.plugin.name());
    bound.plugin.check_grants(&spec.grants).map_err(in_plugin)?;
    let given = given_columns(&spec.inputs, schema)?;
    let config = match &spec.config {
        serde_json::Value::Null => "{}".to_owned(),
        config => config.to_string(),
    };
    let opening = Opening {
        transform: spec.name.clone(),
        config,
        schema: given.iter().map(|given| given.column.clone()).collect(),
        assets: Arc::new(bound.assets.clone()),
        limits: limits.clone(),
    };
    let instance = Instance::open(&bound.plugin, &opening).map_err(in_plugin)?;
    check_names("inputs", "reads", &spec.inputs, &instance.inputs)?;
    check_names("outputs", "makes", &spec.outputs, &instance.outputs)?;
    let inputs = find_inputs(&instance.inputs, &given, schema).map_err(in_plugin)?;
    let (schema, layout) = lay_out(spec, schema, &instance.outputs)?;
    Ok(Wired {
        opening,
        instance,
        inputs,
        schema,
        layout,
    })
}

/// The columns that the plugin is offered: those that are wired, or else all that can cross.
pub(super) fn given_columns<'a>(
    wired: &BTreeMap<String, String>,
    schema: &'a Schema,
) -> Result<Vec<Given<'a>>, String> {
    let given = |name: &str, index: usize, field: &'a Field| {
        Column::from_arrow(name, field).map(|column| Given {
            column,
            index,
            field,
        })
    };
    if wired.is_empty() {
        let all = schema.fields().iter().enumerate();
        return Ok(all
            .filter_map(|(index, field)| given(field.name(), index, field))
            .collect());
    }
    let wired = wired.iter().map(|(name, table_name)| {
        let (index, field) = schema.column_with_name(table_name).ok_or_else(|| {
            let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            format!("input {name:?} is wired to column {table_name:?}, which does not exist; there are: {}", names.join(", "))
        })?;
        given(name, index, field).ok_or_else(|| {
            format!("input {name:?} is wired to column {table_name:?} of type {}, which cannot be handed to a plugin", field.data_type())
        })
    });
    wired.collect()
}

/// The table's column for each that a plugin reads, if it is what the plugin takes it for.
pub(super) fn find_inputs(
    inputs: &[Column],
    given: &[Given<'_>],
    schema: &Schema,
) -> Result<Vec<usize>, String> {
    let found = inputs.iter().map(|input| {
        let name = &input.name;
        let Some(given) = given.iter().find(|given| given.column.name == *name) else {
            return Err(match schema.column_with_name(name) {
                Some((_, field)) if Column::from_arrow(name, field).is_none() => format!(
                    "it reads column {name:?}, whose type {} cannot be handed to a plugin",
                    field.data_type()
                ),
                _ => format!(
                    "it reads column {name:?}, which it is not given; it is given {}",
                    list_columns(given.iter().map(|given| &given.column))
                ),
            });
        };
        let Given { column, field, .. } = given;
        match (column.kind, column.dim) == (input.kind, input.dim) {
            true => Ok(given.index),
            false => Err(format!(
                "it reads column {name:?}{} as {}, but it is {}{}",
                match field.name() == name {
                    true => String::new(),
                    false => format!(", wired to {:?},", field.name()),
                },
                input.type_name(),
                column.type_name(),
                match field.data_type() == &column.data_type() {
                    true => String::new(),
                    false => format!(" ({})", field.data_type()),
                },
            )),
        }
    });
    found.collect()
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
