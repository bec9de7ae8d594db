//! Merging small fragments into large ones, a step at a time, beside those who append.
//!
//! Size-tiered, as log-structured merge trees do it, but of neighbours only, so that the rows' order stays: fragments that
//! are within a factor of each other count as one level, and enough neighbours of a level (or below it) become one
//! fragment of the next. A row is thus rewritten once a level, whatever the table's age.

use std::ops::Range;
use std::sync::Arc;

use lance::dataset::index::DatasetIndexRemapperOptions;
use lance::dataset::optimize::{
    CompactionOptions, CompactionTask, RewriteResult, TaskData, commit_compaction,
};
use lance::datatypes::Field;
use lance::index::DatasetIndexExt;
use lance_table::format::Fragment;

use super::Lake;
use super::round::is_conflict;
use crate::Result;
use crate::crash::crash_point;
use crate::maintenance::Maintenance;

/// The size up to which fragments are of the lowest level.
const LOWEST_LEVEL_BYTES: u64 = 1 << 20;
/// A fragment of which more than this share is deleted is rewritten by itself.
const DELETED_SHARE: f64 = 0.1;
/// How many bytes of rows are rewritten at a time.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_ROWS_MAX: u64 = 8192;
/// The same of rows with blobs, whose bytes lie in files that a manifest does not know the sizes of.
const BLOB_BATCH_ROWS_MAX: u64 = 16;
/// How many fragments are merged at a time, unless the policy wants more: each has files that are open meanwhile, and a
/// step that is given up should not have been long.
const FRAGMENTS_MAX: usize = 128;
/// What may be read ahead.
const READ_AHEAD_BYTES: u64 = 64 << 20;

/// A fragment as the planner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    bytes: u64,
    rows: u64,
    deleted: u64,
    /// Which indices have it: only fragments that the same ones have are merged.
    indices: u64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compacted {
    /// There is nothing to merge.
    Nothing,
    /// So many fragments became fewer.
    Merged(usize),
    /// Another writer changed the same fragments: try again later.
    Conflict,
}

impl Lake {
    /// Merges one run of fragments, or finds that there is none. It may be dropped at any time: then nothing was merged,
    /// and what was written is garbage for [`Lake::clean`].
    pub(crate) async fn compact_step(&mut self, policy: &Maintenance) -> Result<Compacted> {
        self.refresh().await?;
        let sizes = self.sizes().await?;
        let Some(run) = next_run(&sizes, policy) else {
            return Ok(Compacted::Nothing);
        };
        let chosen = sizes.get(run.clone()).unwrap_or_default();
        let fragments: Vec<Fragment> = self
            .dataset
            .fragments()
            .get(run)
            .unwrap_or_default()
            .to_vec();
        let count = fragments.len();
        let task = CompactionTask {
            task: TaskData { fragments },
            read_version: self.version(),
            options: options(chosen, self.batch_rows_max(), policy),
        };
        let rewritten = task.execute(&self.dataset).await;
        let rewritten = rewritten.map_err(self.error("merge fragments of"))?;
        crash_point("merge: written");
        self.publish_compaction(rewritten, &task.options, count)
            .await
    }

    fn batch_rows_max(&self) -> u64 {
        match self.dataset.schema().fields_pre_order().any(Field::is_blob) {
            true => BLOB_BATCH_ROWS_MAX,
            false => BATCH_ROWS_MAX,
        }
    }

    async fn publish_compaction(
        &mut self,
        rewritten: RewriteResult,
        options: &CompactionOptions,
        count: usize,
    ) -> Result<Compacted> {
        let fresh = rewritten.new_fragments.clone();
        let remapper = Arc::new(DatasetIndexRemapperOptions::default());
        match commit_compaction(&mut self.dataset, vec![rewritten], remapper, options).await {
            Ok(_) => {
                crash_point("merge: committed");
                Ok(Compacted::Merged(count))
            }
            Err(error) if is_conflict(&error) => {
                self.discard_after(1, &fresh).await;
                Ok(Compacted::Conflict)
            }
            // The reply may be what was lost: the files stay for cleanup.
            Err(error) => Err(self.error("merge fragments of")(error)),
        }
    }

    /// How many fragments of the version that this handle reads are not full.
    pub(crate) fn unmerged(&self, policy: &Maintenance) -> usize {
        let fragments = self.dataset.fragments().iter();
        let is_full = |fragment: &&Fragment| {
            let rows = fragment.physical_rows.unwrap_or_default() as u64;
            policy.is_full(bytes_of(fragment), rows)
        };
        fragments.filter(|fragment| !is_full(fragment)).count()
    }

