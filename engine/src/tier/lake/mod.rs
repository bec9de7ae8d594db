//! One Lance dataset that tables are tiered into: everything that is known of Lance, and nothing of logs.
//!
//! Rounds go in exactly once ([`Lake::commit`]), what was committed survives power loss ([`durable`]), and the dataset
//! itself tells where a table goes on ([`Lake::progress`]).

mod checkpoint;
mod cleanup;
mod columns;
mod compaction;
mod durable;
mod index;
mod layout;
mod only;
mod options;
mod progress;
mod replace;
mod round;
mod rows;
mod schema;
mod secrets;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod widen;
mod write;
mod writeback;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{Schema, SchemaRef};
use lance::Dataset;
use lance::dataset::CommitBuilder;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::transaction::{Operation, Transaction};
use lance::session::Session;
use lance_io::object_store::{ObjectStoreParams, ObjectStoreRegistry, StorageOptionsAccessor};
use lance_table::io::commit::{CommitHandler, commit_handler_from_url};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::{Error, Result};
use checkpoint::Checkpoint;
pub(crate) use cleanup::Cleaned;
pub(crate) use columns::Replaced;
pub(crate) use compaction::Compacted;
use durable::LocalCommit;
pub(crate) use layout::Layout;
use only::OnlyAt;
use options::Place;
pub(crate) use options::{CredentialProvider, LakeOptions};
pub(crate) use progress::Found;
use progress::Known;
pub(crate) use progress::{
    BUCKET_COLUMN, OFFSET_COLUMN, Progress, Round, TransformRecord, rows_with,
};
pub(crate) use round::Outcome;
pub(crate) use rows::bytes_of;
pub(crate) use secrets::{LakeUri, StorageOptions, check_uri, is_secret_in_clear};
pub(crate) use told::Told;
pub(crate) use write::Written;

/// How much of a lake's indices and metadata is kept in memory: Lance's own defaults are 6 GiB and 1 GiB.
const INDEX_CACHE_BYTES: usize = 32 << 20;
const METADATA_CACHE_BYTES: usize = 16 << 20;

/// How long a store may take to tell a lake's newest version.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A handle on a lake, reading one version of it until refreshed.
pub(crate) struct Lake {
    place: Place,
    handler: Arc<dyn CommitHandler>,
    dataset: Dataset,
    /// Of columns that are added.
    layout: Layout,
    known: Mutex<HashMap<(Uuid, i32), Known>>,
    /// Commits of rounds that were tried again.
    retries: u64,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake")
            .field("uri", &self.uri())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

/// The way to a lake that may or may not be there.
struct Access {
    place: Place,
    params: ObjectStoreParams,
    handler: Arc<dyn CommitHandler>,
    session: Arc<Session>,
    layout: Layout,
}

impl Access {
    async fn new(options: &LakeOptions) -> Result<Self> {
        let place = Place::new(&options.uri)?;
        let accessor = StorageOptionsAccessor::with_static_options(options.resolve()?);
        let params = ObjectStoreParams {
            storage_options_accessor: Some(Arc::new(accessor)),
            #[cfg(test)]
            object_store_wrapper: tests::faulty::wrapper_of(&place.address),
            ..ObjectStoreParams::default()
        };
        let handler: Arc<dyn CommitHandler> = match &place.root {
            Some(root) => Arc::new(LocalCommit::new(root.clone())),
            None => {
                let handler = commit_handler_from_url(&place.address, &Some(params.clone())).await;
                handler.map_err(error("open", &place))?
            }
        };
        let stores = Arc::<ObjectStoreRegistry>::default();
        #[cfg(test)]
        tests::faulty::files::register(&stores, &place.address);
        let session = Arc::new(Session::new(
            INDEX_CACHE_BYTES,
            METADATA_CACHE_BYTES,
            stores,
        ));
        Ok(Self {
            place,
            params,
            handler,
            session,
            layout: options.layout.clone(),
        })
    }

