//! Whatever is altered, appended, tiered and reopened in whatever order: the lake is what a model says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium::{Alteration, Store, StoreOptions, Table, TableOptions};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use tempfile::TempDir;

/// Types in the order in which they can be widened.
const TYPES: [&[DataType]; 4] = [
    &[
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
    ],
    &[
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ],
    &[DataType::Float32, DataType::Float64],
    &[DataType::Utf8, DataType::LargeUtf8],
];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    /// Adds one of the columns that are not there.
    Add(usize),
    Widen(usize),
    Drop(usize),
    /// Rows of one of the schemas that there have been.
    Append {
        schema: usize,
        rows: usize,
    },
    Flush,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<usize>().prop_map(Step::Add),
        1 => any::<usize>().prop_map(Step::Widen),
        2 => any::<usize>().prop_map(Step::Drop),
        6 => (any::<usize>(), 1usize..5).prop_map(|(schema, rows)| Step::Append { schema, rows }),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 5..30)
}

/// A column: one that is dropped and added again is another, and one that is widened the same.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    name: usize,
    width: usize,
    identity: usize,
}

impl Column {
    fn data_type(&self) -> &DataType {
        &TYPES[self.name][self.width]
    }

    fn field(&self) -> Field {
        Field::new(NAMES[self.name], self.data_type().clone(), true)
    }

    fn looks_like(&self, other: &Self) -> bool {
        (self.name, self.width) == (other.name, other.width)
    }
}

/// What a table should be.
#[derive(Debug)]
struct Model {
    /// The newest last.
    schemas: Vec<Vec<Column>>,
    /// Of each row the values by the identity of their columns.
    rows: Vec<BTreeMap<usize, i64>>,
    identities: usize,
}

impl Model {
    fn new() -> Self {
        Self {
            schemas: vec![vec![Column {
                name: 0,
                width: 0,
                identity: 0,
            }]],
            rows: Vec::new(),
            identities: 1,
        }
    }

    fn newest(&self) -> &[Column] {
        self.schemas.last().unwrap()
    }

    /// What a step alters; nothing when it cannot be done now.
    fn alter(&mut self, step: &Step) -> Option<Alteration> {
        let mut columns = self.newest().to_vec();
        let count = columns.len();
        let alteration = match step {
            Step::Add(index) => {
                let missing =
                    (0..NAMES.len()).filter(|name| columns.iter().all(|c| c.name != *name));
                let missing: Vec<_> = missing.collect();
                let name = *missing.get(index % missing.len().max(1))?;
                // A column that is added again must have the only type that it ever had.
                let earlier = self.schemas.iter().flatten().filter(|c| c.name == name);
                let widths: BTreeSet<_> = earlier.map(|column| column.width).collect();
                if widths.len() > 1 {
                    return None;
                }
                let width = widths.first().copied().unwrap_or(0);
                columns.push(Column {
                    name,
                    width,
                    identity: self.identities,
                });
                self.identities += 1;
                Alteration::Add(columns[count].field())
            }
            Step::Widen(index) => {
                let column = &mut columns[index % count];
                column.width += 1;
                TYPES[column.name].get(column.width)?;
                Alteration::Widen {
                    column: NAMES[column.name].to_owned(),
                    to: column.data_type().clone(),
                }
            }
            Step::Drop(index) if count > 1 => {
                Alteration::Drop(NAMES[columns.remove(index % count).name].to_owned())
            }
            _ => return None,
        };
        self.schemas.push(columns);
        Some(alteration)
    }

    /// A batch of one of the schemas, which counts as one of the newest that looks like it.
    fn append(&mut self, schema: usize, rows: usize) -> RecordBatch {
        let columns = &self.schemas[schema % self.schemas.len()];
        let fields: Vec<Field> = columns.iter().map(Column::field).collect();
        let looks_like = |other: &&Vec<Column>| {
            other.len() == columns.len() && other.iter().zip(columns).all(|(a, b)| a.looks_like(b))
        };
        let meant = self.schemas.iter().rev().find(looks_like).unwrap();
        let first = self.rows.len() as i64;
        let values = first..first + rows as i64;
        let arrays = (0..columns.len()).map(|place| -> ArrayRef {
            // Small enough for the narrowest type.
            let values = values.clone().map(|value| (value + place as i64) % 100);
            cast(
                &Int64Array::from_iter_values(values),
                columns[place].data_type(),
            )
            .unwrap()
        });
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays.collect()).unwrap();
        for value in values {
            let row = meant.iter().enumerate();
            let row = row.map(|(place, column)| (column.identity, (value + place as i64) % 100));
            self.rows.push(row.collect());
        }
        batch
    }
}

fn open(directory: &TempDir) -> Store {
    let options = StoreOptions::new().tiering(false);
    options.open(directory.path().join("s")).unwrap()
}

/// A column's values, whatever its type is.
fn values(batches: impl Iterator<Item = RecordBatch>, column: &Column) -> Vec<Option<i64>> {
    let of = |batch: RecordBatch| {
        let array = &batch[NAMES[column.name]];
        assert_eq!(array.data_type(), column.data_type());
        let numbers = cast(array, &DataType::Int64).unwrap();
        numbers
            .as_primitive::<arrow_array::types::Int64Type>()
            .iter()
            .collect::<Vec<_>>()
    };
    batches.flat_map(of).collect()
}

fn check(model: &Model, store: &Store, table: &Table) {
    for column in model.newest() {
        let rows = model.rows.iter();
        let expected: Vec<_> = rows.map(|row| row.get(&column.identity).copied()).collect();
        let sql = format!("SELECT {} FROM t ORDER BY __offset", NAMES[column.name]);
        let lake = store.query(&sql).unwrap().map(Result::unwrap);
        assert_eq!(values(lake, column), expected, "{column:?}");
    }
    assert_eq!(table.lake_schema().fields().len(), model.newest().len() + 3);
    assert_eq!(table.verify().unwrap().problems, Vec::<String>::new());
}

/// What of the rows is still in the log.
fn check_log(model: &Model, table: &Table) {
    let first = table.read_log(0).next().is_some_and(|rows| rows.is_ok());
    if !first {
        return;
    }
    for column in model.newest() {
        let rows = model.rows.iter();
        let expected: Vec<_> = rows.map(|row| row.get(&column.identity).copied()).collect();
        let logged = table.read_log(0).map(|rows| rows.unwrap().batch);
        assert_eq!(values(logged, column), expected, "{column:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_lake_and_the_log_are_what_a_model_says(steps in steps()) {
        let directory = TempDir::new().unwrap();
        let mut model = Model::new();
        let mut store = open(&directory);
        let schema = Schema::new(vec![model.newest()[0].field()]);
        let mut table = store.create_table("t", TableOptions::new(Arc::new(schema))).unwrap();
        for step in &steps {
            match step {
                Step::Append { schema, rows } => {
                    let _ = table.append(&model.append(*schema, *rows)).unwrap();
                }
                Step::Flush => {
                    table.flush_to_lake().unwrap();
                    check(&model, &store, &table);
                }
                Step::Restart => {
                    drop(table);
                    store.close().unwrap();
                    store = open(&directory);
                    table = store.table("t").unwrap();
                }
                step => {
                    if let Some(alteration) = model.alter(step) {
                        table.alter(&[alteration]).unwrap();
                        check_log(&model, &table);
                    }
                }
            }
        }
        table.flush_to_lake().unwrap();
        check(&model, &store, &table);
    }
}
