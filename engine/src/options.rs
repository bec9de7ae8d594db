//! What a user can set, with its defaults.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::log::{Durability, RECYCLED_SEGMENTS, Retention, SEGMENT_BYTES, WhenFull};
use crate::maintenance::Maintenance;
use crate::tier::lake::{CredentialProvider, LakeUri, Layout, StorageOptions};
use crate::transform::{Limits, TransformSpec};

/// How a new table is kept. Only the schema has no default.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use arrow_schema::{DataType, Field, Schema};
/// use alluvium::{Durability, TableOptions};
///
/// let schema = Schema::new(vec![Field::new("reading", DataType::Float64, false)]);
/// let options = TableOptions::new(Arc::new(schema))
///     .durability(Durability::Sync)
///     .freshness(Duration::from_secs(5))
///     .lake("s3://bucket/readings.lance")
///     .storage_option("secret_access_key", "env:LAKE_SECRET");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TableOptions {
    pub(crate) schema: SchemaRef,
    pub(crate) transforms: Vec<TransformSpec>,
    pub(crate) lake: Option<LakeUri>,
    pub(crate) storage_options: StorageOptions,
    pub(crate) secrets_in_clear: bool,
    pub(crate) settings: Settings,
}

/// The options of a table that are numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    pub(crate) freshness: Duration,
    pub(crate) segment_bytes: u64,
    pub(crate) round_bytes: u64,
    pub(crate) bucket: i32,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default = "recycled_segments")]
    pub(crate) recycled_segments: usize,
    #[serde(default)]
    pub(crate) max_log_bytes: Option<u64>,
    #[serde(default)]
    pub(crate) when_full: WhenFull,
    #[serde(default)]
    pub(crate) retention: Retention,
    #[serde(default)]
    pub(crate) maintenance: Maintenance,
    #[serde(default)]
    pub(crate) layout: Layout,
}

impl Settings {
    /// How many bytes may wait before a round begins: a log with a limit must not be full by then.
    pub(crate) fn round_bytes_effective(&self) -> u64 {
        let limit = self.max_log_bytes.map_or(u64::MAX, |limit| limit / 3);
        self.round_bytes.min(limit)
    }
}

fn recycled_segments() -> usize {
    RECYCLED_SEGMENTS
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            freshness: Duration::from_secs(30),
            segment_bytes: SEGMENT_BYTES,
            round_bytes: 128 << 20,
            bucket: 0,
            limits: Limits::default(),
            recycled_segments: recycled_segments(),
            max_log_bytes: None,
            when_full: WhenFull::default(),
            retention: Retention::default(),
            maintenance: Maintenance::default(),
            layout: Layout::default(),
        }
    }
}

