//! One transform of a chain at work: cuts a batch, calls the plugin, and isolates what it fails on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_schema::{ArrowError, SchemaRef};

use super::chain::BoundTransform;
use super::codec;
use super::field::Column;
use super::host::TICK;
use super::instance::{Flaw, Instance, Opening};
use super::limits::{Limits, show_bytes, show_duration};
use super::made::Made;
use super::plugin::Plugin;
use super::rows::cut;
use super::spec::OnError;
use super::validate::Valid;
use super::view::View;
use super::wiring::{Source, wire};

/// Failed calls on the rows of one plugin batch may cost this many deadlines before the deadline
/// is cut to a tenth.
const PATIENCE: u32 = 10;
const IMPATIENT: u32 = 10;
/// All the calls on one batch together may hand back this many times what one may.
const TOTAL_OUTPUT: u64 = 16;

/// Whether somebody still waits for what is being made.
pub(super) type Wanted<'a> = &'a dyn Fn() -> bool;

/// A transform, wired: what all who run it share.
pub(super) struct StagePlan {
    pub(super) name: String,
    pub(super) plugin: Plugin,
    pub(super) on_error: OnError,
    /// The schema after this transform.
    pub(super) schema: SchemaRef,
    pub(super) layout: Vec<Source>,
    opening: Opening,
    /// For each input of the plugin's plan the incoming column.
    inputs: Vec<usize>,
    /// What the plugin declared when it was first opened.
    reads: Vec<Column>,
    makes: Vec<Column>,
}

impl StagePlan {
    /// The incoming columns that the plugin reads.
    pub(super) fn inputs(&self) -> &[usize] {
        &self.inputs
    }
}

/// One who runs a transform, with an instance of its own.
pub(super) struct Stage {
    pub(super) plan: Arc<StagePlan>,
    /// Absent before the first call, and after one that broke it; opened for the next.
    instance: Option<Instance>,
    /// How many rows the next call takes: halved when a call fails, doubled when one is fast.
    rows_a_call: usize,
}

/// What a stage made of a batch.
pub(super) struct Staged {
    /// The columns of the plugin's plan.
    pub(super) columns: Vec<ArrayRef>,
    /// For each row the incoming row; `None` is one to one.
    pub(super) from: Option<UInt32Array>,
    /// The incoming rows that failed and left, ascending.
    pub(super) failures: Vec<(u32, String)>,
    /// How many rows failed and stayed, null.
    pub(super) nulled: u32,
}

impl Stage {
    pub(super) fn new(
        bound: BoundTransform,
        schema: &SchemaRef,
        limits: &Limits,
    ) -> Result<Self, String> {
        let wired = wire(&bound, schema, limits)?;
        let plan = StagePlan {
            name: bound.spec.name,
            plugin: bound.plugin,
            on_error: bound.spec.on_error,
            schema: wired.schema,
            layout: wired.layout,
            opening: wired.opening,
            inputs: wired.inputs,
            reads: wired.instance.inputs.clone(),
            makes: wired.instance.outputs.clone(),
        };
        Ok(Self {
            instance: Some(wired.instance),
            ..Self::idle(Arc::new(plan))
        })
    }

    /// A stage that opens its instance when it is first called.
    pub(super) fn idle(plan: Arc<StagePlan>) -> Self {
        Self {
            rows_a_call: plan.opening.limits.batch_rows.max(1) as usize,
            plan,
            instance: None,
        }
    }

    fn limits(&self) -> &Limits {
        &self.plan.opening.limits
    }

