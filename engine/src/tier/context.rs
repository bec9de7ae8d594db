//! What a table's tiering is about, and what is known of it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::{TableMeta, replace_file};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::log::Frame;
use crate::options::Settings;
use crate::plugins::Plugins;
use crate::schemas::Schemas;
use crate::shape::Shape;
use crate::tier::history::HistoryFile;
use crate::tier::lake::{Lake, LakeOptions, Progress};
use crate::tier::writers::Writers;

/// The file that keeps a tierer's last words for other processes.
const REPORT_FILE: &str = "tier.json";

/// What a table's pipeline and tierer are about. Only its shape changes, with its columns and its transforms.
#[derive(Debug)]
pub(crate) struct TierContext {
    pub(crate) directory: PathBuf,
    pub(crate) table_id: Uuid,
    pub(crate) settings: Settings,
    pub(crate) lake: LakeOptions,
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) shape: RwLock<Arc<Shape>>,
    /// Which transforms made which rows.
    pub(crate) history: HistoryFile,
    /// Who committed to the lake for it.
    pub(crate) writers: Writers,
    /// Held by whoever replaces the table's file.
    pub(crate) altering: Mutex<()>,
}

/// What is known of a table's tiering. A copy is kept in `tier.json`: a hint for status, never the truth.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TierReport {
    pub(crate) tiered: u64,
    pub(crate) filtered: u64,
    pub(crate) dead: u64,
    pub(crate) dropped: u64,
    /// The offset up to which dead letters are in their dataset.
    pub(crate) dead_letters_to: u64,
    pub(crate) dead_letters_error: Option<String>,
    pub(crate) lake_version: Option<u64>,
    #[serde(with = "crate::error::reported")]
    pub(crate) last_error: Option<Arc<Error>>,
    pub(crate) last_error_us: Option<i64>,
}

impl TierContext {
    /// What the table is now.
    pub(crate) fn shape(&self) -> Arc<Shape> {
        Arc::clone(&self.shape.read())
    }

    /// Schemas among which a frame's is, also when another process has altered the table since it was opened.
    pub(crate) fn schemas_of(&self, frame: &Frame) -> Result<Arc<Schemas>> {
        let known = Arc::clone(&self.shape().schemas);
        match known.of(frame) {
            Ok(_) => Ok(known),
            Err(_) => TableMeta::read(&self.directory)?
                .schemas(&self.directory)
                .map(Arc::new),
        }
    }

    /// Asks the lake how far a table is in it; zero when there is no lake yet.
    ///
    /// # Errors
    ///
    /// [`Error::LakeMismatch`] when rows were tiered and the lake is gone; [`Error::Fenced`] when it has other rows than the
    /// log's.
    pub(crate) fn lake_progress(&self) -> Result<(Progress, Option<u64>)> {
        let tiered = self.read_report().tiered;
        let options = self.lake.clone();
        let (table_id, bucket) = (self.table_id, self.settings.bucket);
        let looked = self.executor.run(async move {
            match Lake::open(&options).await? {
                None if tiered > 0 => Err(Error::LakeMismatch {
                    uri: options.shown_uri(),
                    reason: format!("there is no dataset, and {tiered} rows of this table were settled in one; bring it back"),
                }),
                None => Ok(None),
                Some(lake) => {
                    let found = lake.find(table_id, bucket).await?;
                    Ok(Some((found, lake.version())))
                }
            }
        })??;
        let Some((found, version)) = looked else {
            return Ok((Progress::default(), None));
        };
        self.writers.check(&self.lake.shown_uri(), &found)?;
        Ok((found.progress, Some(version)))
    }

    /// A tierer's last words; nothing yet when there are none.
    pub(crate) fn read_report(&self) -> TierReport {
        TierReport::read(&self.directory)
    }

    /// Leaves the last words for other processes. They are a hint: a failure is only logged.
    pub(crate) fn write_report(&self, report: &TierReport) {
        let text = serde_json::to_vec(report).unwrap_or_default();
        if let Err(error) = replace_file(&self.directory.join(REPORT_FILE), &text) {
            tracing::warn!(%error, "cannot keep the tiering report");
        }
    }
}

impl TierReport {
    /// Where tiering stood, without the count of rows.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            to: self.tiered,
            rows: 0,
            filtered: self.filtered,
            dead: self.dead,
            dropped: self.dropped,
        }
    }

    /// The report in a table's directory; nothing yet when there is none.
    pub(crate) fn read(directory: &std::path::Path) -> Self {
        let text = fs::read(directory.join(REPORT_FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}
