//! The test harness: what a plugin's author relies on.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use alluvium_plugin::testing::{Files, Records, Rows, open, run, values};
use alluvium_plugin::{
    Assets, Batch, Column, Failure, Field, Kind, Output, Plan, RecordTransform, Timestamp,
    Transform, Value, field,
};

/// Gives back what it gets, in both worlds.
struct Identity;

fn identity(schema: &[Field]) -> Plan {
    Plan {
        inputs: schema.to_vec(),
        outputs: schema.to_vec(),
    }
}

impl Transform for Identity {
    fn open(_: &str, schema: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        Ok((Self, identity(schema)))
    }

    fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
        let columns = (0..).map_while(|index| batch.column(index).ok().cloned());
        Ok(Output::one_to_one(batch, columns.collect()))
    }
}

impl RecordTransform for Identity {
    fn open(_: &str, schema: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        Ok((Self, identity(schema)))
    }

    fn apply(&mut self, record: Vec<Value>) -> Result<Vec<Vec<Value>>, String> {
        Ok(vec![record])
    }
}

#[test]
fn every_kind_survives_both_worlds_with_its_nulls() {
    let rows = Rows::new()
        .column("boolean", [Some(true), None, Some(false)])
        .column("int32", [Some(1), None, Some(-1)])
        .column("int64", [Some(1i64), None, Some(i64::MIN)])
        .column("float32", [Some(1.5f32), None, Some(-0.5)])
        .column("float64", [Some(1.5), None, Some(-0.5)])
        .column("utf8", [Some("深"), None, Some("")])
        .column("binary", [Some(vec![0u8, 255]), None, Some(vec![])])
        .column(
            "vector",
            [Some(vec![1f32, 2.0]), None, Some(vec![3.0, 4.0])],
        )
        .column("timestamp", [Some(Timestamp(7)), None, Some(Timestamp(-7))])
        .column("id", [1, 2, 3]);
    let batch = run::<Identity>("{}", &rows).unwrap();
    for (name, sent) in [
        ("boolean", values([Some(true), None, Some(false)])),
        ("int32", values([Some(1), None, Some(-1)])),
        ("int64", values([Some(1i64), None, Some(i64::MIN)])),
        ("float32", values([Some(1.5f32), None, Some(-0.5)])),
        ("float64", values([Some(1.5), None, Some(-0.5)])),
        ("utf8", values([Some("深"), None, Some("")])),
        ("binary", values([Some(vec![0u8, 255]), None, Some(vec![])])),
        (
            "vector",
            values([Some(vec![1f32, 2.0]), None, Some(vec![3.0, 4.0])]),
        ),
        (
            "timestamp",
            values([Some(Timestamp(7)), None, Some(Timestamp(-7))]),
        ),
        ("id", values([1, 2, 3])),
    ] {
        assert_eq!(batch.column(name).unwrap(), sent, "{name}");
    }
    assert_eq!(run::<Records<Identity>>("{}", &rows).unwrap(), batch);
    assert!(rows.schema()[0].nullable && !rows.schema()[9].nullable);
    assert_eq!(
        (rows.schema()[7].kind, rows.schema()[7].dim),
        (Kind::Vector, 2)
    );
}

#[test]
fn a_batch_without_rows_is_one() {
    let rows = Rows::new().column("text", [None::<&str>; 0]);
    assert!(run::<Identity>("{}", &rows).unwrap().origin.is_empty());
    let records = run::<Records<Identity>>("{}", &rows).unwrap();
    assert!(records.origin.is_empty());
}

/// Returns, whatever it is given, what its configuration names.
struct Says(Output);

/// Two rows of that column.
fn two(column: Column) -> Output {
    Output {
        rows: 2,
        origin: None,
        columns: vec![column],
        failures: vec![],
    }
}

fn flat(offsets: &[u32], data: &[u8]) -> Column {
    Column {
        validity: None,
        offsets: offsets.to_vec(),
        data: data.to_vec(),
    }
}

