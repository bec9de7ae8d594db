//! What people ask of a table.

use serde::Serialize;

use crate::error::Result;
use crate::log::Durability;
use crate::log::now_us;
use crate::table::TableInner;
use crate::tier::dead_letters;

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
    pub transform_error: Option<String>,
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
    /// Records that a transform failed on.
    pub dead_letters: u64,
    /// Records that a transform filtered out.
    pub filtered: u64,
    /// The lake.
    pub lake_uri: String,
    /// The lake's newest version; `None` when it is not there or cannot be reached.
    pub lake_version: Option<u64>,
    /// Why the last round failed, or why the lake cannot be asked.
    pub last_error: Option<String>,
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
    let (rows_tiered, filtered, lake_version, lake_error) = match table.tierer.progress() {
        Ok((progress, version)) => (progress.to, progress.filtered, version, None),
        Err(error) => (
            report.tiered,
            report.filtered,
            None,
            Some(error.to_string()),
        ),
    };
    let committed = table.raw.committed();
    // A reader's snapshot of the log may be older than the lake.
    let lag_from = rows_tiered.max(table.raw.first_offset()).min(committed);
    let lag_us = age_us(table, lag_from)?;
    let staged = table.pipeline.log();
    let rows_staged = staged.as_ref().map_or(committed, |log| {
        log.committed().max(rows_tiered).min(committed)
    });
    let shape = context.shape();
    let letters = dead_letters::read(
        &context.directory,
        context.table_id,
        &context.schema,
        rows_tiered,
    )?;
    let (segments, log_bytes) = table.raw.size();
    // The writer learnt of damage when it opened the log; a reader has to look.
    let damage = match table.raw.is_read_only() {
        true => table.raw.check_tail().err().map(|error| error.to_string()),
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
        transform_lag_seconds: age_us(table, rows_staged)? as f64 / 1e6,
        transform_error: table.pipeline.last_error(),
        staged_bytes: staged.map_or(0, |log| log.size().1),
        rows_durable: table.raw.durable().max(rows_tiered),
        rows_tiered,
        lag_rows: committed.saturating_sub(rows_tiered),
        lag_bytes: table.raw.bytes_from(lag_from),
        lag_seconds: lag_us as f64 / 1e6,
        segments,
        log_bytes,
        spare_segments: table.raw.spares(),
        max_log_bytes: context.settings.max_log_bytes,
        log_from: table.raw.first_offset(),
        dead_letters: letters.iter().map(|b| b.num_rows() as u64).sum(),
        filtered,
        lake_uri: context.lake.uri.clone(),
        lake_version,
        last_error: damage.or(lake_error).or(report.last_error),
        durability: context.settings.durability,
        transforms: shape.transforms().iter().map(transform).collect(),
    })
}

/// The age of the row at an offset; 0 when it isn't there yet.
fn age_us(table: &TableInner, offset: u64) -> Result<i64> {
    let from = offset.max(table.raw.first_offset());
    let oldest = table.raw.read_from(from).next_frame()?;
    Ok(oldest.map_or(0, |f| now_us().saturating_sub(f.header.timestamp_us).max(0)))
}
