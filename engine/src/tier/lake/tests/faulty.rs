//! An object store that fails at random: before an operation took effect, after it, in the middle of an upload, or late.

pub(in crate::tier::lake) mod files;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use lance_io::object_store::WrappingObjectStore;
use object_store::list::PaginatedListStore;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result as StoreResult, UploadPart,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How many operations are refused, at most, after a commit whose reply was lost.
const OUTAGE_MAX: u64 = 12;

/// How many times as often as other operations commits fail.
const COMMITS: u64 = 6;

/// How much later a commit is there that the client gave up on.
const LATE: Duration = Duration::from_millis(15);

/// How long a slow operation takes.
const SLOW: Duration = Duration::from_millis(20);

/// The stores of lakes below a directory, by that directory.
static WRAPPERS: Mutex<Vec<(String, Arc<Faults>)>> = Mutex::new(Vec::new());

/// The wrapper of a lake's store, if a test wants one.
pub(crate) fn wrapper_of(address: &str) -> Option<Arc<dyn WrappingObjectStore>> {
    faults_at(address).map(|faults| faults as _)
}

fn faults_at(address: &str) -> Option<Arc<Faults>> {
    let wrappers = WRAPPERS.lock();
    let found = wrappers
        .iter()
        .find(|(root, _)| address.contains(root.as_str()));
    found.map(|(_, faults)| Arc::clone(faults))
}

/// How often and in which order operations fail.
#[derive(Debug)]
pub(crate) struct Faults {
    state: AtomicU64,
    /// Of a thousand operations.
    rate: AtomicU64,
    /// How many operations are refused from now on: nobody can ask what became of the one before.
    outage: AtomicU64,
    /// Whether Lance goes through the object store for local files, which it does itself else.
    takes_files: AtomicBool,
    /// Who waits for the next commit to begin, and lets it go on.
    held: Mutex<Option<Hold>>,
    pub(crate) injected: AtomicU64,
}

type Hold = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It fails and did nothing.
    Refused,
    /// It is done, and the reply is lost.
    Lost,
    /// It is done, and the client, which tried again after a lost reply, found its own work.
    Repeated,
    /// The client gave up on it, and it is done later all the same, if it creates something.
    Late,
    Slow,
}

impl Faults {
    /// For all lakes whose address holds a text; no faults yet.
    pub(crate) fn of(root: &str, seed: u64) -> Arc<Self> {
        let faults = Arc::new(Self {
            state: AtomicU64::new(seed),
            rate: AtomicU64::new(0),
            outage: AtomicU64::new(0),
            takes_files: AtomicBool::new(false),
            held: Mutex::default(),
            injected: AtomicU64::new(0),
        });
        WRAPPERS.lock().push((root.to_owned(), Arc::clone(&faults)));
        faults
    }

    pub(crate) fn rate(&self, of_a_thousand: u64) {
        self.rate.store(of_a_thousand, Ordering::Relaxed);
        self.outage.store(0, Ordering::Relaxed);
    }

    /// Lets Lance go through the object store for local files too.
    pub(crate) fn take_files(&self) {
        self.takes_files.store(true, Ordering::Relaxed);
    }

    /// Lets the next commit wait at its last step: what tells that it is there, and what lets it go on.
    pub(crate) fn hold_next_commit(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((is_there, there), (go_on, may_go_on)) = (oneshot::channel(), oneshot::channel());
        *self.held.lock() = Some((is_there, may_go_on));
        (there, go_on)
    }

