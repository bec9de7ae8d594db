//! Batches as a person or a program reads them: a table, JSON lines or CSV.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comfy_table::{ColumnConstraint, Width};

use crate::failure::{Failure, Outcome};
use crate::output::{Output, bare_table, brief, count, plain, rows, table};

/// How many rows a table's columns are measured by: it is written in parts of so many.
const PART: usize = 1000;

/// The longest text in a table's cell.
const CELL: usize = 60;

/// How many numbers of a vector a table's cell shows.
const NUMBERS: usize = 3;

/// What rows are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A table for people.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values.
    Csv,
}

/// Writes batches of one schema, one after the other.
pub(crate) struct Printer<'o> {
    form: Form,
    output: &'o mut Output,
    schema: SchemaRef,
    /// The table's rows that are not written yet.
    part: Vec<Vec<String>>,
    /// The widths of the table's columns, once its first part is written.
    widths: Option<Vec<u16>>,
    started: bool,
    rows: u64,
}

impl<'o> Printer<'o> {
    /// A printer that has written nothing yet.
    pub(crate) fn new(form: Form, schema: SchemaRef, output: &'o mut Output) -> Self {
        Self {
            form,
            output,
            schema,
            part: Vec::new(),
            widths: None,
            started: false,
            rows: 0,
        }
    }

    /// Writes a batch, or gathers it for the table's next part.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Outcome {
        let failed = |error: ArrowError| Failure::of("cannot show the rows", &error);
        self.rows += batch.num_rows() as u64;
        match self.form {
            Form::Table => {
                for row in cells(batch).map_err(failed)? {
                    self.part.push(row);
                    if self.part.len() >= PART {
                        self.write_part()?;
                    }
                }
            }
            Form::Json => {
                let batch = readable(batch, false).map_err(failed)?;
                let mut writer = WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, LineDelimited>(Vec::new());
                writer
                    .write(&batch)
                    .and_then(|()| writer.finish())
                    .map_err(failed)?;
                self.output.bytes(&writer.into_inner())?;
            }
            Form::Csv => self
                .write_csv(batch)
                .map_err(failed)
                .and_then(|text| self.output.bytes(&text))?,
        }
        Ok(())
    }

    /// Writes what is left; a table or CSV without rows still has its header.
    pub(crate) fn finish(mut self) -> Outcome {
        match self.form {
            Form::Table => {
                if !self.part.is_empty() || !self.started {
                    self.write_part()?;
                }
                self.output.line(rows(self.rows))?;
            }
            Form::Csv if !self.started => {
                self.write(&RecordBatch::new_empty(Arc::clone(&self.schema)))?
            }
            Form::Csv | Form::Json => {}
        }
        self.output.flush()
    }

    fn write_csv(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let batch = readable(batch, true)?;
        let mut text = Vec::new();
        let mut writer = arrow::csv::WriterBuilder::new()
            .with_header(!self.started)
            .build(&mut text);
        writer.write(&batch)?;
        drop(writer);
        self.started = true;
        Ok(text)
    }

    /// Writes the gathered rows. Only the first part has a header; the others' columns are as wide as
    /// its were, or wider where they must be.
    fn write_part(&mut self) -> Outcome {
        let first = self.widths.is_none();
        let mut part = if first {
            table(self.schema.fields().iter().map(|field| plain(field.name())))
        } else {
            bare_table()
        };
        part.add_rows(self.part.drain(..));
        match &self.widths {
            None => {
                let padding = 2;
                let widths = part.column_max_content_widths();
                self.widths = Some(widths.iter().map(|width| width + padding).collect());
            }
            Some(widths) => {
                for (column, width) in part.column_iter_mut().zip(widths) {
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width)));
                }
            }
        }
        self.started = true;
        self.output.line(part.trim_fmt())
    }
}

/// The rows of a batch as texts for a table: bytes are counted, vectors and long texts cut.
pub(crate) fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::new().with_null("").with_display_error(true);
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let bytes = binary(column)?;
        for (index, row) in rows.iter_mut().enumerate() {
            row.push(if column.is_null(index) {
                String::new()
            } else if let Some(bytes) = &bytes {
                format!(
                    "<{} bytes>",
                    count(bytes.as_binary::<i64>().value(index).len() as u64)
                )
            } else if let Some(list) = elements(column, index) {
                vector(&list, &options)?
            } else {
                brief(&formatter.value(index).to_string(), CELL)
            });
        }
    }
    Ok(rows)
}

