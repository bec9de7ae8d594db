//! A table's frames, read while the table is altered.

use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::error::{Error, Result};
use crate::log::{Frame, ReadFrames};
use crate::schemas::FrameRows;
use crate::tier::context::TierContext;

/// Frames as rows of a table's columns: those of when it was made, until a frame has newer ones.
#[derive(Debug)]
pub(crate) struct TableFrames {
    context: Arc<TierContext>,
    rows: FrameRows,
    /// Only these columns.
    names: Option<Vec<String>>,
}

impl TableFrames {
    pub(crate) fn new(context: &Arc<TierContext>) -> Self {
        Self {
            context: Arc::clone(context),
            rows: FrameRows::new(Arc::clone(&context.shape().schemas)),
            names: None,
        }
    }
}

impl ReadFrames for TableFrames {
    fn read(&mut self, frame: &Frame) -> Result<RecordBatch> {
        if self.rows.schemas().of(frame).is_err() {
            self.rows = FrameRows::new(self.context.schemas_of(frame)?);
            if let Some(names) = self.names.take() {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.project(&names)?;
            }
        }
        self.rows.read(frame)
    }

    fn project(&mut self, names: &[&str]) -> Result<()> {
        let projected = FrameRows::of_columns(Arc::clone(self.rows.schemas()), names);
        self.rows = projected.map_err(|reason| Error::invalid("columns", reason.to_string()))?;
        self.names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        Ok(())
    }
}