    /// How long nobody can ask from now on, after a commit whose reply was lost.
    fn begin_outage(&self) {
        let outage = self.random() % OUTAGE_MAX;
        self.outage.store(outage, Ordering::Relaxed);
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .state
            .fetch_add(step, Ordering::Relaxed)
            .wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fate(&self) -> Fate {
        self.fate_at(1)
    }

    /// That of an operation which fails so many times as often.
    fn fate_at(&self, times: u64) -> Fate {
        let left = |outage: u64| outage.checked_sub(1);
        if self
            .outage
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
        {
            self.injected.fetch_add(1, Ordering::Relaxed);
            return Fate::Refused;
        }
        if self.random() % 1000 >= times * self.rate.load(Ordering::Relaxed) {
            return Fate::Fine;
        }
        self.injected.fetch_add(1, Ordering::Relaxed);
        match self.random() % 5 {
            0 => Fate::Refused,
            1 => Fate::Lost,
            2 => Fate::Repeated,
            3 => Fate::Late,
            _ => Fate::Slow,
        }
    }
}

impl WrappingObjectStore for Faults {
    fn wrap(&self, _prefix: &str, original: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        let wrappers = WRAPPERS.lock();
        let faults = wrappers
            .iter()
            .find(|(_, faults)| std::ptr::eq(&**faults, self));
        let faults = Arc::clone(&faults.expect("registered").1);
        Arc::new(FaultyStore { original, faults })
    }

    fn wrap_paginated(
        &self,
        _prefix: &str,
        _original: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

#[derive(Debug)]
struct FaultyStore {
    original: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.original)
    }
}

fn unavailable<T>() -> StoreResult<T> {
    Err(StoreError::Generic {
        store: "faulty",
        source: "503 Slow Down".into(),
    })
}

/// Runs an operation to its fate.
async fn run<T>(fate: Fate, operation: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    match fate {
        Fate::Refused | Fate::Late => return unavailable(),
        Fate::Slow => tokio::time::sleep(SLOW).await,
        _ => {}
    }
    let done = operation.await?;
    match fate {
        Fate::Lost | Fate::Repeated => unavailable(),
        _ => Ok(done),
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        // A commit is one.
        let creates = matches!(options.mode, PutMode::Create);
        let held = self.faults.held.lock().take_if(|_| creates);
        if let Some((is_there, may_go_on)) = held {
            let _ = is_there.send(());
            let _ = may_go_on.await;
        }
        let fate = self.faults.fate_at(if creates { COMMITS } else { 1 });
        if creates && fate == Fate::Late {
            let (original, location) = (Arc::clone(&self.original), location.clone());
            tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                let _ = original.put_opts(&location, payload, options).await;
            });
            return unavailable();
        }
        let put = self.original.put_opts(location, payload, options);
        if creates && fate == Fate::Lost {
            put.await?;
            self.faults.begin_outage();
            return unavailable();
        }
        if creates && fate == Fate::Repeated {
            put.await?;
            return Err(StoreError::AlreadyExists {
                path: location.to_string(),
                source: "412 Precondition Failed".into(),
            });
        }
        run(fate, put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let begun = self.original.put_multipart_opts(location, options);
        let upload = run(self.faults.fate(), begun).await?;
        let faults = Arc::clone(&self.faults);
        Ok(Box::new(FaultyUpload { upload, faults }))
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> StoreResult<GetResult> {
        run(
            self.faults.fate(),
            self.original.get_opts(location, options),
        )
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<ObjectPath>>,
    ) -> BoxStream<'static, StoreResult<ObjectPath>> {
        let (original, faults) = (Arc::clone(&self.original), Arc::clone(&self.faults));
        let deleted = locations.then(move |location| {
            let (original, fate) = (Arc::clone(&original), faults.fate());
            async move {
                let location = location?;
                run(fate, original.delete(&location))
                    .await
                    .map(|()| location)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match self.faults.fate() {
            Fate::Fine | Fate::Slow => self.original.list(prefix),
            _ => futures::stream::once(async { unavailable() }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> StoreResult<ListResult> {
        run(
            self.faults.fate(),
            self.original.list_with_delimiter(prefix),
        )
        .await
    }

    async fn copy_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: CopyOptions,
    ) -> StoreResult<()> {
        run(
            self.faults.fate(),
            self.original.copy_opts(from, to, options),
        )
        .await
    }

    async fn rename_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: RenameOptions,
    ) -> StoreResult<()> {
        run(
            self.faults.fate(),
            self.original.rename_opts(from, to, options),
        )
        .await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    upload: Box<dyn MultipartUpload>,
    faults: Arc<Faults>,
}

#[async_trait::async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        run(self.faults.fate(), self.upload.put_part(data)).boxed()
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        run(self.faults.fate(), self.upload.complete()).await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        run(self.faults.fate(), self.upload.abort()).await
    }
}
