//! The conformance transform of batches.

// Exported, and so used, in WebAssembly only.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

#[path = "../../mode.rs"]
mod mode;

use alluvium_plugin::{
    Assets, Batch, BooleanBuilder, BytesBuilder, Column, Failure, Field, Kind, NumberBuilder,
    Output, Plan, Transform, VectorBuilder, export,
};
use mode::{Mode, Opened};

struct Conformance {
    opened: Opened,
    inputs: Vec<Field>,
}
export!(Conformance);

impl Transform for Conformance {
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String> {
        let (opened, plan) = mode::open(config, schema, assets)?;
        let inputs = plan.inputs.clone();
        Ok((Self { opened, inputs }, plan))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for (row, n) in batch.int32(self.opened.n)?.iter().enumerate() {
            if self.opened.fails(n) {
                let message = format!("n is {}", n.unwrap_or_default());
                failures.push(Failure::new(row as u32, message));
            }
            rows.extend(std::iter::repeat_n(row, self.opened.copies(n)?));
        }
        let columns = match &self.opened.greeting {
            Some(greeting) => vec![copies_of(greeting, rows.len())?],
            None => self.columns(batch, &rows)?,
        };
        Ok(match self.opened.mode {
            Mode::Filter | Mode::Repeat => {
                Output::from_rows(rows.iter().map(|row| *row as u32).collect(), columns)
            }
            _ => Output::one_to_one(batch, columns).with_failures(failures),
        })
    }
}

fn copies_of(text: &str, rows: usize) -> Result<Column, String> {
    let mut column = BytesBuilder::new(false);
    for _ in 0..rows {
        column.push(Some(text))?;
    }
    Ok(column.finish())
}

/// Reads and writes values of a column one by one.
macro_rules! copy {
    ($column:expr, $builder:expr, $rows:expr $(, $failing:tt)?) => {{
        let (column, mut builder) = ($column?, $builder);
        for row in $rows {
            builder.push(column.get(*row))$($failing)?;
        }
        builder.finish()
    }};
}

impl Conformance {
    /// The rows of each input, value by value.
    fn columns(&self, batch: &Batch, rows: &[usize]) -> Result<Vec<Column>, String> {
        let column = |(i, field): (usize, &Field)| {
            let nullable = field.nullable;
            Ok(match field.kind {
                Kind::Boolean => copy!(batch.boolean(i), BooleanBuilder::new(nullable), rows),
                Kind::Int32 => copy!(batch.int32(i), NumberBuilder::new(nullable), rows),
                Kind::Int64 => copy!(batch.int64(i), NumberBuilder::new(nullable), rows),
                Kind::Float32 => copy!(batch.float32(i), NumberBuilder::new(nullable), rows),
                Kind::Float64 => copy!(batch.float64(i), NumberBuilder::new(nullable), rows),
                Kind::Timestamp => copy!(batch.timestamp(i), NumberBuilder::new(nullable), rows),
                Kind::Utf8 => copy!(batch.text(i), BytesBuilder::new(nullable), rows, ?),
                Kind::Binary => copy!(batch.bytes(i), BytesBuilder::new(nullable), rows, ?),
                Kind::Vector => vectors(batch, i, field, rows)?,
            })
        };
        self.inputs.iter().enumerate().map(column).collect()
    }
}

fn vectors(batch: &Batch, i: usize, field: &Field, rows: &[usize]) -> Result<Column, String> {
    let column = batch.vector(i)?;
    let mut builder = VectorBuilder::new(field.dim as usize, field.nullable);
    for row in rows {
        let vector: Option<Vec<f32>> = column.get(*row).map(Iterator::collect);
        builder.push(vector.as_deref());
    }
    Ok(builder.finish())
}