    async fn open(&self) -> Result<Option<Lake>> {
        let opened = DatasetBuilder::from_uri(&self.place.address)
            .with_store_params(self.params.clone())
            .with_commit_handler(self.handler.clone())
            .with_session(self.session.clone())
            .load();
        let opened = in_time(opened).await;
        match opened {
            Ok(dataset) => Ok(Some(self.lake(dataset))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(cause) => Err(error("open", &self.place)(cause)),
        }
    }

    fn lake(&self, dataset: Dataset) -> Lake {
        Lake {
            place: self.place.clone(),
            handler: self.handler.clone(),
            dataset,
            layout: self.layout.clone(),
            known: Mutex::default(),
            retries: 0,
        }
    }

    /// Makes the first version. Someone else may be faster: then `false`.
    async fn make(&self, schema: &Schema) -> Result<bool> {
        let schema = lance::datatypes::Schema::try_from(&self.layout.stored(schema))
            .map_err(error("create", &self.place))?;
        let fragments = Vec::new();
        let operation = Operation::Overwrite {
            fragments,
            schema,
            config_upsert_values: None,
            initial_bases: None,
        };
        let first = Arc::new(OnlyAt::new(1, self.handler.clone()));
        let directories = self.place.root.as_deref().map(durable::missing);
        let mut commit = CommitBuilder::new(self.place.address.as_str())
            .use_stable_row_ids(true)
            .with_store_params(self.params.clone())
            .with_session(self.session.clone())
            .with_commit_handler(first)
            .with_max_retries(1);
        if let Some(version) = &self.layout.storage_version {
            let version = version.parse().map_err(error("create", &self.place))?;
            commit = commit.with_storage_format(version);
        }
        let made = commit.execute(Transaction::new(0, operation, None)).await;
        match made {
            Ok(_) => {}
            Err(
                lance::Error::CommitConflict { .. } | lance::Error::DatasetAlreadyExists { .. },
            ) => return Ok(false),
            Err(cause) => return Err(error("create", &self.place)(cause)),
        }
        if let Some(directories) = directories {
            durable::sync_directories(directories).await?;
        }
        Ok(true)
    }
}

impl Lake {
    /// Opens a lake at its newest version; `None` when there is no dataset yet.
    pub(crate) async fn open(options: &LakeOptions) -> Result<Option<Self>> {
        Access::new(options).await?.open().await
    }

    /// Creates an empty lake: stable row ids, the stable storage version. It survives power loss once this returned.
    #[cfg(test)]
    pub(crate) async fn create(options: &LakeOptions, schema: &Schema) -> Result<Self> {
        let access = Access::new(options).await?;
        let made = access.make(schema).await?;
        match access.open().await? {
            Some(lake) if made => Ok(lake),
            _ => Err(error("create", &access.place)(
                lance::Error::dataset_already_exists(&access.place.shown),
            )),
        }
    }

    /// Opens a lake that must be there, whatever its columns are.
    pub(crate) async fn open_existing(options: &LakeOptions) -> Result<Self> {
        let access = Access::new(options).await?;
        access.open().await?.ok_or_else(|| Error::LakeMismatch {
            uri: access.place.shown.clone(),
            reason:
                "there is no dataset, and rows of this table were settled in one; bring it back"
                    .to_owned(),
        })
    }

    /// Whether there are rows of this bucket, whosever they are.
    pub(crate) async fn has_rows_of(&self, bucket: i32) -> Result<bool> {
        let rows = self
            .count_rows(format!("{BUCKET_COLUMN} = {bucket}"))
            .await?;
        Ok(rows > 0)
    }

    /// How many rows meet a condition.
    pub(crate) async fn count_rows(&self, condition: String) -> Result<u64> {
        let rows = self.dataset.count_rows(Some(condition)).await;
        Ok(rows.map_err(self.error("count the rows of"))? as u64)
    }

    /// Opens the lake or creates it; refuses one whose columns don't take this schema's rows, and shows the difference.
    pub(crate) async fn open_or_create(options: &LakeOptions, schema: &Schema) -> Result<Self> {
        let access = Access::new(options).await?;
        let mut lake = access.open().await?;
        if lake.is_none() {
            access.make(schema).await?;
            lake = access.open().await?;
        }
        let Some(lake) = lake else {
            let uri = access.place.shown.clone();
            return Err(error("open", &access.place)(
                lance::Error::dataset_not_found(uri, "it was just created".into()),
            ));
        };
        lake.accepts(schema)?;
        Ok(lake)
    }

    /// Whether rows of this schema can be appended: the same columns by name, type and nullability.
    pub(crate) fn accepts(&self, schema: &Schema) -> Result<()> {
        match schema::difference(schema, &self.schema()) {
            None => Ok(()),
            Some(reason) => Err(Error::LakeMismatch {
                uri: self.uri().to_owned(),
                reason,
            }),
        }
    }

