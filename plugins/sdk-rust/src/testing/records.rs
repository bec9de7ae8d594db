//! Record transforms, run as the host runs them.

use super::column;
use crate::{Assets, Batch, Failure, Field, Output, Plan, RecordTransform, Transform, Value};

/// A [`RecordTransform`] as a [`Transform`], record by record: `run::<Records<Words>>("{}", &rows)`.
#[derive(Debug)]
pub struct Records<T> {
    transform: T,
    plan: Plan,
}

impl<T: RecordTransform> Transform for Records<T> {
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String> {
        let (transform, plan) = T::open(config, schema, assets)?;
        let opened = Self {
            transform,
            plan: plan.clone(),
        };
        Ok((opened, plan))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let mut inputs = Vec::new();
        for (index, field) in self.plan.inputs.iter().enumerate() {
            inputs.push(column::read(batch, index, field)?.into_iter());
        }
        let outputs = &self.plan.outputs;
        let mut columns = vec![Vec::new(); outputs.len()];
        let (mut origin, mut failures) = (Vec::new(), Vec::new());
        for row in (0..).take(batch.rows()) {
            let record = inputs.iter_mut().filter_map(Iterator::next).collect();
            let made = self.transform.apply(record);
            match made.and_then(|records| check(records, outputs)) {
                Err(message) => failures.push(Failure { row, message }),
                Ok(records) => {
                    for record in records {
                        origin.push(row);
                        let pairs = columns.iter_mut().zip(record);
                        pairs.for_each(|(column, value)| column.push(value));
                    }
                }
            }
        }
        let columns = outputs.iter().zip(&columns);
        let columns = columns.map(|(field, values)| column::build(field, values));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Output::from_rows(origin, columns).with_failures(failures))
    }
}

/// Checks that every record has a value of the right kind for each column.
fn check(records: Vec<Vec<Value>>, outputs: &[Field]) -> Result<Vec<Vec<Value>>, String> {
    for record in &records {
        if record.len() != outputs.len() {
            let (has, wants) = (record.len(), outputs.len());
            return Err(format!(
                "returned a record of {has} values, where its plan has {wants}"
            ));
        }
        let mut pairs = record.iter().zip(outputs);
        if let Some((value, field)) = pairs.find(|(value, field)| !column::fits(value, field)) {
            let name = &field.name;
            return Err(format!("returned {value:?} for the column `{name}`"));
        }
    }
    Ok(records)
}
