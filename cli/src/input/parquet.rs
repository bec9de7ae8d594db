//! Parquet files.

use std::fs::File;
use std::path::Path;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::shape::{Meter, Shaped, Shaper};
use super::{InputError, Options, Reader};

/// Starts to read a Parquet file; only the columns that the table has are decoded.
pub(super) fn open(path: &Path, options: &Options) -> Result<Box<dyn Reader>, InputError> {
    let failed = |reason: &dyn std::fmt::Display| InputError::file(path, reason);
    let file = File::open(path).map_err(|error| failed(&error))?;
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&error))?;
    let shaper = Shaper::new(builder.schema(), &options.schema, options.ignore_unknown)
        .map_err(|reason| failed(&reason))?;

    let mask = ProjectionMask::roots(builder.parquet_schema(), shaper.places());
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    // A batch is decoded whole before it can be cut, so wide rows need a smaller one.
    let decoded: i64 = builder
        .metadata()
        .row_groups()
        .iter()
        .map(|group| group.total_byte_size())
        .sum();
    let row_bytes = usize::try_from(u64::try_from(decoded).unwrap_or(0) / rows.max(1))
        .unwrap_or(0)
        .max(1);
    let batch = options
        .limits
        .rows
        .min((options.limits.bytes / row_bytes).max(1));
    let reader = builder
        .with_projection(mask)
        .with_batch_size(batch)
        .build()
        .map_err(|error| failed(&error))?;

    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let shaper = Shaper::new(&schema, &options.schema, true).map_err(|reason| failed(&reason))?;
    let meter = Meter::PerRow(size as f64 / rows.max(1) as f64);
    Ok(Box::new(Shaped::new(
        path.display().to_string(),
        reader,
        shaper,
        options.limits,
        meter,
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Float64Array, Int64Array, LargeBinaryArray, ListArray, RecordBatch,
        StringViewArray, TimestampNanosecondArray,
    };
    use arrow::datatypes::Float32Type;
    use parquet::arrow::ArrowWriter;
    use serde_json::json;

    use super::super::testing::{options, read};

    fn write(dir: &tempfile::TempDir, columns: Vec<(&str, ArrayRef)>) -> std::path::PathBuf {
        let path = dir.path().join("rows.parquet");
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    #[test]
    fn columns_are_matched_by_name_and_cast_safely() {
        let dir = tempfile::tempdir().unwrap();
        let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(1.0), Some(2.0)]),
            None,
        ]);
        let path = write(
            &dir,
            vec![
                ("v", Arc::new(vectors)),
                (
                    "t",
                    Arc::new(TimestampNanosecondArray::from(vec![1_500, 0])),
                ),
                (
                    "b",
                    Arc::new(LargeBinaryArray::from_vec(vec![b"\x01", b"\x02"])),
                ),
                ("s", Arc::new(StringViewArray::from(vec![Some("a"), None]))),
                ("n", Arc::new(Int64Array::from(vec![1, 2]))),
                ("f", Arc::new(Float64Array::from(vec![3.0, 4.0]))),
            ],
        );
        let options = options(&[
            "n:int32",
            "s:utf8?",
            "b:binary",
            "t:timestamp",
            "v:vector[2]?",
            "f:int64",
            "gone:bool?",
        ]);
        let (rows, error) = read(&path, &options);
        assert_eq!(error, None);
        assert_eq!(
            rows,
            [
                json!({"n": 1, "s": "a", "b": "01", "t": "1970-01-01T00:00:00.000001Z", "v": [1.0, 2.0], "f": 3, "gone": null}),
                json!({"n": 2, "s": null, "b": "02", "t": "1970-01-01T00:00:00Z", "v": null, "f": 4, "gone": null}),
            ]
        );
    }

    #[test]
    fn a_value_out_of_range_is_named_by_its_row_and_those_before_are_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let mut numbers: Vec<i64> = (0..100).collect();
        numbers[70] = 1 << 40;
        let path = write(&dir, vec![("n", Arc::new(Int64Array::from(numbers)))]);
        let (rows, error) = read(&path, &options(&["n:int32"]));
        let error = error.unwrap();
        assert_eq!(rows.len(), 70, "{error}");
        assert!(
            error.contains("rows.parquet, row 71: column \"n\"") && error.contains("1099511627776"),
            "{error}"
        );
    }

    #[test]
    fn nulls_where_the_table_has_none_and_fractions_in_integers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(
            &dir,
            vec![("n", Arc::new(Int64Array::from(vec![Some(1), None])))],
        );
        let (rows, error) = read(&path, &options(&["n:int64"]));
        assert_eq!(rows.len(), 1);
        assert!(error.unwrap().contains("row 2: column \"n\" is null"));
        let path = write(
            &dir,
            vec![("n", Arc::new(Float64Array::from(vec![1.0, 1.5])))],
        );
        let (rows, error) = read(&path, &options(&["n:int64"]));
        assert_eq!(rows.len(), 1);
        assert!(
            error
                .unwrap()
                .contains("row 2: column \"n\": 1.5 is not whole")
        );
        let path = write(
            &dir,
            vec![("n", Arc::new(Float64Array::from(vec![1.0, 1e300])))],
        );
        let (_, error) = read(&path, &options(&["n:float32"]));
        assert!(error.unwrap().contains("out of range"));
    }

    #[test]
    fn a_type_that_cannot_fit_and_an_unknown_column_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(
            &dir,
            vec![("n", Arc::new(StringViewArray::from(vec!["1"])))],
        );
        let (_, error) = read(&path, &options(&["n:int64"]));
        assert!(error.unwrap().contains("cannot become int64"));
        let (_, error) = read(&path, &options(&["m:int64?"]));
        assert!(error.unwrap().contains("no column \"n\""));
        let mut options = options(&["m:int64?"]);
        options.ignore_unknown = true;
        assert_eq!(read(&path, &options), (vec![json!({"m": null})], None));
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.parquet");
        std::fs::write(&path, "PAR1 no").unwrap();
        assert!(
            read(&path, &options(&["n:int64"]))
                .1
                .unwrap()
                .contains("rows.parquet")
        );
    }
}