    /// Transforms a batch, as long as it is wanted. With [`OnError::Fail`] it stops at the first
    /// failure: only `failures` counts then.
    pub(super) fn run(
        &mut self,
        view: &View<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Staged, ArrowError> {
        let mut made = Made::new(&self.plan.makes, self.plan.on_error);
        let inputs = self.plan.inputs.iter().map(|index| view.column(*index));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let (most_rows, most_bytes) = (self.limits().batch_rows, self.limits().batch_bytes);
        for run in cut(&inputs, view.rows(), most_rows as usize, most_bytes) {
            self.run_rows(view, &inputs, run, &mut made, wanted)?;
            if made.halted() {
                break;
            }
        }
        let nulled = made.nulled;
        let (columns, from, failures) = made.finish()?;
        let one_to_one =
            from.len() == view.rows() && from.iter().zip(0..).all(|(row, i)| *row == i);
        Ok(Staged {
            columns,
            from: (!one_to_one).then(|| from.into()),
            failures,
            nulled,
        })
    }

    /// Transforms the rows of one plugin batch: a call that fails is tried again on half of its
    /// rows, until the guilty record is alone.
    fn run_rows(
        &mut self,
        view: &View<'_>,
        inputs: &[ArrayRef],
        rows: Range<usize>,
        made: &mut Made,
        wanted: Wanted<'_>,
    ) -> Result<(), ArrowError> {
        let patience = self.limits().batch_deadline.saturating_mul(PATIENCE);
        let (mut at, mut wasted, mut opening) = (rows.start, Duration::ZERO, Duration::ZERO);
        let mut slowest = Duration::ZERO;
        while at < rows.end && !made.halted() {
            if !wanted() {
                return Err(ArrowError::ComputeError(
                    "nobody wants it any more".to_owned(),
                ));
            }
            let count = self.rows_a_call.clamp(1, rows.end - at);
            let start = Instant::now();
            // Without an instance no record is to blame: the batch as a whole is tried again later.
            let instance = match opening > patience {
                true => Err(format!(
                    "to open it again and again took {}",
                    show_duration(opening)
                )),
                false => self.take_instance(),
            };
            let instance = instance.map_err(|reason| {
                let name = &self.plan.name;
                ArrowError::ExternalError(format!("transform {name:?}: {reason}").into())
            })?;
            opening += start.elapsed();
            let deadline = match wasted >= patience {
                true => self.short_deadline(slowest),
                false => self.limits().batch_deadline,
            };
            let was_used = instance.calls > 0;
            let start = Instant::now();
            let attempt = self.attempt(instance, view, inputs, at..at + count, deadline);
            if let Err(flaw) = &attempt {
                let (transform, reason) = (&self.plan.name, &flaw.reason);
                tracing::debug!(transform, rows = count, reason, "a call failed");
            }
            match attempt {
                Ok(valid) => {
                    made.check_total(&valid, self.total_bytes())?;
                    made.add(at, count, valid)?;
                    at += count;
                    slowest = slowest.max(start.elapsed());
                    if start.elapsed() < deadline / 4 {
                        let most = self.limits().batch_rows.max(1) as usize;
                        self.rows_a_call = self.rows_a_call.max(count * 2).min(most);
                    }
                }
                // What earlier calls left behind may be to blame: it counts on a fresh instance only.
                Err(flaw) if count == 1 && flaw.fatal && was_used => wasted += start.elapsed(),
                Err(flaw) if count == 1 => {
                    made.fail(at, 1, &flaw.reason)?;
                    at += 1;
                    wasted += start.elapsed();
                }
                // A deadline costs the most to run into again.
                Err(flaw) => {
                    self.rows_a_call = (count / if flaw.timed_out { 8 } else { 2 }).max(1);
                    wasted += start.elapsed();
                }
            }
        }
        Ok(())
    }

    /// The deadline once patience has run out: shorter, but not so short that a row fails which is no
    /// slower than others that were fine.
    fn short_deadline(&self, slowest: Duration) -> Duration {
        let full = self.limits().batch_deadline;
        (full / IMPATIENT).max(slowest * 4).max(TICK).min(full)
    }

    /// What all the calls on one batch together may hand back.
    fn total_bytes(&self) -> u64 {
        let bytes = self.limits().output_bytes.saturating_mul(TOTAL_OUTPUT);
        bytes.min(i32::MAX as u64)
    }

    /// One call of the plugin. The instance is kept for the next unless it is broken.
    fn attempt(
        &mut self,
        mut instance: Instance,
        view: &View<'_>,
        inputs: &[ArrayRef],
        rows: Range<usize>,
        deadline: Duration,
    ) -> Result<Valid, Flaw> {
        let flats = inputs.iter().zip(&self.plan.reads).map(|(array, column)| {
            let slice = array.slice(rows.start, rows.len());
            codec::encode(&codec::normalize(&slice, column)?, column)
        });
        let flats = flats
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Flaw::of_output(format!("cannot be handed to the plugin: {e}")))?;
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let called = instance.apply(count, &flats, deadline);
        if !called.as_ref().is_err_and(|flaw| flaw.fatal) {
            self.instance = Some(instance);
        }
        let mut valid = called?;
        valid.bytes += self.check_copies(view, rows, &valid)?;
        Ok(valid)
    }

    fn take_instance(&mut self) -> Result<Instance, String> {
        if let Some(instance) = self.instance.take() {
            return Ok(instance);
        }
        let plan = &self.plan;
        let instance = Instance::open(&plan.plugin, &plan.opening)?;
        match instance.inputs == plan.reads && instance.outputs == plan.makes {
            true => Ok(instance),
            false => Err("its plan was another one when it was opened again".to_owned()),
        }
    }

    /// Lets go of an instance that has taken much memory, which it can't give back.
    pub(super) fn recycle(&mut self) {
        self.instance.take_if(|instance| instance.is_bloated());
    }

    /// The bytes of passed-through columns that repeated rows would copy, bounded.
    fn check_copies(
        &self,
        view: &View<'_>,
        rows: Range<usize>,
        valid: &Valid,
    ) -> Result<u64, Flaw> {
        let origin = valid.origin.as_deref().unwrap_or_default();
        if origin.windows(2).all(|pair| pair.first() != pair.last()) {
            return Ok(0);
        }
        let mut sizes = vec![0; rows.len()];
        for source in &self.plan.layout {
            if let Source::Passed(index) = source {
                view.add_row_bytes(*index, rows.clone(), &mut sizes);
            }
        }
        let repeated = origin.windows(2).filter(|pair| pair.first() == pair.last());
        let copied = repeated.filter_map(|pair| sizes.get(*pair.first()? as usize));
        let copied = copied.fold(0_u64, |sum, size| sum.saturating_add(*size));
        match copied > self.limits().output_bytes {
            true => Err(Flaw::of_output(format!(
                "repeats its row into {copied} bytes of the other columns, more than {}",
                show_bytes(self.limits().output_bytes)
            ))),
            false => Ok(copied),
        }
    }
}
