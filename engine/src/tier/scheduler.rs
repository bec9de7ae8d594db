//! The thread of a store that begins rounds when they are due, each on a thread of its own, so that a slow
//! table delays no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::table::TableInner;
use crate::tier::budget::{Budget, Share};
use crate::tier::tierer::Memory;

/// How often tables are looked at when nobody asks.
const TICK: Duration = Duration::from_millis(100);

/// How often the metrics of lags are set.
const BETWEEN_LAGS: Duration = Duration::from_secs(1);

/// Begins the rounds of a store's tables.
#[derive(Debug)]
pub(crate) struct Scheduler {
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Work {
    tables: Mutex<Tables>,
    wake: Condvar,
    in_background: bool,
    budget: Arc<Budget>,
    /// One table is maintained at a time, which bounds what that takes.
    is_maintaining: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    all: Vec<Arc<TableInner>>,
    was_asked: bool,
    stop: bool,
}

impl Scheduler {
    /// Starts the thread. Without `in_background` only the rounds that are asked for are run. Rounds that run at once share
    /// `memory` bytes.
    pub(crate) fn start(store: &std::path::Path, in_background: bool, memory: u64) -> Result<Self> {
        let work = Arc::new(Work {
            tables: Mutex::default(),
            wake: Condvar::new(),
            in_background,
            budget: Arc::new(Budget::new(memory)),
            is_maintaining: AtomicBool::new(false),
        });
        let runner = Arc::clone(&work);
        let thread = std::thread::Builder::new()
            .name("alluvium-tier".to_owned())
            .spawn(move || runner.run())
            .map_err(Error::io("start the tiering thread of", store))?;
        Ok(Self {
            work,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn add(&self, table: Arc<TableInner>) {
        self.work.tables.lock().all.push(table);
    }

    /// Looks at the tables now.
    pub(crate) fn wake(&self) {
        self.work.tables.lock().was_asked = true;
        self.work.wake.notify_one();
    }

    /// Ends the thread and waits for the rounds that run.
    pub(crate) fn stop(&self) {
        self.work.tables.lock().stop = true;
        self.work.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the tiering thread panicked");
        }
        let tables = std::mem::take(&mut self.work.tables.lock().all);
        tables.iter().for_each(|table| table.tierer.close());
        tables.iter().for_each(|table| table.maintainer.close());
        tables
            .iter()
            .for_each(|table| table.pipeline.stop(&table.raw));
        tables.iter().for_each(|table| table.tierer.wait_idle());
        tables.iter().for_each(|table| table.maintainer.wait_idle());
    }
}

impl Work {
    fn run(self: &Arc<Self>) {
        let mut lags_told: Option<Instant> = None;
        while let Some(tables) = self.next_look() {
            if lags_told.is_none_or(|at| at.elapsed() >= BETWEEN_LAGS) {
                tables.iter().for_each(|table| tell_lag(table));
                lags_told = Some(Instant::now());
            }
            for table in tables {
                // What is kept for its age grows too old without anything being tiered.
                if let Err(error) = table.raw.release_tiered() {
                    tracing::warn!(table = table.name, %error, "cannot release a segment");
                }
                self.begin_maintenance(&table);
                if table.tierer.claim(&table.raw, self.in_background) {
                    self.begin_rounds(table);
                }
            }
        }
    }

    fn next_look(&self) -> Option<Vec<Arc<TableInner>>> {
        let mut tables = self.tables.lock();
        if !tables.stop && !tables.was_asked {
            self.wake.wait_for(&mut tables, TICK);
        }
        tables.was_asked = false;
        // Another is the first each time, so that all get their turn to be maintained.
        if !tables.all.is_empty() {
            tables.all.rotate_left(1);
        }
        (!tables.stop).then(|| tables.all.clone())
    }

    fn begin_maintenance(self: &Arc<Self>, table: &Arc<TableInner>) {
        if !self.in_background || self.is_maintaining.swap(true, Ordering::AcqRel) {
            return;
        }
        let context = &table.tierer.context;
        let version = table.tierer.report().lake_version;
        let hurries = table.tierer.is_crowded();
        let is_begun = table.maintainer.claim(context, version, hurries) && {
            let (work, runner) = (Arc::clone(self), Arc::clone(table));
            let spawned = std::thread::Builder::new()
                .name(format!("maintain-{}", table.name))
                .spawn(move || {
                    let tierer = &runner.tierer;
                    runner.maintainer.run(&tierer.context, &tierer.metrics);
                    work.is_maintaining.store(false, Ordering::Release);
                });
            spawned.is_ok() || {
                table.maintainer.unclaim();
                false
            }
        };
        if !is_begun {
            self.is_maintaining.store(false, Ordering::Release);
        }
    }

    /// Memory for one more lane of a table's round, if every table that has no round can still begin one.
    fn another_lane(&self, table: &TableInner) -> Option<Share> {
        let tables = self.tables.lock().all.clone();
        let idle = tables.iter().filter(|table| !table.tierer.is_running());
        let idle = idle.map(|table| table.tierer.least_memory()).sum();
        self.budget.take_beside(table.tierer.lane_memory(), idle)
    }

    fn begin_rounds(self: &Arc<Self>, table: Arc<TableInner>) {
        let name = format!("tier-{}", table.name);
        let (work, runner) = (Arc::clone(self), Arc::clone(&table));
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            let tierer = &runner.tierer;
            let memory = Memory {
                lane: &|wanted, least| work.budget.take(wanted, least, &|| tierer.is_closed()),
                another_lane: &|| work.another_lane(&runner),
            };
            tierer.drain(&runner.raw, &runner.pipeline, &memory);
        });
        if let Err(error) = spawned {
            tracing::warn!(table = table.name, %error, "no thread for a round; it is tried again");
            table.tierer.unclaim();
        }
    }
}

/// Sets the metrics of what is not tiered. What can't be read is not told.
fn tell_lag(table: &TableInner) {
    let tiered = table.tierer.report().tiered;
    let rows = table.raw.committed().saturating_sub(tiered);
    let age = table.raw.age_from(tiered).ok().flatten();
    table.tierer.metrics.lag(rows, age.unwrap_or_default());
    table.raw.count_backlog(tiered);
    if let Some(staged) = table.pipeline.log() {
        staged.count_backlog(tiered);
    }
}
