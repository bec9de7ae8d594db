//! The transform that an instance of the component holds.

use crate::{Assets, Batch, Column, Field, Output, Plan, RecordTransform, Transform, Value};

/// A transform once it was opened; what [`export!`](crate::export!) and
/// [`export_record!`](crate::export_record!) keep between the host's calls.
#[derive(Debug)]
pub struct Instance<T>(Option<T>);

impl<T> Default for Instance<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Instance<T> {
    fn transform(&mut self) -> Result<&mut T, String> {
        self.0
            .as_mut()
            .ok_or_else(|| "apply was called before open".to_owned())
    }
}

impl<T: Transform> Instance<T> {
    /// Opens the transform.
    pub fn open(
        &mut self,
        config: &str,
        schema: &[Field],
        assets: &dyn Assets,
    ) -> Result<Plan, String> {
        let (transform, plan) = T::open(config, schema, assets)?;
        self.0 = Some(transform);
        Ok(plan)
    }

    /// Transforms a batch.
    pub fn apply(&mut self, rows: u32, columns: Vec<Column>) -> Result<Output, String> {
        self.transform()?.apply(&Batch::new(rows, columns))
    }
}

impl<T: RecordTransform> Instance<T> {
    /// Opens the transform.
    pub fn open_record(
        &mut self,
        config: &str,
        schema: &[Field],
        assets: &dyn Assets,
    ) -> Result<Plan, String> {
        let (transform, plan) = T::open(config, schema, assets)?;
        self.0 = Some(transform);
        Ok(plan)
    }

    /// Transforms a record.
    pub fn apply_record(&mut self, record: Vec<Value>) -> Result<Vec<Vec<Value>>, String> {
        self.transform()?.apply(record)
    }
}