    /// The fragments' sizes, in their order.
    async fn sizes(&self) -> Result<Vec<Size>> {
        let indices = self.dataset.load_indices().await;
        let indices = indices.map_err(self.error("read the indices of"))?;
        let covered_by = |fragment: &Fragment| {
            let id = u32::try_from(fragment.id).unwrap_or(u32::MAX);
            let bitmaps = indices.iter().map(|index| index.fragment_bitmap.as_ref());
            // More indices than bits share some; Lance refuses to merge what differs in one of those.
            bitmaps
                .enumerate()
                .filter(|(_, bitmap)| bitmap.is_some_and(|bitmap| bitmap.contains(id)))
                .fold(0, |bits, (number, _)| bits | 1 << (number % 64))
        };
        let size = |fragment: &Fragment| Size {
            bytes: bytes_of(fragment),
            rows: fragment.physical_rows.unwrap_or_default() as u64,
            deleted: fragment
                .deletion_file
                .as_ref()
                .map_or(0, |file| file.num_deleted_rows.unwrap_or_default() as u64),
            indices: covered_by(fragment),
        };
        Ok(self.dataset.fragments().iter().map(size).collect())
    }
}

/// The bytes of a fragment's data files, as far as its manifest knows them.
pub(super) fn bytes_of(fragment: &Fragment) -> u64 {
    let sizes = fragment
        .files
        .iter()
        .filter_map(|file| file.file_size_bytes.get());
    sizes.map(|bytes| bytes.get()).sum()
}

/// How a run is rewritten: in batches of bounded size and `rows_max` rows at most, into one file.
fn options(run: &[Size], rows_max: u64, policy: &Maintenance) -> CompactionOptions {
    let rows: u64 = run.iter().map(|size| size.rows).sum();
    let bytes: u64 = run.iter().map(|size| size.bytes).sum();
    let batch = (rows.saturating_mul(BATCH_BYTES) / bytes.max(1)).clamp(1, rows_max);
    CompactionOptions {
        target_rows_per_fragment: usize::try_from(rows.max(1)).unwrap_or(usize::MAX),
        // Twice, so that what is estimated a little too small is not split.
        max_bytes_per_file: usize::try_from(policy.fragment_bytes.saturating_mul(2)).ok(),
        materialize_deletions_threshold: 0.0,
        num_threads: Some(1),
        batch_size: usize::try_from(batch).ok(),
        io_buffer_size: Some(READ_AHEAD_BYTES),
        ..CompactionOptions::default()
    }
}

/// The next fragments to merge: of the smallest that are enough, the first; then those with many deleted rows.
fn next_run(sizes: &[Size], policy: &Maintenance) -> Option<Range<usize>> {
    let groups = runs(sizes, policy)
        .into_iter()
        .flat_map(|run| groups(sizes, run, policy.merge_at));
    let groups: Vec<_> = groups
        .filter(|group| group.len() >= policy.merge_at)
        .collect();
    let merge = groups.into_iter().rev();
    let merge = merge
        .filter_map(|group| fitting(sizes, group, policy))
        .next();
    merge.or_else(|| {
        let is_holey = |size: &Size| size.deleted as f64 > size.rows as f64 * DELETED_SHARE;
        let index = sizes.iter().position(is_holey)?;
        Some(index..index + 1)
    })
}

/// Maximal runs of neighbours that are not full, and that the same indices have.
fn runs(sizes: &[Size], policy: &Maintenance) -> Vec<Range<usize>> {
    let is_full = |size: &Size| policy.is_full(size.bytes, size.rows);
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut before: Option<Size> = None;
    for (index, size) in sizes.iter().enumerate() {
        match (before, runs.last_mut()) {
            _ if is_full(size) => {}
            (Some(before), Some(run)) if before.indices == size.indices => run.end = index + 1,
            _ => runs.push(index..index + 1),
        }
        before = Some(*size).filter(|size| !is_full(size));
    }
    runs
}

/// A run cut behind the last fragment of the highest level in it, and so on: what is smaller and comes after is not merged
/// with it, as Lucene's `LogMergePolicy` has it. So large fragments are not rewritten again and again for a few small ones.
fn groups(sizes: &[Size], run: Range<usize>, factor: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = run.start;
    while let Some(rest) = sizes.get(start..run.end).filter(|rest| !rest.is_empty()) {
        let levels = rest.iter().map(|size| level(size.bytes, factor));
        let last_highest = levels.enumerate().max_by_key(|(_, level)| *level);
        let end = start + last_highest.map_or(0, |(index, _)| index) + 1;
        groups.push(start..end);
        start = end;
    }
    groups
}