impl TableOptions {
    /// A table with this schema and every default.
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            transforms: Vec::new(),
            lake: None,
            storage_options: StorageOptions::default(),
            secrets_in_clear: false,
            settings: Settings::default(),
        }
    }

    /// The transforms that rows go through on their way to the lake, in this order. Default: none.
    pub fn transforms(mut self, transforms: Vec<TransformSpec>) -> Self {
        self.transforms = transforms;
        self
    }

    /// The Lance dataset to tier into: a path or a URI (`file://`; `s3://`, `az://` and `gs://` with the features `aws`, which
    /// is on by default, `azure` and `gcp`). Credentials are not taken from it, but from
    /// [`storage_option`](Self::storage_option)s. Default: `lake/<table>.lance` in the store.
    pub fn lake(mut self, uri: impl Into<String>) -> Self {
        self.lake = Some(LakeUri(uri.into()));
        self
    }

    /// An option of the lake's object store, as Lance names it (`region`, `endpoint`, ...). It is kept in
    /// the table's file as it is given; a value `env:NAME` stands for that environment variable when the
    /// lake is opened. A secret itself is refused, unless [`secrets_in_clear`](Self::secrets_in_clear) allows it;
    /// [`StoreOptions::credentials`] can provide it.
    pub fn storage_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.storage_options.0.insert(name.into(), value.into());
        self
    }

    /// Whether storage options that hold a secret may be written into the table's file, which only its owner may read.
    /// Default: false.
    pub fn secrets_in_clear(mut self, allowed: bool) -> Self {
        self.secrets_in_clear = allowed;
        self
    }

    /// How old a row may grow before it is tiered. Default: 30 s.
    pub fn freshness(mut self, freshness: Duration) -> Self {
        self.settings.freshness = freshness;
        self
    }

    /// What an acknowledged append survives. Default: [`Durability::Interval`] of 100 ms.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// The size of a segment file in bytes, between 64 KiB and 4 GiB; a larger frame gets a larger one.
    /// Default: 128 MiB.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.settings.segment_bytes = bytes;
        self
    }

    /// How many segment files are kept for reuse once their rows are tiered: to write over blocks and cached pages
    /// that are there is faster than to write to new ones. Default: 4.
    pub fn recycled_segments(mut self, count: usize) -> Self {
        self.settings.recycled_segments = count;
        self
    }

    /// The bytes that the log's files may take on disk, at least three segments; spare files count. A log that is
    /// full takes no appends before tiering has made room; what then becomes of one,
    /// [`when_full`](Self::when_full) says. Nothing is ever dropped. Default: no limit but the disk's.
    pub fn max_log_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_log_bytes = Some(bytes);
        self
    }

    /// What an append does while the log is full. Default: [`WhenFull::Block`] for 60 s.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.settings.when_full = when_full;
        self
    }

    /// Keeps rows in the log, for readers that may still want them, until they are that old, although they are
    /// tiered. Segments are kept whole. A log that is full keeps them no longer than it must. Default: not at all.
    pub fn retain_age(mut self, age: Duration) -> Self {
        self.settings.retention.age = Some(age);
        self
    }

    /// Keeps tiered segments of that many bytes at most; with [`retain_age`](Self::retain_age), whichever
    /// limit is passed first counts. Default: none.
    pub fn retain_bytes(mut self, bytes: u64) -> Self {
        self.settings.retention.bytes = Some(bytes);
        self
    }

    /// How many bytes may wait in the log before a round begins, fresh or not. Default: 128 MiB.
    pub fn round_bytes(mut self, bytes: u64) -> Self {
        self.settings.round_bytes = bytes;
        self
    }

    /// The `__bucket` of this table's rows in the lake, which tells engines apart that tier into one
    /// dataset. Default: 0.
    pub fn bucket(mut self, bucket: i32) -> Self {
        self.settings.bucket = bucket;
        self
    }

    /// How the lake is kept healthy beside the rounds: merging, cleanup, indices. Default: [`Maintenance::default`].
    pub fn maintenance(mut self, maintenance: Maintenance) -> Self {
        self.settings.maintenance = maintenance;
        self
    }

    /// Binary columns, the table's or what transforms make, that a new lake keeps as blobs (Lance's blob v2): values above a
    /// size lie in files of their own beside the data files, which scans and merges of other columns then never touch.
    /// SQL and search read them as binaries; `to_pandas()` of pylance gives descriptions of them unless
    /// `blob_handling="all_binary"` is asked for. A lake that is there already keeps its own layout. Default: none.
    pub fn blob_columns<I, N>(mut self, columns: I) -> Self
    where
        I: IntoIterator<Item = N>,
        N: Into<String>,
    {
        self.settings.layout.blob_columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// From how many bytes on a value of a blob column lies outside of the data file; when no
    /// [`blob_columns`](Self::blob_columns) are named, every binary column of a new lake is one. Default: Lance's threshold
    /// of 64 KiB, and no blob columns.
    pub fn blobs_above(mut self, bytes: u64) -> Self {
        self.settings.layout.blobs_above = Some(bytes);
        self
    }

    /// The version of Lance's file format that a new lake is written in: `2.0`, `2.1`, `2.2` or `2.3`. Blobs need 2.2.
    /// Default: Lance's own, which is 2.2.
    pub fn storage_version(mut self, version: impl Into<String>) -> Self {
        self.settings.layout.storage_version = Some(version.into());
        self
    }

    /// What a plugin may use at most. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }
}

