//! A table's file and its lake go on to other columns together, or not at all.
//!
//! They have no common commit. So the file comes first, and says in `altering` that the lake has yet to follow: from then on
//! the columns are the new ones, and whoever opens the lake brings it to them. Only if it is certain that the lake is as it
//! was the old file comes back.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::{Open, Tierer};
use crate::catalog::TableMeta;
use crate::crash::crash_point;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::shape::Shape;
use crate::tier::context::TierContext;
use crate::tier::dead_letters::{amending, nothing_written};
use crate::tier::lake::{Lake, Progress};
use crate::tier::writing::commit;

/// What is to become of a table.
pub(crate) struct Change {
    /// Its file, with what the lake has to follow with in `altering`.
    pub(crate) meta: TableMeta,
    /// The lake's columns, its own three last.
    pub(crate) lake_schema: SchemaRef,
}

impl Tierer {
    /// Gives the table's file and its lake other columns while no round runs. `prepare` completes the file, as of the offset
    /// that tiering goes on from; `take_over` is called before the table is the new one for everybody.
    ///
    /// On an error nothing was changed. The caller holds `altering`.
    pub(crate) fn alter_lake(
        &self,
        raw: &Log,
        change: Change,
        prepare: impl FnOnce(u64, &mut TableMeta) -> Result<()>,
        take_over: impl FnOnce(),
    ) -> Result<()> {
        let context = &self.context;
        let mut slot = self.open.lock();
        if self.is_closed() {
            return Err(Error::Unavailable {
                action: "alter a table",
                state: "closed",
            });
        }
        // What is open is of the old columns: the next round opens it anew.
        let (mut lake, progress) = match slot.take() {
            Some(Open { lake, progress, .. }) => (lake, progress),
            None => self.open_lake(raw)?,
        };
        let Change {
            mut meta,
            lake_schema,
        } = change;
        let dropped = meta.dropped().to_vec();
        let (schema, names) = (Arc::clone(&lake_schema), dropped.clone());
        let (lake, is_needed) = context.executor.run(async move {
            let refreshed = lake.refresh().await;
            let is_needed = refreshed.and_then(|()| lake.differs(&schema, &names));
            (lake, is_needed)
        })?;
        if !is_needed? {
            meta.altering = None;
        }
        crash_point("alter: begins");
        prepare(progress.to, &mut meta)?;
        let mut next = Shape::new(meta, &context.directory)?;
        next.meta.write(&context.directory)?;
        crash_point("alter: written down");
        if next.meta.altering.is_some() && self.follow(lake, progress, lake_schema, dropped)? {
            next.meta.altering = None;
            if let Err(error) = next.meta.write(&context.directory) {
                tracing::warn!(%error, "that the lake has its new columns is found out again");
            }
        }
        crash_point("alter: ended");
        take_over();
        *context.shape.write() = Arc::new(next);
        Ok(())
    }

    /// Brings the lake to other columns, now that the table's file has them; whether it is there, or else follows later. On an
    /// error the file and the lake are as they were.
    fn follow(
        &self,
        mut lake: Lake,
        progress: Progress,
        schema: SchemaRef,
        dropped: Vec<String>,
    ) -> Result<bool> {
        let context = &self.context;
        let (lake, conformed) = context.executor.run(async move {
            let conformed = lake.conform(&schema, &dropped).await;
            (lake, conformed)
        })?;
        crash_point("alter: lake altered");
        let Err(error) = conformed else {
            return Ok(true);
        };
        if is_unaltered(context, lake, progress) {
            context.shape().meta.write(&context.directory)?;
            return Err(error);
        }
        tracing::warn!(%error, "the lake does not have the table's new columns yet; it gets them before its next round");
        Ok(false)
    }

    /// Brings the lake to the table's columns, if a process ended before it was.
    pub(super) fn finish_altering(&self) -> Result<()> {
        let context = &self.context;
        let shape = context.shape();
        if shape.meta.altering.is_none() {
            return Ok(());
        }
        let (options, schema) = (context.lake.clone(), Arc::clone(&shape.lake_schema));
        let dropped = shape.meta.dropped().to_vec();
        context.executor.run(async move {
            match Lake::open(&options).await? {
                Some(mut lake) => lake.conform(&schema, &dropped).await,
                None => Ok(()),
            }
        })??;
        // Whoever is about to replace the file leaves this out itself, or it is done once more next time.
        if let Some(_alone) = context.altering.try_lock() {
            let mut meta = context.shape().meta.clone();
            meta.altering = None;
            let next = Shape::new(meta, &context.directory)?;
            next.meta.write(&context.directory)?;
            *context.shape.write() = Arc::new(next);
        }
        Ok(())
    }
}

/// Whether the lake still takes rows of the table's columns, for good: a commit of the failed alteration that is still under
/// way fits on one version only, and an empty one takes it.
fn is_unaltered(context: &TierContext, lake: Lake, progress: Progress) -> bool {
    let schema = Arc::clone(&context.shape().lake_schema);
    let fenced = nothing_written(context, lake).and_then(|(lake, written)| {
        let round = amending(context, progress, progress)?;
        let (lake, _) = commit(context, lake, written, round)?;
        lake.accepts(&schema)
    });
    fenced.is_ok()
}
