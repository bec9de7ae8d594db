//! One running instance of a plugin, and what the host lends it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Error as Fault, ResourceLimiter, Store, Trap};

use super::bindings::host::{Host, Level};
use super::bindings::types::FieldParam;
use super::bindings::{batches, records};
use super::codec::Flat;
use super::field::Column;
use super::host::TICK;
use super::limits::{Limits, show_bytes, show_duration};
use super::plugin::Plugin;
use super::record;
use super::validate::{Valid, shorten, validate};

/// The longest line that a plugin may log, in bytes; the rest is cut.
const MAX_LINE: usize = 4096;
/// As much of a plugin's last error line, in bytes, as the reason of a failure repeats.
const MAX_LAST_ERROR: usize = 512;
/// Core instances, and tables, that a component may consist of.
const MAX_PARTS: usize = 256;
/// Linear memories that a component may consist of: each reserves 4 GiB of address space.
const MAX_MEMORIES: usize = 16;
/// Calls that an instance serves before it may be recycled for the memory that it has taken.
const MIN_CALLS: u32 = 32;
/// Bytes that an element of a table takes on the host.
const TABLE_ELEMENT: u64 = 8;

/// A file, or bytes, that a plugin may read by the name under which it was granted.
#[derive(Debug, Clone)]
pub enum Asset {
    /// Read at the time when the plugin asks; at most [`Limits::memory_bytes`] long.
    File(PathBuf),
    /// Held in memory.
    Bytes(Arc<[u8]>),
}

/// What a plugin was granted, by name.
pub type Assets = BTreeMap<String, Asset>;

/// The host's side of an instance.
pub(super) struct HostState {
    transform: String,
    assets: Arc<Assets>,
    memory_limit: u64,
    memory_used: u64,
    /// What the last granted growth added, should it fail after all.
    memory_added: u64,
    memory_denied: bool,
    log_left: u64,
    log_muted: bool,
    /// The last line of level error in this call: where a guest's language tells of a panic.
    last_error: Option<String>,
}

/// What a call cost a batch.
#[derive(Debug)]
pub(super) struct Flaw {
    /// What went wrong, for a person to read.
    pub(super) reason: String,
    /// Whether the instance can't be used any more.
    pub(super) fatal: bool,
    /// Whether the deadline passed.
    pub(super) timed_out: bool,
}

impl Flaw {
    /// Something that leaves the instance as it is.
    pub(super) fn of_output(reason: String) -> Self {
        Self {
            reason,
            fatal: false,
            timed_out: false,
        }
    }
}

/// An instance that was opened.
pub(super) struct Instance {
    store: Store<HostState>,
    world: Running,
    limits: Limits,
    /// The columns that it reads, of those it was offered.
    pub(super) inputs: Vec<Column>,
    /// The columns that it makes.
    pub(super) outputs: Vec<Column>,
    /// How often it was called, which may have left something behind.
    pub(super) calls: u32,
    /// The memory that it had when it was open.
    opened_bytes: u64,
}

/// The interface that a running plugin exports.
pub(super) enum Running {
    Batch(batches::Guest),
    Record(records::Guest),
}

/// What an instance is opened with.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) transform: String,
    pub(super) config: String,
    pub(super) schema: Vec<Column>,
    pub(super) assets: Arc<Assets>,
    pub(super) limits: Limits,
}

impl Instance {
    /// Instantiates a plugin and opens it. The error says why it can't be.
    pub(super) fn open(plugin: &Plugin, opening: &Opening) -> Result<Self, String> {
        let limits = &opening.limits;
        let mut store = new_store(plugin, opening);
        begin(&mut store, limits, limits.open_deadline);
        let opened = plugin.start(&mut store).and_then(|world| {
            let schema: Vec<_> = opening.schema.iter().map(lend_field).collect();
            let plan = match &world {
                Running::Batch(guest) => guest.call_open(&mut store, &opening.config, &schema),
                Running::Record(guest) => guest.call_open(&mut store, &opening.config, &schema),
            };
            Ok((world, plan?))
        });
        let (world, plan) = opened.map_err(|fault| {
            format!(
                "cannot open it: {}",
                explain(&fault, store.data(), limits, limits.open_deadline).reason
            )
        })?;
        let plan = plan.map_err(|refusal| format!("it refuses: {}", shorten(refusal, MAX_LINE)))?;
        let columns = |fields: Vec<_>| {
            fields
                .into_iter()
                .map(Column::from_guest)
                .collect::<Result<Vec<_>, _>>()
        };
        let (inputs, outputs) = (columns(plan.inputs)?, columns(plan.outputs)?);
        check_plan(&inputs, &outputs)?;
        Ok(Self {
            opened_bytes: store.data().memory_used,
            store,
            world,
            limits: limits.clone(),
            inputs,
            outputs,
            calls: 0,
        })
    }

