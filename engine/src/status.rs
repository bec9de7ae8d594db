//! What people ask of a table.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result, reported};
use crate::index::{IndexSpec, IndexStatus};
use crate::log::Durability;
use crate::table::TableInner;
use crate::tier::dead_letters::dataset::options_of;
use crate::tier::maintainer::MaintenanceStatus;
use crate::tier::metrics::TierSnapshot;

/// How many of a table's rows are where, and how its tiering fares.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TableStatus {
    /// The table's name.
    pub table: String,
    /// Rows that were appended and can be read.
    pub rows_committed: u64,
    /// Rows that survive power loss. Seen from a reader beside the writer: at least that many.
    pub rows_durable: u64,
    /// Rows that the transforms are done with; without transforms, all that are committed.
    pub rows_staged: u64,
    /// Rows that are committed and not transformed yet.
    pub transform_lag_rows: u64,
    /// The age of the oldest of them in seconds; 0 when there is none.
    pub transform_lag_seconds: f64,
    /// Why the transforms do not go on, if they don't.
    #[serde(serialize_with = "reported::serialize")]
    pub transform_error: Option<Arc<Error>>,
    /// Bytes of the staged log's files: what transforms made and is not tiered yet.
    pub staged_bytes: u64,
    /// Rows whose fate is settled: in the lake, dead or filtered.
    pub rows_tiered: u64,
    /// Rows that are committed and not tiered yet.
    pub lag_rows: u64,
    /// About how many bytes of the log those rows take.
    pub lag_bytes: u64,
    /// The age of the oldest of them in seconds; 0 when there is none.
    pub lag_seconds: f64,
    /// Segment files of the raw log.
    pub segments: usize,
    /// Bytes of those files.
    pub log_bytes: u64,
    /// Segment files that are kept ready for reuse; none in a store that is open read-only.
    pub spare_segments: usize,
    /// The bytes that the log's files may take, spare ones among them; `None` for no limit.
    pub max_log_bytes: Option<u64>,
    /// The first offset that the log still has: rows before it are in the lake only.
    pub log_from: u64,
    /// Records that a transform failed on, and that were neither retried with success nor dropped.
    pub dead_letters: u64,
    /// Dead letters that were dropped.
    pub dropped: u64,
    /// The Lance dataset that dead letters are settled in, once there are any.
    pub dead_letters_uri: String,
    /// Why dead letters are not settled in it, if they aren't; their log keeps them.
    pub dead_letters_error: Option<String>,
    /// Records that a transform filtered out.
    pub filtered: u64,
    /// The lake, without credentials.
    pub lake_uri: String,
    /// The lake's newest version; `None` when it is not there or cannot be reached. In the process that writes: as of the last
    /// round, `None` before the first.
    pub lake_version: Option<u64>,
    /// Why the last round failed or, seen from a reader, why the lake cannot be asked.
    #[serde(serialize_with = "reported::serialize")]
    pub last_error: Option<Arc<Error>>,
    /// The indices that the lake has or is to have, as of the last pass of maintenance.
    pub indices: Vec<IndexStatus>,
    /// How the lake is kept: what maintenance did and last saw.
    pub maintenance: MaintenanceStatus,
    /// What tiering did since the store was opened.
    pub tiering: TierSnapshot,
    /// What an acknowledged append survives.
    pub durability: Durability,
    /// The transforms that rows go through.
    pub transforms: Vec<TransformStatus>,
}

/// A transform, as it was registered.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TransformStatus {
    /// The transform's name.
    pub name: String,
    /// Its plugin's name or the path that it was registered from.
    pub plugin: String,
    /// The version that the plugin says it has.
    pub version: Option<String>,
    /// SHA-256 of the plugin, in hex.
    pub sha256: String,
    /// What the plugin may use of the system, by name; the files that it may read are in `assets`.
    pub grants: Vec<&'static str>,
    /// The names of the files that it may read.
    pub assets: Vec<String>,
}

