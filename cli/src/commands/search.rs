//! `alluvium search`.

use alluvium::Nearest;
use arrow::array::RecordBatch;

use super::open_to_read;
use crate::args::Place;
use crate::batches::{Form, Printer};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// The column that tells how far a row is.
const DISTANCE: &str = "_distance";

/// Find the rows whose vectors are nearest to a text or a vector
///
/// A text is embedded by the transform that made the column, so that it is compared with the rows as
/// they were. The search is exact, over the rows that are settled in the lake; _distance is the
/// cosine distance, from 0 (the same direction) to 2.
///
/// It works beside a process that writes to the store.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// The text to look for
    #[arg(required_unless_present = "vector", conflicts_with = "vector")]
    text: Option<String>,
    /// The column of vectors to look in
    #[arg(long)]
    column: String,
    /// A vector to look for instead of a text, as '[0.5, -1, 2]'
    #[arg(long, value_name = "NUMBERS", value_parser = parse_vector, allow_hyphen_values = true)]
    vector: Option<Vector>,
    /// How many rows to find
    #[arg(short, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    k: u32,
    /// The columns to show, separated by commas; all of them when left out
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    show: Vec<String>,
    /// Print one JSON object a row, a line each
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  alluvium search ./store photos \"a cat\" --column embedding --show path,caption -k 3";

/// The numbers of a vector; a type of its own, as clap takes a `Vec` for repeated arguments.
#[derive(Clone, Debug, PartialEq)]
struct Vector(Vec<f32>);

/// Reads a JSON array of numbers.
fn parse_vector(text: &str) -> Result<Vector, String> {
    serde_json::from_str(text)
        .map(Vector)
        .map_err(|_| "write an array of numbers, as [0.5, -1, 2]".to_owned())
}

impl Args {
    /// Finds the rows and prints them, nearest first.
    pub(crate) fn run(self) -> Outcome {
        let to = match (self.vector, self.text) {
            (Some(Vector(numbers)), _) => Nearest::Vector(numbers),
            (None, text) => Nearest::Text(text.unwrap_or_default()),
        };
        let store = open_to_read(&self.place.store)?;
        let table = store.table(&self.place.table)?;
        let k = usize::try_from(self.k).unwrap_or(usize::MAX);
        let found = select(&table.nearest(&self.column, &to, k)?, &self.show)?;
        let form = if self.json { Form::Json } else { Form::Table };
        let mut output = Output::new();
        let mut printer = Printer::new(form, found.schema(), &mut output);
        printer.write(&found)?;
        printer.finish()
    }
}

/// The distance and the columns to show, in the order in which they were named.
fn select(found: &RecordBatch, show: &[String]) -> Outcome<RecordBatch> {
    let schema = found.schema();
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let shown: Vec<&str> = match show {
        [] => names().filter(|name| *name != DISTANCE).collect(),
        show => show.iter().map(String::as_str).collect(),
    };
    // Without a lake yet there are no rows, and no distances either.
    let distance = names().find(|name| *name == DISTANCE);
    let mut order = Vec::new();
    for name in distance.into_iter().chain(shown) {
        let place = schema.index_of(name).map_err(|_| {
            let known = names().collect::<Vec<_>>().join(", ");
            Failure::new(format!(
                "there is no column {name:?} to show; the lake has {known}"
            ))
        })?;
        order.push(place);
    }
    found
        .project(&order)
        .map_err(|error| Failure::of("cannot show the rows", &error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float32Array, StringArray};

    use super::*;

    #[test]
    fn the_distance_comes_first_and_unknown_columns_are_refused() {
        let text = || Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
        let distance = Arc::new(Float32Array::from(vec![0.5])) as ArrayRef;
        let found =
            RecordBatch::try_from_iter([("a", text()), ("b", text()), (DISTANCE, distance)])
                .unwrap();
        let names = |show: &[&str]| -> Vec<String> {
            let show: Vec<String> = show.iter().map(ToString::to_string).collect();
            let shown = select(&found, &show).unwrap();
            shown
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect()
        };
        assert_eq!(names(&[]), ["_distance", "a", "b"]);
        assert_eq!(names(&["b"]), ["_distance", "b"]);
        assert!(select(&found, &["c".to_owned()]).is_err());
    }

    #[test]
    fn a_vector_is_an_array_of_numbers() {
        assert_eq!(parse_vector("[1, -0.5]"), Ok(Vector(vec![1.0, -0.5])));
        assert!(parse_vector("1, 2").is_err());
    }
}