    /// Whether it has taken more than half of the memory that it had left when it was open. Only
    /// after some calls, so that opening an instance costs each of them little.
    pub(super) fn is_bloated(&self) -> bool {
        let left = self.limits.memory_bytes.saturating_sub(self.opened_bytes);
        let taken = self
            .store
            .data()
            .memory_used
            .saturating_sub(self.opened_bytes);
        taken > left / 2 && self.calls >= MIN_CALLS
    }

    /// Transforms `rows` rows of the plan's inputs within the deadline, and checks what comes back.
    pub(super) fn apply(
        &mut self,
        rows: u32,
        inputs: &[Flat],
        deadline: Duration,
    ) -> Result<Valid, Flaw> {
        self.calls = self.calls.saturating_add(1);
        begin(&mut self.store, &self.limits, deadline);
        let returned = match &self.world {
            Running::Batch(world) => {
                let columns: Vec<_> = inputs.iter().map(Flat::lend).collect();
                world.call_apply(&mut self.store, rows, &columns)
            }
            Running::Record(world) => {
                let limit = self.limits.output_bytes;
                record::apply(
                    world,
                    &mut self.store,
                    (rows, inputs),
                    (&self.inputs, &self.outputs),
                    limit,
                )
            }
        };
        match returned {
            Ok(Ok(output)) => validate(output, rows, &self.outputs, self.limits.output_bytes)
                .map_err(|reason| Flaw {
                    reason: format!("returned {reason}"),
                    fatal: true,
                    timed_out: false,
                }),
            Ok(Err(message)) => Err(Flaw::of_output(shorten(message, MAX_LINE))),
            Err(fault) => Err(explain(&fault, self.store.data(), &self.limits, deadline)),
        }
    }
}

/// A store with every limit set, for one instance.
pub(super) fn new_store(plugin: &Plugin, opening: &Opening) -> Store<HostState> {
    let state = HostState {
        transform: opening.transform.clone(),
        assets: opening.assets.clone(),
        memory_limit: opening.limits.memory_bytes,
        memory_used: 0,
        memory_added: 0,
        memory_denied: false,
        log_left: 0,
        log_muted: false,
        last_error: None,
    };
    let mut store = Store::new(plugin.host().engine(), state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(usize::try_from(opening.limits.output_bytes).unwrap_or(usize::MAX));
    store
}

/// Starts the clock of a call.
pub(super) fn begin(store: &mut Store<HostState>, limits: &Limits, deadline: Duration) {
    let ticks = deadline
        .as_nanos()
        .div_ceil(TICK.as_nanos())
        .saturating_add(1);
    // Not the whole range: the deadline is added to the epoch that it is.
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::MAX / 2));
    let state = store.data_mut();
    state.memory_denied = false;
    state.log_left = limits.log_bytes;
    state.log_muted = false;
    state.last_error = None;
}

/// What a fault of the engine means, and the last error that the guest logged before it.
pub(super) fn explain(
    fault: &Fault,
    state: &HostState,
    limits: &Limits,
    deadline: Duration,
) -> Flaw {
    let trap = fault.downcast_ref::<Trap>();
    let timed_out = trap == Some(&Trap::Interrupt);
    let cause = fault.root_cause().to_string();
    let reason = if timed_out {
        format!("ran past its deadline of {}", show_duration(deadline))
    } else if state.memory_denied {
        format!("out of memory ({})", show_bytes(limits.memory_bytes))
    } else if cause.contains("fuel allocated for hostcalls") {
        format!("returned more than {}", show_bytes(limits.output_bytes))
    } else if trap.is_some() {
        format!("trapped: {cause}")
    } else if cause.contains("resource limit exceeded") {
        cause
    } else {
        format!("returned a malformed value: {}", shorten(cause, MAX_LINE))
    };
    let reason = match &state.last_error {
        Some(line) => format!("{reason}; its last error: {line}"),
        None => reason,
    };
    Flaw {
        reason,
        fatal: true,
        timed_out,
    }
}

