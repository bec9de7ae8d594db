//! The transform that an instance of the component holds.

use crate::{Assets, Batch, Column, Field, Output, Plan, Transform};

/// A transform once it was opened; what [`export!`](crate::export!) keeps between the host's calls.
#[derive(Debug)]
pub struct Instance<T>(Option<T>);

impl<T> Default for Instance<T> {
    fn default() -> Self {
        Self(None)
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
        let transform = self.0.as_mut().ok_or("apply was called before open")?;
        transform.apply(&Batch::new(rows, columns))
    }
}