    /// How far a table is in the lake as of the version that this handle reads, which is the newest one after
    /// [`Lake::open`] and [`Lake::refresh`]. On a local lake, what this tells survives power loss.
    pub(crate) async fn progress(&self, table_id: Uuid, bucket: i32) -> Result<Progress> {
        Ok(self.find(table_id, bucket).await?.progress)
    }

    /// Whether a commit's record, and not only the rows, tells how far the table is.
    pub(crate) async fn is_recorded(&self, table_id: Uuid, bucket: i32) -> Result<bool> {
        let checkpoint = Checkpoint::read(&self.dataset, table_id, bucket);
        Ok(checkpoint.is_some() || self.find(table_id, bucket).await?.transaction.is_some())
    }

    /// [`Lake::progress`], and who brought the table there.
    pub(crate) async fn find(&self, table_id: Uuid, bucket: i32) -> Result<Found> {
        let key = (table_id, bucket);
        let known = self.known.lock().get(&key).cloned();
        let now = self.version();
        if let Some((as_of, found)) = &known
            && *as_of == now
        {
            return Ok(found.clone());
        }
        // Whoever committed this version may have been killed before it was synced.
        if let Some(root) = &self.place.root {
            durable::sync_version(root, self.dataset.manifest_location()).await?;
        }
        let found = progress::find(&self.dataset, table_id, bucket, known).await;
        let found = found.map_err(self.error("read the progress from"))?;
        if let Some(other) = found.taken_by {
            return Err(Error::LakeMismatch {
                uri: self.uri().to_owned(),
                reason: format!(
                    "table {other} tiers into it under bucket {bucket}; create this one with another bucket"
                ),
            });
        }
        self.known.lock().insert(key, (now, found.clone()));
        Ok(found)
    }

    /// Goes on to the newest version.
    pub(crate) async fn refresh(&mut self) -> Result<()> {
        let before = self.version();
        let newest = in_time(self.dataset.checkout_latest()).await;
        newest.map_err(self.error("refresh"))?;
        if self.version() < before {
            // Another dataset is in its place.
            self.known.lock().clear();
        }
        Ok(())
    }

    /// How often commits of rounds were tried again since this was last asked.
    pub(crate) fn take_retries(&mut self) -> u64 {
        std::mem::take(&mut self.retries)
    }

    /// The version that this handle reads.
    pub(crate) fn version(&self) -> u64 {
        self.dataset.version_id()
    }

    /// Fragments, rows and bytes of data files of the version that this handle reads.
    pub(crate) fn size(&self) -> (u64, u64, u64) {
        let fragments = self.dataset.fragments();
        let rows = fragments.iter().filter_map(|fragment| fragment.num_rows());
        let rows = rows.map(|rows| rows as u64).sum();
        let bytes = fragments.iter().map(compaction::bytes_of).sum();
        (fragments.len() as u64, rows, bytes)
    }

    /// Where the lake is, without credentials.
    pub(crate) fn uri(&self) -> &str {
        &self.place.shown
    }

    /// The lake's columns, blobs as the binaries that they hold.
    pub(crate) fn schema(&self) -> SchemaRef {
        layout::plain(&Schema::from(self.dataset.schema()))
    }

    /// The dataset at the version that this handle reads, for reading and for maintenance. Whoever commits through it
    /// to a local lake commits durably.
    pub(crate) fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn error(&self, action: &'static str) -> impl FnOnce(lance::Error) -> Error + use<> {
        error(action, &self.place)
    }
}

fn error(action: &'static str, place: &Place) -> impl FnOnce(lance::Error) -> Error + use<> {
    let uri = place.shown.clone();
    move |source| Error::Lake {
        action,
        uri,
        kind: told::kind_of(&source),
        source: Box::new(Told(source)),
    }
}

/// Gives up on a store that takes requests and never answers, where Lance would try for minutes.
async fn in_time<T>(work: impl Future<Output = lance::Result<T>>) -> lance::Result<T> {
    match tokio::time::timeout(ANSWER_WITHIN, Box::pin(work)).await {
        Ok(done) => done,
        Err(_) => Err(lance::Error::timeout(format!(
            "no answer in {ANSWER_WITHIN:?}"
        ))),
    }
}

/// Whether an error says that there is no dataset, rather than no bucket or no permission.
fn is_absent(error: &lance::Error) -> bool {
    progress::is_missing(error) && !told::is_without_bucket(error)
}
