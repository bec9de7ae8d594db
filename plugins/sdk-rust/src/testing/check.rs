//! What the host checks of a plan and of an output.

use std::collections::BTreeSet;

use super::{Made, column};
use crate::{Batch, Column, Field, Kind, Output, Plan, Value};

/// Checks that a plan reads what there is, and names no column twice.
pub(super) fn plan(plan: &Plan, schema: &[Field]) -> Result<(), String> {
    for input in &plan.inputs {
        let given = schema.iter().find(|field| field.name == input.name);
        let given =
            given.ok_or_else(|| format!("it reads `{}`, which is not given", input.name))?;
        if (given.kind, given.dim) != (input.kind, input.dim) {
            return Err(format!("it reads `{}` as what it is not", input.name));
        }
    }
    for (fields, verb) in [(&plan.inputs, "reads"), (&plan.outputs, "makes")] {
        let mut names = BTreeSet::new();
        if let Some(field) = fields.iter().find(|field| !names.insert(&field.name)) {
            return Err(format!("it {verb} `{}` twice", field.name));
        }
    }
    Ok(())
}

/// Checks an output, and takes from it what the host would keep.
pub(super) fn output(output: Output, rows: u32, outputs: &[Field]) -> Result<Made, String> {
    let mut failures: Vec<_> = output
        .failures
        .into_iter()
        .map(|failure| (failure.row, failure.message))
        .collect();
    failures.sort_by_key(|(row, _)| *row);
    failures.dedup_by_key(|(row, _)| *row);
    if let Some((row, _)) = failures.last().filter(|(row, _)| *row >= rows) {
        return Err(format!("row {row} failed, of a batch of {rows} rows"));
    }
    let failed = |row: &u32| failures.iter().any(|(failed, _)| failed == row);
    let is_one_to_one = output.origin.is_none();
    if is_one_to_one && output.rows != rows {
        return Err(format!("{} rows for {rows} without an origin", output.rows));
    }
    let origin = output.origin.unwrap_or_else(|| (0..rows).collect());
    check_origin(&origin, output.rows, rows)?;
    if !is_one_to_one && let Some(row) = origin.iter().find(|row| failed(row)) {
        return Err(format!("row {row} both as failed and in its origin"));
    }
    if output.columns.len() != outputs.len() {
        let (has, wants) = (output.columns.len(), outputs.len());
        return Err(format!("{has} columns, where its plan has {wants}"));
    }
    let mut columns: Vec<(String, Vec<Value>)> = Vec::new();
    for (flat, field) in output.columns.into_iter().zip(outputs) {
        let values = values(flat, field, output.rows)
            .map_err(|message| format!("output `{}` {message}", field.name))?;
        let kept = origin.iter().zip(values).filter(|(row, _)| !failed(row));
        columns.push((field.name.clone(), kept.map(|(_, value)| value).collect()));
    }
    Ok(Made {
        origin: origin.iter().copied().filter(|row| !failed(row)).collect(),
        columns: columns.into_iter().collect(),
        failures,
    })
}

fn check_origin(origin: &[u32], made: u32, rows: u32) -> Result<(), String> {
    if origin.len() != made as usize {
        return Err(format!("{made} rows, but an origin of {}", origin.len()));
    }
    if !origin.is_sorted() {
        return Err("an origin that decreases".to_owned());
    }
    match origin.last().filter(|row| **row >= rows) {
        Some(row) => Err(format!("an origin of row {row}, of a batch of {rows} rows")),
        None => Ok(()),
    }
}

/// The values of an output column.
fn values(mut flat: Column, field: &Field, rows: u32) -> Result<Vec<Value>, String> {
    let has_offsets = matches!(field.kind, Kind::Utf8 | Kind::Binary);
    if has_offsets && rows == 0 && flat.offsets.is_empty() {
        flat.offsets.push(0);
    }
    if !has_offsets && !flat.offsets.is_empty() {
        return Err("has offsets, which its kind does not have".to_owned());
    }
    if has_offsets {
        let last = flat.offsets.last().copied().unwrap_or_default();
        let sound = flat.offsets.first() == Some(&0)
            && flat.offsets.is_sorted()
            && last as usize <= flat.data.len();
        if !sound {
            return Err("has offsets that decrease, or do not lie in its data".to_owned());
        }
    }
    let wants = rows as usize * field.dim as usize * 4;
    if field.kind == Kind::Vector && flat.data.len() != wants {
        let (has, dim) = (flat.data.len(), field.dim);
        return Err(format!(
            "has {has} bytes of data where {rows} vectors of {dim} want {wants}"
        ));
    }
    let values = column::read(&Batch::new(rows, vec![flat]), 0, field)
        .map_err(|message| message.trim_start_matches("column 0 ").to_owned())?;
    if !field.nullable && values.iter().any(Value::is_null) {
        return Err("has nulls, where its plan declares it free of them".to_owned());
    }
    Ok(values)
}
