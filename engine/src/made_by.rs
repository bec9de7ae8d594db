//! Which versions of which plugins made how many rows of a lake.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::table::TableInner;
use crate::tier::history::Maker;
use crate::tier::lake::{Lake, rows_with};

/// How many rows of the lake a version of a plugin made.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MadeBy {
    /// The transform's name. `None`: rows that no transform made, or of before that was noted.
    pub transform: Option<String>,
    /// The plugin that it ran.
    pub plugin: String,
    /// The version that the plugin says it has.
    pub version: Option<String>,
    /// SHA-256 of the plugin, in lower-case hex.
    pub sha256: String,
    /// Rows of the lake.
    pub rows: u64,
    /// Their share of the table's rows in the lake, from 0 to 1.
    pub share: f64,
}

/// How many rows of the lake each version of each transform made.
pub(crate) fn of(table: &TableInner) -> Result<Vec<MadeBy>> {
    let context = &table.tierer.context;
    let (progress, _) = table.tierer.progress()?;
    let options = context.lake.clone();
    let bucket = context.settings.bucket;
    let ranges = context.history.read()?.ranges(progress.to);
    let counted = context.executor.run(async move {
        let mut counted = Vec::new();
        let Some(lake) = Lake::open(&options).await? else {
            return Ok::<_, Error>(counted);
        };
        for (range, makers) in ranges {
            counted.push((lake.count_rows(rows_with(bucket, &range)).await?, makers));
        }
        Ok(counted)
    })??;
    let all = counted.iter().map(|(rows, _)| rows).sum::<u64>().max(1) as f64;
    let mut found: Vec<MadeBy> = Vec::new();
    for (rows, makers) in counted.iter().filter(|(rows, _)| *rows > 0) {
        let known = makers.iter().map(Some);
        let unknown = makers.is_empty().then_some(None);
        let of = known.chain(unknown).map(made);
        for mut entry in of {
            let same = |known: &&mut MadeBy| {
                (&known.transform, &known.sha256) == (&entry.transform, &entry.sha256)
            };
            match found.iter_mut().find(same) {
                Some(known) => known.rows += rows,
                None => {
                    entry.rows = *rows;
                    found.push(entry);
                }
            }
        }
    }
    for entry in &mut found {
        entry.share = entry.rows as f64 / all;
    }
    Ok(found)
}

fn made(by: Option<(&String, &Maker)>) -> MadeBy {
    let maker = by.map(|(_, maker)| maker);
    MadeBy {
        transform: by.map(|(name, _)| name.clone()),
        plugin: maker.map(|m| m.plugin.clone()).unwrap_or_default(),
        version: maker.and_then(|m| m.version.clone()),
        sha256: maker.map(|m| m.sha256.clone()).unwrap_or_default(),
        rows: 0,
        share: 0.0,
    }
}
