//! Indices of a lake: built once there are enough rows, then extended.

use arrow_schema::DataType;
use lance::index::DatasetIndexExt;
use lance::index::vector::VectorIndexParams;
use lance_index::optimize::OptimizeOptions;
use lance_index::scalar::{BuiltinIndexType, InvertedIndexParams, ScalarIndexParams};
use lance_index::vector::hnsw::builder::HnswBuildParams;
use lance_index::vector::ivf::IvfBuildParams;
use lance_index::vector::sq::builder::SQBuildParams;
use lance_index::{IndexParams, IndexType};
use lance_linalg::distance::MetricType;

use super::Lake;
use super::round::is_conflict;
use crate::crash::crash_point;
use crate::index::{IndexKind, IndexSpec, IndexStatus};
use crate::{Error, Result};

/// Partitions of an inverted file: more make neither building nor searching faster.
const PARTITIONS_MAX: u64 = 4096;
/// Parts of an index that are merged into one.
const SEGMENTS_MAX: usize = 8;
const PQ_BITS: u8 = 8;
const PQ_ITERATIONS: usize = 50;

impl Lake {
    /// Builds an index that is wanted, extends one that too many rows lack in, or finds that there is nothing to do.
    /// Whether something was done. Another writer's conflicting change is no error: the next call tries again.
    pub(crate) async fn keep_index(
        &mut self,
        spec: &IndexSpec,
        unindexed_max: u64,
    ) -> Result<bool> {
        self.refresh().await?;
        let status = self.index_status(spec).await?;
        let done = match status.segments {
            0 if status.unindexed_rows < spec.build_at => return Ok(false),
            0 => self.build_index(spec, status.unindexed_rows).await?,
            _ if status.unindexed_rows <= unindexed_max => return Ok(false),
            segments => self.extend_index(&spec.name, segments).await,
        };
        crash_point("index: committed");
        match done {
            Ok(()) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(self.error("index")(error)),
        }
    }

    /// How much of the lake an index has.
    pub(crate) async fn index_status(&self, spec: &IndexSpec) -> Result<IndexStatus> {
        let parts = self.dataset.load_indices_by_name(&spec.name).await;
        let parts = parts.map_err(self.error("read the indices of"))?;
        let mut status = IndexStatus {
            segments: parts.len(),
            ..spec.status(0)
        };
        for fragment in self.dataset.fragments().iter() {
            let id = u32::try_from(fragment.id).unwrap_or(u32::MAX);
            let bitmaps = parts
                .iter()
                .filter_map(|part| part.fragment_bitmap.as_ref());
            let is_indexed = bitmaps.into_iter().any(|bitmap| bitmap.contains(id));
            let rows = fragment.num_rows().unwrap_or_default() as u64;
            match is_indexed {
                true => status.indexed_rows += rows,
                false => status.unindexed_rows += rows,
            }
        }
        Ok(status)
    }

    /// Takes an index away, if it is there.
    pub(crate) async fn drop_index(&mut self, name: &str) -> Result<()> {
        self.refresh().await?;
        let parts = self.dataset.load_indices_by_name(name).await;
        if parts.map_err(self.error("read the indices of"))?.is_empty() {
            return Ok(());
        }
        let dropped = self.dataset.drop_index(name).await;
        dropped.map_err(self.error("drop an index of"))
    }

    async fn build_index(&mut self, spec: &IndexSpec, rows: u64) -> Result<lance::Result<()>> {
        let schema = self.schema();
        let column = schema.field_with_name(&spec.column).map_err(|_| {
            Error::invalid(
                format!("index {:?}", spec.name),
                "its column is not in the lake",
            )
        })?;
        let kind = spec.kind.resolved(column.data_type())?;
        let (index_type, params) = parameters(kind, column.data_type(), rows)?;
        let columns = [spec.column.as_str()];
        let name = Some(spec.name.clone());
        let built = self
            .dataset
            .create_index(&columns, index_type, name, &*params, true);
        Ok(built.await.map(drop))
    }

    async fn extend_index(&mut self, name: &str, segments: usize) -> lance::Result<()> {
        let merged = if segments < SEGMENTS_MAX { 0 } else { segments };
        let options = OptimizeOptions::merge(merged).index_names(vec![name.to_owned()]);
        self.dataset.optimize_indices(&options).await
    }
}

/// What Lance is told to build, for a lake of so many rows.
fn parameters(
    kind: IndexKind,
    column: &DataType,
    rows: u64,
) -> Result<(IndexType, Box<dyn IndexParams>)> {
    let partitions = rows.isqrt().clamp(1, PARTITIONS_MAX) as usize;
    let metric = MetricType::Cosine;
    let scalar = |kind| Box::new(ScalarIndexParams::for_builtin(kind)) as Box<dyn IndexParams>;
    Ok(match (kind, column) {
        (IndexKind::IvfPq, DataType::FixedSizeList(_, dimension)) => {
            let parts = sub_vectors(*dimension);
            let params =
                VectorIndexParams::ivf_pq(partitions, PQ_BITS, parts, metric, PQ_ITERATIONS);
            (IndexType::Vector, Box::new(params))
        }
        (IndexKind::IvfHnsw, _) => {
            // A graph searches a partition faster than a scan does, so they may be larger.
            let ivf = IvfBuildParams::new((partitions / 16).max(1));
            let (graph, quantizer) = (HnswBuildParams::default(), SQBuildParams::default());
            let params = VectorIndexParams::with_ivf_hnsw_sq_params(metric, ivf, graph, quantizer);
            (IndexType::Vector, Box::new(params))
        }
        (IndexKind::BTree, _) => (IndexType::BTree, scalar(BuiltinIndexType::BTree)),
        (IndexKind::Bitmap, _) => (IndexType::Bitmap, scalar(BuiltinIndexType::Bitmap)),
        (IndexKind::FullText, _) => (
            IndexType::Inverted,
            Box::new(InvertedIndexParams::default()),
        ),
        (kind, column) => {
            return Err(Error::invalid(
                format!("an index of kind {kind}"),
                format!("does not fit a column of {column}"),
            ));
        }
    })
}

/// The parts that a vector is quantized in: 16 numbers each, or 8, or one.
fn sub_vectors(dimension: i32) -> usize {
    let dimension = usize::try_from(dimension).unwrap_or_default().max(1);
    let part = [16, 8, 4, 2]
        .into_iter()
        .find(|part| dimension.is_multiple_of(*part));
    dimension / part.unwrap_or(1)
}