pub(crate) fn of(table: &TableInner) -> Result<TableStatus> {
    let context = &table.tierer.context;
    let report = table.tierer.report();
    // The writer's rounds tell, and whoever looks at it must not wait for a lake that is down. A reader has to ask.
    let (progress, lake_version, lake_error) = match table.raw.is_read_only() {
        false => (report.progress(), report.lake_version, None),
        true => match context.lake_progress() {
            Ok((progress, version)) => (progress, version, None),
            Err(error) => (report.progress(), None, Some(Arc::new(error))),
        },
    };
    let rows_tiered = progress.to;
    let committed = table.raw.committed();
    // A reader's snapshot of the log may be older than the lake.
    let lag_from = rows_tiered.max(table.raw.first_offset()).min(committed);
    let lag_seconds = table
        .raw
        .age_from(lag_from)?
        .unwrap_or_default()
        .as_secs_f64();
    let staged = table.pipeline.log();
    let rows_staged = staged.as_ref().map_or(committed, |log| {
        log.committed().max(rows_tiered).min(committed)
    });
    let shape = context.shape();
    let maintenance = match table.raw.is_read_only() {
        // A reader's own maintainer does nothing; the writer's leaves a report.
        true => MaintenanceStatus::read(&context.directory),
        false => table.maintainer.status(),
    };
    let (segments, log_bytes) = table.raw.size();
    // The writer learnt of damage when it opened the log; a reader has to look.
    let damage = match table.raw.is_read_only() {
        true => table.raw.check_tail().err().map(Arc::new),
        false => None,
    };
    let transform = |pinned: &crate::catalog::PinnedTransform| TransformStatus {
        name: pinned.spec.name.clone(),
        plugin: pinned.spec.plugin.clone(),
        version: pinned.plugin_version.clone(),
        sha256: pinned.plugin_sha256.clone(),
        grants: pinned
            .spec
            .grants
            .iter()
            .map(|grant| grant.name())
            .collect(),
        assets: pinned.spec.assets.keys().cloned().collect(),
    };
    Ok(TableStatus {
        table: table.name.clone(),
        rows_committed: committed.max(rows_tiered),
        rows_staged,
        transform_lag_rows: committed.saturating_sub(rows_staged),
        transform_lag_seconds: table
            .raw
            .age_from(rows_staged)?
            .unwrap_or_default()
            .as_secs_f64(),
        transform_error: table.pipeline.last_error(),
        staged_bytes: staged.map_or(0, |log| log.size().1),
        rows_durable: table.raw.durable().max(rows_tiered),
        rows_tiered,
        lag_rows: committed.saturating_sub(rows_tiered),
        lag_bytes: table.raw.bytes_from(lag_from),
        lag_seconds,
        segments,
        log_bytes,
        spare_segments: table.raw.spares(),
        max_log_bytes: context.settings.max_log_bytes,
        log_from: table.raw.first_offset(),
        dead_letters: progress.dead,
        dropped: progress.dropped,
        dead_letters_uri: options_of(&context.lake).shown_uri(),
        dead_letters_error: report.dead_letters_error,
        filtered: progress.filtered,
        lake_uri: context.lake.shown_uri(),
        lake_version,
        last_error: damage.or(lake_error).or(report.last_error),
        indices: shape
            .meta
            .indices
            .iter()
            .map(|spec| seen(spec, &maintenance))
            .collect(),
        maintenance,
        tiering: table.tierer.metrics.snapshot(),
        durability: context.settings.durability,
        transforms: shape.transforms().iter().map(transform).collect(),
    })
}

/// An index as maintenance last saw it; not built, if it never did.
fn seen(spec: &IndexSpec, maintenance: &MaintenanceStatus) -> IndexStatus {
    let seen = maintenance
        .indices
        .iter()
        .find(|index| index.name == spec.name);
    seen.cloned()
        .unwrap_or_else(|| spec.status(maintenance.lake_rows))
}
