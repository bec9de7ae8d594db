//! Which transforms made the rows of a table's lake, by offset: `made.json` beside the table's file.
//!
//! A span begins where the transforms became others, and is noted before the first round of them is committed: what is not
//! committed then is noted anew. A backfill changes the spans of what it has computed again. Dead letters that were retried
//! count to the span that their offset is in, though newer transforms may have made them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalog::{PinnedTransform, read_json, replace_file};
use crate::error::{Error, Result};

const FILE_NAME: &str = "made.json";

/// What made a row's columns, by the transform's name.
pub(crate) type Makers = BTreeMap<String, Maker>;

/// A transform as it was when it made rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Maker {
    pub(crate) plugin: String,
    pub(crate) version: Option<String>,
    pub(crate) sha256: String,
    /// SHA-256 of all that decides what it makes: its plugin, wiring, configuration and assets, and those before it.
    recipe: String,
}

/// The transforms of a table as makers.
pub(crate) fn makers_of(transforms: &[PinnedTransform]) -> Makers {
    let mut recipe = Sha256::new();
    let makers = transforms.iter().map(|pinned| {
        let spec = &pinned.spec;
        let decides = serde_json::json!([
            pinned.plugin_sha256,
            pinned.assets_sha256,
            spec.inputs,
            spec.outputs,
            spec.config,
        ]);
        recipe.update(decides.to_string());
        let digest = recipe.clone().finalize();
        let maker = Maker {
            plugin: spec.plugin.clone(),
            version: pinned.plugin_version.clone(),
            sha256: pinned.plugin_sha256.clone(),
            recipe: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        (spec.name.clone(), maker)
    });
    makers.collect()
}

/// Offsets from one on, to the next span's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    from: u64,
    /// Empty where it is not known, or there were none.
    makers: Makers,
}

/// The spans of a table, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    spans: Vec<Span>,
}

impl History {
    /// Notes that rows from an offset on are made by these.
    pub(crate) fn note(&mut self, from: u64, makers: &Makers) {
        self.spans.retain(|span| span.from < from);
        let last = self.spans.last();
        if last.map_or(!makers.is_empty(), |span| span.makers != *makers) {
            let makers = makers.clone();
            self.spans.push(Span { from, makers });
        }
    }

    /// Who made the rows below an offset, by ranges that cover all of them.
    pub(crate) fn ranges(&self, until: u64) -> Vec<(Range<u64>, Makers)> {
        let unknown = Span {
            from: 0,
            makers: Makers::new(),
        };
        let all: Vec<&Span> = std::iter::once(&unknown).chain(&self.spans).collect();
        let ends = all.iter().skip(1).map(|span| span.from).chain([u64::MAX]);
        let ranges = all.iter().zip(ends).map(|(span, end)| {
            let range = span.from.min(until)..end.min(until);
            (range, span.makers.clone())
        });
        ranges.filter(|(range, _)| !range.is_empty()).collect()
    }

    /// The ranges below an offset whose rows another maker of that name made.
    pub(crate) fn stale(&self, until: u64, name: &str, maker: &Maker) -> Vec<Range<u64>> {
        let ranges = self.ranges(until).into_iter();
        let stale = ranges.filter(|(_, makers)| {
            let made_by = makers.get(name);
            made_by.is_none_or(|made_by| made_by.recipe != maker.recipe)
        });
        stale.map(|(range, _)| range).collect()
    }

    /// Notes that a transform made the rows of a range anew.
    pub(crate) fn replace(&mut self, range: &Range<u64>, name: &str, maker: &Maker) {
        self.split_at(range.start);
        self.split_at(range.end);
        for span in &mut self.spans {
            if range.contains(&span.from) {
                span.makers.insert(name.to_owned(), maker.clone());
            }
        }
        self.spans.dedup_by(|next, span| next.makers == span.makers);
    }

    fn split_at(&mut self, offset: u64) {
        let after = self.spans.partition_point(|span| span.from <= offset);
        let before = after.checked_sub(1).and_then(|index| self.spans.get(index));
        if before.is_some_and(|span| span.from == offset) {
            return;
        }
        let makers = before.map_or_else(Makers::new, |span| span.makers.clone());
        let span = Span {
            from: offset,
            makers,
        };
        self.spans.insert(after, span);
    }
}

/// A table's history and its file.
#[derive(Debug)]
pub(crate) struct HistoryFile {
    path: PathBuf,
    known: Mutex<Option<History>>,
}

impl HistoryFile {
    /// That of a table's directory; nothing is read yet.
    pub(crate) fn new(directory: &std::path::Path) -> Self {
        Self {
            path: directory.join(FILE_NAME),
            known: Mutex::new(None),
        }
    }

    /// The history as it is; empty when nothing was noted.
    pub(crate) fn read(&self) -> Result<History> {
        Ok(read_json(&self.path)?.unwrap_or_default())
    }

    /// Changes the history; it survives power loss once this returned.
    pub(crate) fn change(&self, change: impl FnOnce(&mut History)) -> Result<()> {
        let mut known = self.known.lock();
        let before = match known.take() {
            Some(history) => history,
            None => self.read()?,
        };
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            let text = serde_json::to_vec_pretty(&after)
                .map_err(|e| Error::invalid(self.path.display().to_string(), e.to_string()))?;
            replace_file(&self.path, &text)?;
        }
        *known = Some(after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn makers(recipe: &str) -> Makers {
        let maker = Maker {
            plugin: "p".into(),
            version: None,
            sha256: "00".into(),
            recipe: recipe.into(),
        };
        Makers::from([("t".into(), maker)])
    }

    fn stale(history: &History, until: u64, recipe: &str) -> Vec<(u64, u64)> {
        let stale = history.stale(until, "t", &makers(recipe)["t"]).into_iter();
        stale.map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn rows_belong_to_the_transforms_that_were_noted_last_before_them() {
        let mut history = History::default();
        history.note(0, &makers("a"));
        history.note(10, &makers("a"));
        history.note(20, &makers("b"));
        // A round of 20 was not committed, and the transforms were replaced.
        history.note(20, &makers("c"));
        history.note(30, &makers("c"));
        assert_eq!(stale(&history, 40, "c"), [(0, 20)]);
        assert_eq!(stale(&history, 40, "a"), [(20, 40)]);
        assert_eq!(stale(&history, 15, "a"), []);
    }

    #[test]
    fn rows_of_before_anything_was_noted_are_of_nobody() {
        let mut history = History::default();
        history.note(0, &Makers::new());
        assert_eq!(history, History::default());
        history.note(50, &makers("a"));
        assert_eq!(stale(&history, 60, "a"), [(0, 50)]);
        assert_eq!(history.ranges(60)[0], (0..50, Makers::new()));
    }

    #[test]
    fn a_range_that_was_made_anew_joins_its_neighbours_of_the_same_maker() {
        let mut history = History::default();
        history.note(0, &makers("a"));
        history.note(30, &makers("b"));
        history.replace(&(10..20), "t", &makers("b")["t"]);
        assert_eq!(stale(&history, 40, "b"), [(0, 10), (20, 30)]);
        history.replace(&(0..30), "t", &makers("b")["t"]);
        assert_eq!(history.ranges(40), [(0..40, makers("b"))]);
    }
}