/// The first neighbours of a run that make no more than a full fragment together, two at least.
fn fitting(sizes: &[Size], run: Range<usize>, policy: &Maintenance) -> Option<Range<usize>> {
    run.clone().find_map(|start| {
        let (mut bytes, mut rows) = (0_u64, 0_u64);
        let most = FRAGMENTS_MAX.max(policy.merge_at);
        let more = sizes
            .get(start..run.end)?
            .iter()
            .take(most)
            .take_while(|size| {
                bytes = bytes.saturating_add(size.bytes);
                rows = rows.saturating_add(size.rows);
                bytes <= policy.fragment_bytes && rows <= policy.fragment_rows
            });
        let end = start + more.count();
        (end - start >= 2).then_some(start..end)
    })
}

/// How often a fragment of the lowest level must grow by the factor to be of a size.
fn level(bytes: u64, factor: usize) -> u32 {
    let ratio = bytes / LOWEST_LEVEL_BYTES;
    ratio
        .checked_ilog(factor.max(2) as u64)
        .map_or(0, |level| level + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(bytes: u64, rows: u64) -> Size {
        Size {
            bytes,
            rows,
            deleted: 0,
            indices: 0,
        }
    }

    fn merged(sizes: &[Size]) -> Size {
        Size {
            bytes: sizes.iter().map(|s| s.bytes).sum(),
            rows: sizes.iter().map(|s| s.rows - s.deleted).sum(),
            deleted: 0,
            indices: sizes[0].indices,
        }
    }

    #[test]
    fn seven_small_fragments_wait_and_eight_are_merged() {
        let policy = Maintenance::default();
        let small = [size(1000, 10); 8];
        assert_eq!(next_run(&small[..7], &policy), None);
        assert_eq!(next_run(&small, &policy), Some(0..8));
    }

    #[test]
    fn a_thousand_small_fragments_are_merged_in_steps() {
        let policy = Maintenance::default();
        let small = [size(1000, 10); 1000];
        assert_eq!(next_run(&small, &policy), Some(0..FRAGMENTS_MAX));
    }

    #[test]
    fn a_large_fragment_is_not_rewritten_for_a_few_small_ones() {
        let policy = Maintenance::default();
        let mut sizes = vec![size(400 << 20, 1000)];
        sizes.extend([size(1000, 10); 8]);
        assert_eq!(next_run(&sizes, &policy), Some(1..9));
    }

    #[test]
    fn what_different_indices_have_is_not_merged() {
        let policy = Maintenance::default();
        let mut sizes = [size(1000, 10); 12];
        sizes[..6].iter_mut().for_each(|size| size.indices = 1);
        assert_eq!(next_run(&sizes, &policy), None);
    }

    #[test]
    fn a_fragment_of_mostly_deleted_rows_is_rewritten_alone() {
        let policy = Maintenance::default();
        let mut sizes = [size(600 << 20, 1000), size(600 << 20, 1000)];
        sizes[1].deleted = 200;
        assert_eq!(next_run(&sizes, &policy), Some(1..2));
    }

    proptest! {
        /// However rows come, few fragments are left, none above the full size, and a row is rewritten a few times only.
        #[test]
        fn merging_ends_with_few_fragments_and_rewrites_each_row_a_few_times(
            appended in prop::collection::vec(1_u64..20_000_000, 1..600),
        ) {
            let policy = Maintenance::default();
            let (mut sizes, mut rewritten, mut total) = (Vec::new(), 0, 0);
            for bytes in appended {
                sizes.push(size(bytes, 1));
                total += bytes;
                while let Some(run) = next_run(&sizes, &policy) {
                    prop_assert!(run.len() >= 2);
                    let whole = merged(&sizes[run.clone()]);
                    prop_assert!(whole.bytes <= policy.fragment_bytes);
                    rewritten += whole.bytes;
                    sizes.splice(run, [whole]);
                }
            }
            let levels = u64::from(level(policy.fragment_bytes, policy.merge_at)) + 1;
            let full = total / (policy.fragment_bytes / 2) + 1;
            let few = levels * policy.merge_at as u64 + 2 * full;
            prop_assert!(sizes.len() as u64 <= few, "{} fragments, not {few}", sizes.len());
            prop_assert!(rewritten <= (levels + 1) * total, "{rewritten} of {total}");
        }
    }
}
