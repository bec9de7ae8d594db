//! A store: a directory of tables, open for writing in one process and for reading in any.

mod create;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::catalog::{self, TableMeta};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::lock::StoreLock;
use crate::log::sync_directory;
use crate::options::StoreOptions;
use crate::pipeline::Pipeline;
use crate::plugins::Plugins;
use crate::read::query::{self, QueryResult, Source};
use crate::shape::Shape;
use crate::table::{Table, TableInner};
use crate::tier::context::{TierContext, TierReport};
use crate::tier::dead_letters::dataset::{options_of, schema_of};
use crate::tier::history::HistoryFile;
use crate::tier::lake::CredentialProvider;
use crate::tier::scheduler::Scheduler;
use crate::tier::writers::Writers;

/// The ending of a table's directory that is still being made.
const UNFINISHED: &str = ".new";

/// An open store. Cheap to clone; it is closed when [`Store::close`] is called or the last clone is dropped.
///
/// ```
/// use std::sync::Arc;
/// use alluvium::{Store, TableOptions};
/// use arrow_array::{Int64Array, RecordBatch};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("store");
/// let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)])?;
/// let store = Store::open(&path)?;
/// let table = store.create_table("numbers", TableOptions::new(batch.schema()))?;
/// assert_eq!(table.append(&batch)?.offsets(), 0..3);
/// table.flush_to_lake()?;
/// let mut rows = store.query("SELECT n, __offset FROM numbers WHERE n > 1")?;
/// assert_eq!(rows.next().transpose()?.map(|b| b.num_rows()), Some(2));
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// `None` when the store is open read-only.
    scheduler: Option<Arc<Scheduler>>,
    tables: Mutex<BTreeMap<String, Arc<TableInner>>>,
    is_closed: AtomicBool,
    plugins: Arc<Plugins>,
    credentials: Option<CredentialProvider>,
    executor: Arc<Executor>,
    /// Released last, by being the last field.
    _lock: Option<StoreLock>,
}