/// How a store is opened.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// let store = alluvium::StoreOptions::new().tiering(false).open(directory.path().join("store"))?;
/// assert!(store.table_names()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct StoreOptions {
    pub(crate) read_only: bool,
    pub(crate) create: bool,
    pub(crate) tiering: bool,
    pub(crate) tiering_memory: u64,
    pub(crate) plugin_dirs: Vec<PathBuf>,
    pub(crate) plugin_cache: Option<PathBuf>,
    pub(crate) credentials: Option<CredentialProvider>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            create: true,
            tiering: true,
            tiering_memory: 256 << 20,
            plugin_dirs: Vec::new(),
            plugin_cache: None,
            credentials: None,
        }
    }
}

impl StoreOptions {
    /// Every default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens beside a writer, which may be another process: what was committed can be read, nothing is
    /// changed, no lock is taken. Default: false.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether a directory that is missing or empty becomes a store. Default: true.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether rows are tiered in the background, by freshness and bytes. Without, they are tiered when
    /// [`Table::flush_to_lake`](crate::Table::flush_to_lake) asks. Default: true.
    pub fn tiering(mut self, tiering: bool) -> Self {
        self.tiering = tiering;
        self
    }

    /// About how many bytes the rounds of all tables may hold in memory together, whatever their backlogs. A round takes
    /// 4 MiB, and twice its bytes of log up to each of 20 MiB, 8 MiB for each column of its lake, and on an object store
    /// 50 MiB more. Where less is left it settles fewer rows; a round for which not even 8 MiB of log fit waits for its
    /// turn. One always runs. On disk, a table without transforms that has a backlog of 128 MiB or more takes this several
    /// times, for parts of it that are written at once on a core each (four at most), as long as a small round of every
    /// other table still fits beside it. Default: 256 MiB.
    ///
    /// What the process's allocator keeps of freed buffers comes on top. From glibc's, a long round takes it back now and then
    /// (malloc_trim(3)).
    pub fn tiering_memory(mut self, bytes: u64) -> Self {
        self.tiering_memory = bytes;
        self
    }

    /// A directory to look for standard plugins in, before the usual places.
    pub fn plugin_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plugin_dirs.push(directory.into());
        self
    }

    /// Where compiled plugins are kept for the next start. Several stores, and processes, of one user can share a
    /// directory, so that a plugin is compiled once for all of them. It is created where it is missing, and must be this
    /// user's alone (0700): see [`PluginHost::with_cache`](crate::transform::PluginHost::with_cache).
    /// Default: `cache` in the store.
    pub fn plugin_cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plugin_cache = Some(directory.into());
        self
    }

    /// Who is asked for a lake's storage options whenever one is opened, by its URI: for secrets that are kept in a vault, or
    /// that expire. What it gives goes before what the table has. An error is told as that of the lake. Default: nobody.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// let store = alluvium::StoreOptions::new()
    ///     .credentials(|uri| match uri.starts_with("s3://") {
    ///         true => Ok([("aws_session_token".to_owned(), "from a vault".to_owned())].into()),
    ///         false => Ok(Default::default()),
    ///     })
    ///     .open(directory.path().join("store"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn credentials<F>(mut self, provider: F) -> Self
    where
        F: Fn(&str) -> Result<HashMap<String, String>, Box<dyn std::error::Error + Send + Sync>>
            + Send
            + Sync
            + 'static,
    {
        self.credentials = Some(CredentialProvider(Arc::new(provider)));
        self
    }

    /// Opens the store; see [`Store::open`](crate::Store::open).
    ///
    /// # Errors
    ///
    /// As [`Store::open`](crate::Store::open).
    pub fn open(self, path: impl AsRef<std::path::Path>) -> crate::Result<crate::Store> {
        crate::Store::open_with(path.as_ref(), self)
    }
}
