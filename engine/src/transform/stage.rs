//! One transform of a chain at work: cuts a batch, calls the plugin, and isolates what it fails on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, SchemaRef};

use super::chain::BoundTransform;
use super::codec;
use super::host::TICK;
use super::instance::{Flaw, Instance, Opening};
use super::limits::{Limits, show_bytes, show_duration};
use super::made::Made;
use super::plugin::Plugin;
use super::rows::{add_row_bytes, cut};
use super::spec::OnError;
use super::validate::Valid;
use super::wiring::{Source, wire};

/// Failed calls on the rows of one plugin batch may cost this many deadlines before the deadline
/// is cut to a tenth.
const PATIENCE: u32 = 10;
const IMPATIENT: u32 = 10;
/// All the calls on one batch together may hand back this many times what one may.
const TOTAL_OUTPUT: u64 = 16;

pub(super) struct Stage {
    pub(super) name: String,
    pub(super) plugin: Plugin,
    pub(super) on_error: OnError,
    /// The schema after this transform.
    pub(super) schema: SchemaRef,
    opening: Opening,
    /// For each input of the plan the incoming column.
    inputs: Vec<usize>,
    layout: Vec<Source>,
    plan: Plan,
    /// Absent after it failed; opened again for the next call.
    instance: Option<Instance>,
    /// How many rows the next call takes: halved when a call fails, doubled when one is fast.
    rows_a_call: usize,
}

/// What the plugin declared when it was first opened.
struct Plan {
    inputs: Vec<super::field::Column>,
    outputs: Vec<super::field::Column>,
}

/// What a stage made of a batch.
pub(super) struct Staged {
    pub(super) batch: RecordBatch,
    /// For each row the incoming row; `None` is one to one.
    pub(super) origin: Option<Vec<u32>>,
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
        let plan = Plan {
            inputs: wired.instance.inputs.clone(),
            outputs: wired.instance.outputs.clone(),
        };
        Ok(Self {
            name: bound.spec.name,
            plugin: bound.plugin,
            on_error: bound.spec.on_error,
            schema: wired.schema,
            opening: wired.opening,
            inputs: wired.inputs,
            layout: wired.layout,
            plan,
            instance: Some(wired.instance),
            rows_a_call: limits.batch_rows.max(1) as usize,
        })
    }

    fn limits(&self) -> &Limits {
        &self.opening.limits
    }

    /// Transforms a batch. With [`OnError::Fail`] it stops at the first failure: only `failures` counts then.
    pub(super) fn run(&mut self, batch: &RecordBatch) -> Result<Staged, ArrowError> {
        let mut made = Made::new(&self.plan.outputs, self.on_error);
        let inputs = self.inputs.iter().filter_map(|i| batch.columns().get(*i));
        let inputs: Vec<&ArrayRef> = inputs.collect();
        let limits = self.limits();
        for run in cut(
            &inputs,
            batch.num_rows(),
            limits.batch_rows as usize,
            limits.batch_bytes,
        ) {
            self.run_rows(batch, &inputs, run, &mut made)?;
            if made.halted() {
                break;
            }
        }
        self.assemble(batch, made)
    }

    /// Transforms the rows of one plugin batch: a call that fails is tried again on half of its
    /// rows, until the guilty record is alone.
    fn run_rows(
        &mut self,
        batch: &RecordBatch,
        inputs: &[&ArrayRef],
        rows: Range<usize>,
        made: &mut Made,
    ) -> Result<(), ArrowError> {
        let patience = self.limits().batch_deadline.saturating_mul(PATIENCE);
        let (mut at, mut wasted, mut opening) = (rows.start, Duration::ZERO, Duration::ZERO);
        let mut slowest = Duration::ZERO;
        while at < rows.end && !made.halted() {
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
                ArrowError::ExternalError(format!("transform {:?}: {reason}", self.name).into())
            })?;
            opening += start.elapsed();
            let deadline = match wasted >= patience {
                true => self.short_deadline(slowest),
                false => self.limits().batch_deadline,
            };
            let was_used = instance.is_used;
            let start = Instant::now();
            match self.attempt(instance, batch, inputs, at..at + count, deadline) {
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
        batch: &RecordBatch,
        inputs: &[&ArrayRef],
        rows: Range<usize>,
        deadline: Duration,
    ) -> Result<Valid, Flaw> {
        let flats = inputs.iter().zip(&self.plan.inputs).map(|(array, column)| {
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
        valid.bytes += self.check_copies(batch, rows, &valid)?;
        Ok(valid)
    }

    fn take_instance(&mut self) -> Result<Instance, String> {
        if let Some(instance) = self.instance.take() {
            return Ok(instance);
        }
        let instance = Instance::open(&self.plugin, &self.opening)?;
        match instance.inputs == self.plan.inputs && instance.outputs == self.plan.outputs {
            true => Ok(instance),
            false => Err("its plan was another one when it was opened again".to_owned()),
        }
    }

    /// The bytes of passed-through columns that repeated rows would copy, bounded.
    fn check_copies(
        &self,
        batch: &RecordBatch,
        rows: Range<usize>,
        valid: &Valid,
    ) -> Result<u64, Flaw> {
        let origin = valid.origin.as_deref().unwrap_or_default();
        if origin.windows(2).all(|pair| pair.first() != pair.last()) {
            return Ok(0);
        }
        let mut sizes = vec![0; rows.len()];
        for source in &self.layout {
            if let Source::Passed(index) = source
                && let Some(column) = batch.columns().get(*index)
            {
                add_row_bytes(&column.slice(rows.start, rows.len()), &mut sizes);
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

    fn assemble(&self, batch: &RecordBatch, made: Made) -> Result<Staged, ArrowError> {
        let (halted, nulled) = (made.halted(), made.nulled);
        let (columns, origin, failures) = made.finish()?;
        if halted {
            return Ok(Staged {
                batch: RecordBatch::new_empty(self.schema.clone()),
                origin: None,
                failures,
                nulled,
            });
        }
        let one_to_one =
            origin.len() == batch.num_rows() && origin.iter().zip(0..).all(|(row, i)| *row == i);
        let indices = arrow_array::UInt32Array::from(origin);
        let columns = self
            .layout
            .iter()
            .zip(self.schema.fields())
            .map(|(source, field)| {
                let column = match source {
                    Source::Made(index) => columns.get(*index).cloned(),
                    Source::Passed(index) => match batch.columns().get(*index) {
                        Some(column) if !one_to_one => {
                            Some(arrow_select::take::take(column, &indices, None)?)
                        }
                        column => column.cloned(),
                    },
                };
                column.ok_or_else(|| {
                    ArrowError::SchemaError(format!("there is no column {:?}", field.name()))
                })
            });
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        Ok(Staged {
            batch: RecordBatch::try_new_with_options(
                Arc::clone(&self.schema),
                columns.collect::<Result<_, _>>()?,
                &options,
            )?,
            origin: (!one_to_one).then(|| indices.values().to_vec()),
            failures,
            nulled,
        })
    }
}
