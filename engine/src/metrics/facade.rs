//! What a log tells the recorder of the `metrics` facade that the program installed, if any.

use ::metrics::{
    Counter, Gauge, Histogram, Label, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

/// Handles of the recorder's metrics. Without a recorder each call of one is a branch not taken.
pub(super) struct Facade {
    pub(super) appended_rows: Counter,
    pub(super) appended_bytes: Counter,
    pub(super) append: Histogram,
    pub(super) duplicates: Counter,
    pub(super) fsync: Histogram,
    pub(super) segments_created: Counter,
    pub(super) segments_recycled: Counter,
    pub(super) segments_removed: Counter,
    pub(super) space_wait: Histogram,
    pub(super) space_refusals: Counter,
    pub(super) backlog: Gauge,
}

/// Takes handles of metrics that have the same labels. They are described each time, as nobody knows whether an earlier one
/// found this recorder.
pub(crate) struct Handles {
    labels: Vec<Label>,
}

impl Handles {
    pub(crate) fn new(labels: Vec<Label>) -> Self {
        Self { labels }
    }

    pub(crate) fn count(
        &self,
        name: &'static str,
        unit: Unit,
        description: &'static str,
    ) -> Counter {
        describe_counter!(name, unit, description);
        counter!(name, self.labels.clone())
    }

    pub(crate) fn time(&self, name: &'static str, description: &'static str) -> Histogram {
        describe_histogram!(name, Unit::Seconds, description);
        histogram!(name, self.labels.clone())
    }

    pub(crate) fn level(&self, name: &'static str, unit: Unit, description: &'static str) -> Gauge {
        describe_gauge!(name, unit, description);
        gauge!(name, self.labels.clone())
    }
}

impl Facade {
    pub(super) fn new(table: &str, log: &'static str) -> Self {
        let of = Handles::new(vec![
            Label::new("table", table.to_owned()),
            Label::from_static_parts("log", log),
        ]);
        Self {
            appended_rows: of.count(
                "alluvium_appended_rows_total",
                Unit::Count,
                "Rows that were appended",
            ),
            appended_bytes: of.count(
                "alluvium_appended_bytes_total",
                Unit::Bytes,
                "Bytes of the frames that were appended",
            ),
            append: of.time("alluvium_append_seconds", "How long an append took"),
            duplicates: of.count(
                "alluvium_duplicate_appends_total",
                Unit::Count,
                "Idempotent appends whose rows were there already",
            ),
            fsync: of.time("alluvium_fsync_seconds", "How long an fdatasync took"),
            segments_created: of.count(
                "alluvium_segments_created_total",
                Unit::Count,
                "Segment files that were created",
            ),
            segments_recycled: of.count(
                "alluvium_segments_recycled_total",
                Unit::Count,
                "Segment files that were used again for new rows",
            ),
            segments_removed: of.count(
                "alluvium_segments_removed_total",
                Unit::Count,
                "Segment files that were removed",
            ),
            space_wait: of.time(
                "alluvium_space_wait_seconds",
                "How long an append waited until the log had space",
            ),
            space_refusals: of.count(
                "alluvium_space_refusals_total",
                Unit::Count,
                "Appends that were refused because the log had no space",
            ),
            backlog: of.level(
                "alluvium_backlog_bytes",
                Unit::Bytes,
                "Bytes of frames that are not tiered yet",
            ),
        }
    }
}