fn lend_field(column: &Column) -> FieldParam<'_> {
    FieldParam {
        name: &column.name,
        kind: column.kind,
        nullable: column.nullable,
        dim: column.dim,
    }
}

/// Checks that a plan names no column twice.
fn check_plan(inputs: &[Column], outputs: &[Column]) -> Result<(), String> {
    for (columns, verb) in [(inputs, "reads"), (outputs, "makes")] {
        let mut names = BTreeSet::new();
        if let Some(column) = columns.iter().find(|c| !names.insert(&c.name)) {
            return Err(format!("it {verb} column {:?} twice", column.name));
        }
    }
    Ok(())
}

/// "image (binary), text (utf8)", or "none".
pub(super) fn list_columns<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let shown: Vec<_> = columns
        .into_iter()
        .map(|c| format!("{} ({})", c.name, c.type_name()))
        .collect();
    match shown.is_empty() {
        true => "none".to_owned(),
        false => shown.join(", "),
    }
}

impl Host for HostState {
    fn log(&mut self, level: Level, message: String) {
        if self.log_muted && level != Level::Error {
            return;
        }
        let message = shorten(message, MAX_LINE).replace(char::is_control, " ");
        if level == Level::Error {
            self.last_error = Some(shorten(message.clone(), MAX_LAST_ERROR));
        }
        if self.log_muted {
            return;
        }
        let transform = self.transform.as_str();
        // Besides its text a line costs something to write.
        let Some(left) = self.log_left.checked_sub(message.len() as u64 + 64) else {
            self.log_muted = true;
            tracing::warn!(target: "alluvium::plugin", transform, "further lines of this call are dropped");
            return;
        };
        self.log_left = left;
        match level {
            Level::Trace => tracing::trace!(target: "alluvium::plugin", transform, "{message}"),
            Level::Debug => tracing::debug!(target: "alluvium::plugin", transform, "{message}"),
            Level::Info => tracing::info!(target: "alluvium::plugin", transform, "{message}"),
            Level::Warn => tracing::warn!(target: "alluvium::plugin", transform, "{message}"),
            Level::Error => tracing::error!(target: "alluvium::plugin", transform, "{message}"),
        }
    }

    fn asset(&mut self, name: String) -> Result<Vec<u8>, String> {
        match self.assets.get(&name) {
            None => {
                let names: Vec<_> = self.assets.keys().map(String::as_str).collect();
                Err(format!(
                    "asset {name:?} was not granted; there are: {}",
                    names.join(", ")
                ))
            }
            Some(Asset::Bytes(bytes)) => Ok(bytes.to_vec()),
            Some(Asset::File(path)) => {
                let cannot = |e: std::io::Error| format!("cannot read asset {name:?}: {e}");
                let bytes = std::fs::metadata(path).map_err(cannot)?.len();
                if bytes > self.memory_limit {
                    return Err(format!(
                        "asset {name:?} has {bytes} bytes, more than the memory limit of {}",
                        self.memory_limit
                    ));
                }
                std::fs::read(path).map_err(cannot)
            }
        }
    }
}

impl HostState {
    /// Counts a growth of memory or of a table against the limit.
    fn grow(&mut self, added: u64, within_maximum: bool) -> bool {
        let used = self.memory_used.saturating_add(added);
        let fits = used <= self.memory_limit;
        self.memory_denied |= !fits;
        if fits && within_maximum {
            self.memory_used = used;
            self.memory_added = added;
        }
        fits && within_maximum
    }

    fn ungrow(&mut self) {
        self.memory_used = self.memory_used.saturating_sub(self.memory_added);
        self.memory_added = 0;
    }
}

impl ResourceLimiter for HostState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let added = desired.saturating_sub(current) as u64;
        Ok(self.grow(added, maximum.is_none_or(|max| desired <= max)))
    }

    fn memory_grow_failed(&mut self, _: Fault) -> wasmtime::Result<()> {
        self.ungrow();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let added = (desired.saturating_sub(current) as u64).saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(added, maximum.is_none_or(|max| desired <= max)))
    }

    fn table_grow_failed(&mut self, _: Fault) -> wasmtime::Result<()> {
        self.ungrow();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