impl Store {
    /// Opens a store for writing, making one of a directory that is missing or empty. Logs are recovered,
    /// and tiering goes on where it stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] when another process has it open, [`Error::NotAStore`] for a directory of something
    /// else. A table that is damaged doesn't keep the store from opening: [`Store::table`] tells.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), StoreOptions::default())
    }

    pub(crate) fn open_with(path: &Path, options: StoreOptions) -> Result<Self> {
        if !tables_directory(path).is_dir() {
            make_store(path, &options)?;
        }
        let path = path.canonicalize().map_err(Error::io("find", path))?;
        let lock = (!options.read_only)
            .then(|| StoreLock::acquire(&path))
            .transpose()?;
        let scheduler = (!options.read_only)
            .then(|| Scheduler::start(&path, options.tiering, options.tiering_memory))
            .transpose()?;
        let store = Self {
            inner: Arc::new(Inner {
                scheduler: scheduler.map(Arc::new),
                tables: Mutex::default(),
                is_closed: AtomicBool::new(false),
                plugins: Arc::new(Plugins::new(
                    path.clone(),
                    options.plugin_dirs,
                    options.plugin_cache,
                )),
                credentials: options.credentials,
                executor: Arc::new(Executor::new(&path)?),
                path,
                _lock: lock,
            }),
        };
        if !options.read_only {
            store.remove_unfinished()?;
            for name in store.table_names()? {
                // One that cannot be opened keeps nobody from the others; who asks for it is told why.
                if let Err(error) = store.table(&name) {
                    tracing::error!(table = name, %error, "a table cannot be opened");
                }
            }
        }
        Ok(store)
    }

    /// The tables' names, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the directory cannot be read.
    pub fn table_names(&self) -> Result<Vec<String>> {
        let names = self.directory_names()?;
        Ok(names
            .into_iter()
            .filter(|name| !name.ends_with(UNFINISHED))
            .collect())
    }

    /// Opens a table.
    ///
    /// # Errors
    ///
    /// [`Error::TableNotFound`]; [`Error::Corrupt`] for a damaged log; [`Error::LakeMismatch`] for one that
    /// was replaced by an older copy.
    pub fn table(&self, name: &str) -> Result<Table> {
        self.check_open("open a table")?;
        let mut tables = self.inner.tables.lock();
        if let Some(table) = tables.get(name) {
            return Ok(self.handle(Arc::clone(table)));
        }
        catalog::check_table_name(name)?;
        let directory = tables_directory(&self.inner.path).join(name);
        if !directory.is_dir() {
            return Err(Error::TableNotFound {
                table: name.to_owned(),
                tables: self.table_names()?,
            });
        }
        let meta = TableMeta::read(&directory)?;
        let context = self.context(name, directory, meta)?;
        let read_only = self.inner.scheduler.is_none();
        let table = Arc::new(TableInner::open(name, context, read_only)?);
        if let Some(scheduler) = &self.inner.scheduler {
            Pipeline::start(&table)?;
            // A reader's table is a snapshot, made anew each time it is asked for.
            scheduler.add(Arc::clone(&table));
            tables.insert(name.to_owned(), Arc::clone(&table));
        }
        Ok(self.handle(table))
    }

    /// Runs one SELECT over the tables' lakes, each table under its name, in bounded memory. Rows that are
    /// not tiered yet are not seen. The settled dead letters of the table `photos` are `"photos.dead_letters"`, in quotes.
    ///
    /// # Errors
    ///
    /// [`Error::Query`] for SQL that is wrong or would change something; [`Error::Lake`] when a lake cannot be read.
    pub fn query(&self, sql: &str) -> Result<QueryResult> {
        let mut sources = Vec::new();
        for name in self.table_names()? {
            let directory = tables_directory(&self.inner.path).join(&name);
            let meta = TableMeta::read(&directory)?;
            let lake = meta.lake_options(&self.inner.path, &name, self.inner.credentials.as_ref());
            let report = TierReport::read(&directory);
            let letters = format!("{name}.dead_letters");
            // Most queries do not ask for it, and on an object store it takes a request to find that it isn't there.
            if sql.contains(&letters) {
                sources.push(Source {
                    name: letters,
                    lake: options_of(&lake),
                    schema: Some(schema_of(meta.schemas(&directory)?.newest())),
                });
            }
            sources.push(Source {
                lake,
                // A lake that is gone is not an empty one.
                schema: match report.tiered {
                    0 => Some(meta.lake_schema(&directory)?),
                    _ => None,
                },
                name,
            });
        }
        query::run(&self.inner.executor, sql.to_owned(), sources)
    }

    /// Waits for the rounds that run, makes every log durable and releases the lock. Rows that are not
    /// tiered yet stay in the log and are when the store is next opened; call
    /// [`Table::flush_to_lake`] before to leave none. Appends through other handles fail from here on.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Poisoned`] when a log could not be made durable.
    pub fn close(self) -> Result<()> {
        self.inner.close()
    }

    fn check_open(&self, action: &'static str) -> Result<()> {
        match self.inner.is_closed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::Unavailable {
                action,
                state: "closed",
            }),
        }
    }

    fn handle(&self, table: Arc<TableInner>) -> Table {
        Table {
            inner: table,
            scheduler: self.inner.scheduler.clone(),
        }
    }

    fn context(&self, name: &str, directory: PathBuf, meta: TableMeta) -> Result<TierContext> {
        Ok(TierContext {
            table_id: meta.table_id,
            settings: meta.settings.clone(),
            lake: meta.lake_options(&self.inner.path, name, self.inner.credentials.as_ref()),
            plugins: Arc::clone(&self.inner.plugins),
            executor: Arc::clone(&self.inner.executor),
            shape: RwLock::new(Arc::new(Shape::new(meta, &directory)?)),
            altering: Mutex::new(()),
            history: HistoryFile::new(&directory),
            writers: Writers::new(&directory),
            directory,
        })
    }

    /// Removes the tables whose creation was interrupted.
    fn remove_unfinished(&self) -> Result<()> {
        for name in self.directory_names()? {
            if name.ends_with(UNFINISHED) {
                let path = tables_directory(&self.inner.path).join(name);
                fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn directory_names(&self) -> Result<Vec<String>> {
        let directory = tables_directory(&self.inner.path);
        let entries = fs::read_dir(&directory).map_err(Error::io("list", &directory))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &directory))?;
            if entry.path().is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Inner {
    fn close(&self) -> Result<()> {
        if let Some(scheduler) = &self.scheduler {
            scheduler.stop();
        }
        self.is_closed.store(true, Ordering::Release);
        let tables = self.tables.lock();
        let mut result = Ok(());
        for table in tables.values() {
            // All of them, whatever becomes of one: nothing may write once the lock is gone.
            let closed = table.raw.close();
            result = result.and(closed);
            if let Some(staged) = table.pipeline.log() {
                result = result.and(staged.close());
            }
        }
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(store = %self.path.display(), %error, "the store was not closed cleanly");
        }
    }
}

fn tables_directory(store: &Path) -> PathBuf {
    store.join("tables")
}

/// Makes a store of a directory that is missing or empty.
fn make_store(path: &Path, options: &StoreOptions) -> Result<()> {
    let not_a_store = |reason: &str| Error::NotAStore {
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    };
    if options.read_only || !options.create {
        return Err(not_a_store(
            "it has no folder \"tables\"; create a table first",
        ));
    }
    let is_foreign = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(source) => return Err(Error::io("list", path)(source)),
    };
    if is_foreign {
        return Err(not_a_store(
            "it holds other files; name a new or empty directory",
        ));
    }
    crate::log::create_directory(&tables_directory(path))?;
    sync_directory(path)
}