/// The elements of a row that is a list.
fn elements(column: &ArrayRef, row: usize) -> Option<ArrayRef> {
    match column.data_type() {
        DataType::FixedSizeList(_, _) => Some(column.as_fixed_size_list().value(row)),
        DataType::List(_) => Some(column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value(row)),
        _ => None,
    }
}

/// The first elements of a list and how many there are: `[0.5, -1.0, 2.0, … 256]`.
fn vector(list: &ArrayRef, options: &FormatOptions<'_>) -> Result<String, ArrowError> {
    let formatter = ArrayFormatter::try_new(list, options)?;
    let shown: Vec<String> = (0..list.len().min(NUMBERS))
        .map(|index| brief(&formatter.value(index).to_string(), CELL))
        .collect();
    let rest = if list.len() > NUMBERS {
        format!(", … {}", list.len())
    } else {
        String::new()
    };
    Ok(format!("[{}{rest}]", shown.join(", ")))
}

/// A column of bytes of any Arrow type as one type.
fn binary(column: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    match column.data_type() {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => cast(column, &DataType::LargeBinary).map(Some),
        _ => Ok(None),
    }
}

/// A batch as text formats can hold it: bytes as base64 and, where `flat`, lists and records as
/// text too.
fn readable(batch: &RecordBatch, flat: bool) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::new().with_null("null");
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let text = if let Some(bytes) = binary(column)? {
            let bytes = bytes.as_binary::<i64>();
            Some(
                bytes
                    .iter()
                    .map(|b| b.map(|b| STANDARD.encode(b)))
                    .collect::<StringArray>(),
            )
        } else if flat && column.data_type().is_nested() {
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let texts = (0..column.len()).map(|index| {
                column
                    .is_valid(index)
                    .then(|| formatter.value(index).to_string())
            });
            Some(texts.collect())
        } else {
            None
        };
        match text {
            Some(text) => {
                fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
                columns.push(Arc::new(text));
            }
            None => {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, BinaryViewArray, FixedSizeListArray};
    use arrow::datatypes::Float32Type;

    use super::*;

    fn batch() -> RecordBatch {
        let numbers = [Some(vec![Some(1.0); 5]), None];
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(numbers, 5);
        RecordBatch::try_from_iter([
            (
                "b",
                Arc::new(BinaryArray::from_opt_vec(vec![Some(b"hi"), None])) as ArrayRef,
            ),
            (
                "w",
                Arc::new(BinaryViewArray::from_iter([Some(b"hi"), None])),
            ),
            ("v", Arc::new(vectors)),
            (
                "s",
                Arc::new(StringArray::from(vec![Some("a\x1b\n"), Some("")])),
            ),
        ])
        .unwrap()
    }

    #[test]
    fn a_table_counts_bytes_and_cuts_vectors() {
        assert_eq!(
            cells(&batch()).unwrap(),
            [
                [
                    "<2 bytes>",
                    "<2 bytes>",
                    "[1.0, 1.0, 1.0, … 5]",
                    "a\\u{1b}\\n"
                ],
                ["", "", "", ""]
            ]
        );
    }

    #[test]
    fn csv_and_json_hold_bytes_as_base64_and_csv_vectors_as_text() {
        let mut output = Output::new();
        let batch = batch();
        let mut printer = Printer::new(Form::Csv, batch.schema(), &mut output);
        let text = String::from_utf8(printer.write_csv(&batch).unwrap()).unwrap();
        assert!(
            text.starts_with("b,w,v,s\naGk=,aGk=,\"[1.0, 1.0, 1.0, 1.0, 1.0]\",\"a"),
            "{text}"
        );
        let text = String::from_utf8(printer.write_csv(&batch).unwrap()).unwrap();
        assert!(
            !text.contains("b,w,v,s"),
            "the header is written once: {text}"
        );
        assert_eq!(
            readable(&batch, false)
                .unwrap()
                .schema()
                .field(0)
                .data_type(),
            &DataType::Utf8
        );
    }
}