impl Transform for Says {
    fn open(config: &str, _: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
        let booleans = || flat(&[], &[0b11]);
        let failed = |row| vec![Failure::new(row, "bad")];
        let (kind, output) = match config {
            "too few rows" => (
                Kind::Boolean,
                Output {
                    rows: 1,
                    ..two(booleans())
                },
            ),
            "no column" => (
                Kind::Boolean,
                Output {
                    columns: vec![],
                    ..two(booleans())
                },
            ),
            "short" => (Kind::Int32, two(flat(&[], &[0; 4]))),
            "null" => {
                let validity = Some(vec![0b01]);
                (
                    Kind::Boolean,
                    two(Column {
                        validity,
                        ..booleans()
                    }),
                )
            }
            "offsets of numbers" => (Kind::Int32, two(flat(&[0, 4, 8], &[0; 8]))),
            "offsets decrease" => (Kind::Utf8, two(flat(&[0, 1, 0], b"a"))),
            "offsets outside" => (Kind::Binary, two(flat(&[0, 1, 2], b"a"))),
            "no text" => (Kind::Utf8, two(flat(&[0, 1, 1], b"\xff"))),
            "vector" => (Kind::Vector, two(flat(&[], &[0; 8]))),
            "origin decreases" => (
                Kind::Boolean,
                Output::from_rows(vec![1, 0], vec![booleans()]),
            ),
            "origin outside" => (
                Kind::Boolean,
                Output::from_rows(vec![0, 2], vec![booleans()]),
            ),
            "failed and made" => {
                let output = Output::from_rows(vec![0, 1], vec![booleans()]);
                (Kind::Boolean, output.with_failures(failed(1)))
            }
            "failure outside" => (Kind::Boolean, two(booleans()).with_failures(failed(2))),
            "failure" => (Kind::Boolean, two(booleans()).with_failures(failed(0))),
            other => return Err(format!("there is no {other}")),
        };
        let dim = if kind == Kind::Vector { 3 } else { 0 };
        let plan = Plan {
            inputs: vec![],
            outputs: vec![field("out", kind, false, dim)],
        };
        Ok((Self(output), plan))
    }

    fn apply(&mut self, _: &Batch) -> Result<Output, String> {
        Ok(self.0.clone())
    }
}

#[test]
fn what_the_host_would_refuse_is_refused() {
    let rows = Rows::new().column("id", [1, 2]);
    for (config, reason) in [
        ("too few rows", "1 rows for 2 without an origin"),
        ("no column", "0 columns, where its plan has 1"),
        ("short", "output `out` has 4 bytes of data"),
        ("null", "output `out` has nulls"),
        ("offsets of numbers", "output `out` has offsets"),
        ("offsets decrease", "offsets that decrease"),
        ("offsets outside", "offsets that decrease, or do not lie"),
        ("no text", "not UTF-8"),
        ("vector", "2 vectors of 3 want 24"),
        ("origin decreases", "an origin that decreases"),
        ("origin outside", "an origin of row 2"),
        ("failed and made", "row 1 both as failed and in its origin"),
        ("failure outside", "row 2 failed, of a batch of 2 rows"),
    ] {
        let refusal = run::<Says>(config, &rows).unwrap_err();
        assert!(refusal.contains(reason), "{config}: {refusal}");
    }
}

#[test]
fn a_failed_row_is_left_out_of_what_was_made() {
    let rows = Rows::new().column("id", [1, 2]);
    let made = run::<Says>("failure", &rows).unwrap();
    assert_eq!(made.origin, [1]);
    assert_eq!(made.failures, [(0, "bad".to_owned())]);
    assert_eq!(made.column("out").unwrap(), values([true]));
    assert!(made.column("gone").unwrap_err().contains("there are: out"));
}

/// Takes a record apart into its words; fails on none, and answers `wrong` with the wrong kind.
struct Words(bool);

impl RecordTransform for Words {
    fn open(_: &str, schema: &[Field], assets: &dyn Assets) -> Result<(Self, Plan), String> {
        let plan = Plan {
            inputs: schema.to_vec(),
            outputs: vec![field("word", Kind::Utf8, false, 0)],
        };
        Ok((Self(assets.asset("first")?.is_empty()), plan))
    }

    fn apply(&mut self, record: Vec<Value>) -> Result<Vec<Vec<Value>>, String> {
        match record[0].as_str().ok_or("no text")? {
            "wrong" => Ok(vec![vec![self.0.into()]]),
            text => Ok(text.split(' ').map(|word| vec![word.into()]).collect()),
        }
    }
}

#[test]
fn records_become_many_or_fail_alone() {
    let rows = Rows::new().column("text", [Some("a b"), None, Some("wrong"), Some("c")]);
    let files = Files::default().with("first", "a");
    let mut words = open::<Records<Words>>("{}", rows.schema(), &files).unwrap();
    let made = words.apply(&rows).unwrap();
    assert_eq!(made.origin, [0, 0, 3]);
    assert_eq!(made.column("word").unwrap(), values(["a", "b", "c"]));
    let failed: Vec<_> = made.failures.iter().map(|(row, _)| *row).collect();
    assert_eq!(failed, [1, 2]);
    assert!(made.failures[1].1.contains("Boolean(false)"));
}

#[test]
fn an_asset_that_is_missing_is_answered_with_those_that_there_are() {
    let files = Files::default().with("x", "");
    let rows = Rows::new().column("text", [""]);
    let refusal = open::<Records<Words>>("{}", rows.schema(), &files).err();
    let refusal = refusal.unwrap();
    assert_eq!(refusal, "asset \"first\" was not granted; there are: x");
}
