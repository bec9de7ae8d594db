//! Whether a table's rows fit the columns that the lake already has.

use arrow_schema::{Field, Schema};

use super::layout::takes;
use crate::schemas::is_widening;

/// What keeps rows of `table` from being appended to a dataset of `lake`, one difference a line's worth; `None` if they fit.
/// Columns are matched by name. A lake may be wider, as long as what a row lacks may be null.
pub(super) fn difference(table: &Schema, lake: &Schema) -> Option<String> {
    let table = through_lance(table);
    let missing =
        table
            .fields()
            .iter()
            .filter_map(|field| match lake.field_with_name(field.name()) {
                Ok(there) => unlike(field, there),
                Err(_) => Some(format!(
                    "column {:?} ({}) is not in the lake",
                    field.name(),
                    field.data_type()
                )),
            });
    let needed = lake
        .fields()
        .iter()
        .filter(|field| !field.is_nullable() && table.field_with_name(field.name()).is_err());
    let needed = needed.map(|field| {
        format!(
            "the lake's column {:?} ({}) may not be null and is not in the table",
            field.name(),
            field.data_type()
        )
    });
    let all: Vec<String> = missing.chain(needed).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What tells a table's column from the lake's, if it matters.
pub(super) fn unlike(table: &Field, lake: &Field) -> Option<String> {
    let name = table.name();
    if !takes(lake, table.data_type()) {
        let hint = match is_widening(table.data_type(), lake.data_type()) {
            true => ": another table that shares it was altered; widen the column in this one too",
            false => "",
        };
        return Some(format!(
            "column {name:?} is {} in the table and {} in the lake{hint}",
            table.data_type(),
            lake.data_type()
        ));
    }
    (table.is_nullable() && !lake.is_nullable())
        .then(|| format!("column {name:?} may be null in the table and not in the lake"))
}

/// The schema as Lance gives it back: it names the items of lists its own way.
pub(super) fn through_lance(schema: &Schema) -> Schema {
    lance::datatypes::Schema::try_from(schema)
        .map_or_else(|_| schema.clone(), |lance| Schema::from(&lance))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::DataType;

    use super::*;

    fn schema(fields: &[(&str, DataType, bool)]) -> Schema {
        Schema::new(
            fields
                .iter()
                .map(|(name, kind, null)| Field::new(*name, kind.clone(), *null))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn every_difference_is_named() {
        let table = schema(&[
            ("a", DataType::Int64, false),
            ("b", DataType::Utf8, true),
            ("c", DataType::Utf8, true),
        ]);
        let lake = schema(&[
            ("a", DataType::Int32, false),
            ("b", DataType::Utf8, false),
            ("d", DataType::Utf8, false),
        ]);
        assert_eq!(
            difference(&table, &lake).unwrap(),
            "column \"a\" is Int64 in the table and Int32 in the lake; \
             column \"b\" may be null in the table and not in the lake; \
             column \"c\" (Utf8) is not in the lake; \
             the lake's column \"d\" (Utf8) may not be null and is not in the table"
        );
    }

    #[test]
    fn order_wider_lakes_and_the_names_of_list_items_do_not_matter() {
        let item = |name: &str, null| Arc::new(Field::new(name, DataType::Float32, null));
        let vector = DataType::FixedSizeList(item("element", false), 4);
        let table = schema(&[("v", vector, true), ("a", DataType::Int64, false)]);
        let stored = DataType::FixedSizeList(item("item", true), 4);
        let lake = schema(&[
            ("a", DataType::Int64, true),
            ("v", stored, true),
            ("new", DataType::Utf8, true),
        ]);
        assert_eq!(difference(&table, &lake), None);
    }
}
