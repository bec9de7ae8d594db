//! Indices of a table's lake, as users ask for them.

use std::fmt;
use std::str::FromStr;

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What an index is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IndexKind {
    /// What fits the column: [`IvfPq`](Self::IvfPq) for vectors, [`Bitmap`](Self::Bitmap) for booleans,
    /// [`FullText`](Self::FullText) for strings, [`BTree`](Self::BTree) for the rest.
    Auto,
    /// Nearest neighbours of vectors, by cosine: an inverted file of quantized vectors. Small, and fast over millions.
    IvfPq,
    /// The same with a graph in each partition: larger, and faster at high recall.
    IvfHnsw,
    /// Ranges and equality of numbers, times and short strings.
    BTree,
    /// Equality in columns of few different values.
    Bitmap,
    /// Words in texts.
    FullText,
}

impl IndexKind {
    /// The kind that is built for a column.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a column that this kind does not fit.
    pub(crate) fn resolved(self, column: &DataType) -> Result<Self> {
        use DataType as D;
        let is_vector =
            matches!(column, D::FixedSizeList(item, _) if item.data_type().is_floating());
        let is_text = matches!(column, D::Utf8 | D::LargeUtf8);
        let is_ordered = column.is_primitive() || is_text || *column == D::Boolean;
        let fits = match self {
            Self::Auto => is_vector || is_ordered,
            Self::IvfPq | Self::IvfHnsw => is_vector,
            Self::BTree | Self::Bitmap => is_ordered,
            Self::FullText => is_text,
        };
        if !fits {
            return Err(Error::invalid(
                format!("an index of kind {self}"),
                format!("does not fit a column of {column}"),
            ));
        }
        Ok(match self {
            Self::Auto if is_vector => Self::IvfPq,
            Self::Auto if *column == D::Boolean => Self::Bitmap,
            Self::Auto if is_text => Self::FullText,
            Self::Auto => Self::BTree,
            kind => kind,
        })
    }

    /// How many rows a lake has before it pays.
    fn build_at(self) -> u64 {
        match self {
            Self::IvfPq | Self::IvfHnsw => 10_000,
            _ => 4096,
        }
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::IvfPq => "ivf_pq",
            Self::IvfHnsw => "ivf_hnsw",
            Self::BTree => "btree",
            Self::Bitmap => "bitmap",
            Self::FullText => "full_text",
        })
    }
}

impl FromStr for IndexKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [
            Self::Auto,
            Self::IvfPq,
            Self::IvfHnsw,
            Self::BTree,
            Self::Bitmap,
            Self::FullText,
        ];
        let found = all.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| {
            Error::invalid(
                format!("index kind {text:?}"),
                "use auto, ivf_pq, ivf_hnsw, btree, bitmap or full_text",
            )
        })
    }
}

/// An index that a table wants its lake to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexSpec {
    pub(crate) name: String,
    pub(crate) column: String,
    pub(crate) kind: IndexKind,
    /// How many rows the lake must have first.
    pub(crate) build_at: u64,
}

impl IndexSpec {
    pub(crate) fn new(column: &str, kind: IndexKind) -> Self {
        Self {
            name: format!("{column}_{kind}"),
            column: column.to_owned(),
            kind,
            build_at: kind.build_at(),
        }
    }

    /// What there is to say before it is built, of a lake of so many rows.
    pub(crate) fn status(&self, unindexed_rows: u64) -> IndexStatus {
        IndexStatus {
            name: self.name.clone(),
            column: self.column.clone(),
            kind: self.kind,
            indexed_rows: 0,
            unindexed_rows,
            segments: 0,
        }
    }
}

/// How much of a lake an index has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IndexStatus {
    /// Its name in the dataset: the column's, `_` and the kind's.
    pub name: String,
    /// The column that it is of.
    pub column: String,
    /// Its kind.
    pub kind: IndexKind,
    /// Rows that it has.
    pub indexed_rows: u64,
    /// Rows that it lacks: searches look at each of them.
    pub unindexed_rows: u64,
    /// The parts that it has; 0 while it is not built, for want of rows.
    pub segments: usize,
}
