//! Cuts documents into overlapping passages.
//!
//! Reads the utf8 column `text`. Every passage becomes a row: `chunk` its text, `index` its number
//! in the document from 0, `start` and `end` its place there. It never begins nor ends within a
//! character. A document that is null or empty has no passages. To measure in tokens it reads the
//! asset `tokenizer.json`. The options are [`Config`]'s fields.

mod config;
mod cut;
mod measure;
mod passages;
mod place;
mod tokens;

use alluvium_plugin::{
    Assets, Batch, BytesBuilder, Failure, Field, Int32Builder, Kind, Output, Plan, Transform,
    field, find_field, parse_config,
};

pub use config::{Config, Offsets, Unit};
pub use measure::Measure;
pub use passages::passages;
use place::Places;

/// The transform.
#[derive(Debug)]
pub struct ChunkText {
    config: Config,
    measure: Measure,
}

alluvium_plugin::export!(ChunkText);

impl Transform for ChunkText {
    fn open(config: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String> {
        let config = parse_config::<Config>(config)?;
        config.validate()?;
        let text = find_field(schema, "text", Kind::Utf8)?;
        let nullable = config.keep_empty;
        let outputs = vec![
            field("chunk", Kind::Utf8, nullable, 0),
            field("index", Kind::Int32, nullable, 0),
            field("start", Kind::Int32, nullable, 0),
            field("end", Kind::Int32, nullable, 0),
        ];
        let plan = Plan {
            inputs: vec![text.clone()],
            outputs,
        };
        let measure = Measure::open(config.unit, assets)?;
        Ok((Self { config, measure }, plan))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let mut rows = Rows::new(self.config.keep_empty);
        let mut failures = Vec::new();
        for (row, text) in (0..).zip(batch.text(0)?.iter()) {
            let text = text.unwrap_or_default();
            let starts = match self.measure.starts(text) {
                Ok(starts) => starts,
                Err(message) => {
                    failures.push(Failure::new(row, &message));
                    continue;
                }
            };
            if text.is_empty() && self.config.keep_empty {
                rows.push_empty(row)?;
            }
            let mut places = Places::new(text, self.config.offsets);
            for (index, passage) in (0..).zip(passages(text, &starts, &self.config)) {
                let chunk = text.get(passage.clone()).unwrap_or_default();
                rows.push(row, chunk, index, places.next(passage))?;
            }
        }
        Ok(rows.finish().with_failures(failures))
    }
}

/// The rows that are made.
struct Rows {
    origin: Vec<u32>,
    chunk: BytesBuilder,
    index: Int32Builder,
    start: Int32Builder,
    end: Int32Builder,
}

impl Rows {
    fn new(nullable: bool) -> Self {
        let numbers = || Int32Builder::new(nullable);
        Self {
            origin: Vec::new(),
            chunk: BytesBuilder::new(nullable),
            index: numbers(),
            start: numbers(),
            end: numbers(),
        }
    }

    /// A row for a passage of the document in `row`.
    fn push(&mut self, row: u32, chunk: &str, index: i32, place: (i32, i32)) -> Result<(), String> {
        self.origin.push(row);
        self.index.push(Some(index));
        self.start.push(Some(place.0));
        self.end.push(Some(place.1));
        self.chunk.push(Some(chunk))
    }

    /// A row for the document in `row`, which has no passage.
    fn push_empty(&mut self, row: u32) -> Result<(), String> {
        self.origin.push(row);
        self.index.push(None);
        self.start.push(None);
        self.end.push(None);
        self.chunk.push(None::<&str>)
    }

    fn finish(self) -> Output {
        let columns = vec![
            self.chunk.finish(),
            self.index.finish(),
            self.start.finish(),
            self.end.finish(),
        ];
        Output::from_rows(self.origin, columns)
    }
}
