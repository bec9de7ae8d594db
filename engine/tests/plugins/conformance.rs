//! What `plugins/conformance/README.md` asks of a guest in every language and world.

use std::io::Write;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use serde_json::{Value, json};

use super::guest::{Guest, batch};

/// A module of tests for each guest; its components are built as `<name>.wasm`.
macro_rules! conforms {
    ($($module:ident $name:literal)*) => {$(
        mod $module {
            use super::super::guest::Guest;

            static GUEST: Guest = Guest::new($name);

            conforms!(@tests
                every_kind_comes_back_equal
                an_integer_is_exact_or_fails_its_record
                an_empty_batch_stays_empty
                a_column_without_nulls_stays_one
                large_values_cross
                rows_are_filtered
                all_rows_may_be_filtered
                a_row_becomes_many
                failed_rows_are_told_and_the_others_arrive
                an_error_costs_only_the_record_that_it_is_of
                a_crash_costs_only_the_record_that_it_is_of
                what_it_does_not_know_it_refuses
                an_asset_is_read
                an_asset_that_is_not_granted_refuses_the_configuration
                its_log_reaches_the_host
                many_batches_fit_into_its_memory
            );
        }
    )*};
    (@tests $($test:ident)*) => {$(
        #[test]
        fn $test() {
            super::$test(&GUEST);
        }
    )*};
}

conforms!(
    rust_batch "rust-batch"
    rust_record "rust-record"
    c_batch "c-batch"
    c_record "c-record"
    go_batch "go-batch"
    go_record "go-record"
    python_batch "python-batch"
    python_record "python-record"
    js_batch "js-batch"
    js_record "js-record"
);

fn mode(name: &str) -> Value {
    json!({"mode": name})
}

/// A batch of one int32 column `n`.
fn numbers<const N: usize>(numbers: [Option<i32>; N]) -> RecordBatch {
    batch(vec![("n", Arc::new(Int32Array::from(numbers.to_vec())))])
}

/// The values of column `n`.
fn n_of(batch: &RecordBatch) -> Vec<Option<i32>> {
    let column = batch.column_by_name("n").unwrap();
    column
        .as_primitive::<arrow_array::types::Int32Type>()
        .iter()
        .collect()
}

const TEXTS: [&str; 5] = [
    "",
    "plain",
    "Grüße, Jürgen ß",
    "深い学習",
    "🦀 e\u{301} \u{10FFFF} \0 end",
];

/// `rows` rows of every kind, every third value or so null, the extreme values among them; of
/// integers up to `widest`.
fn every_kind_up_to(widest: i64, rows: usize) -> RecordBatch {
    fn column<T>(rows: usize, salt: usize, value: impl Fn(usize) -> T) -> Vec<Option<T>> {
        let is_null = |row: usize| (row * 7 + salt).is_multiple_of(3);
        (0..rows)
            .map(|row| (!is_null(row)).then(|| value(row)))
            .collect()
    }
    let pick = |row: usize, extremes: [i64; 4]| {
        extremes
            .get(row % 8)
            .copied()
            .unwrap_or(row as i64 * 1_000_003 - 500)
    };
    let int = |row| i32::try_from(pick(row, [0, -1, i32::MIN.into(), i32::MAX.into()])).unwrap();
    let extremes = [-widest, widest, BEYOND_FLOAT64.min(widest), -1];
    let long = |row| pick(row, extremes);
    let single = |row| {
        [
            f32::MIN_POSITIVE,
            -0.0,
            f32::INFINITY,
            f32::MAX,
            0.1,
            f32::NAN,
        ][row % 6]
    };
    let double = |row| {
        [
            f64::MIN_POSITIVE,
            -0.0,
            f64::NEG_INFINITY,
            f64::MAX,
            0.1,
            f64::NAN,
        ][row % 6]
    };
    let bytes = |row: usize| {
        (0..row % 70)
            .map(|i| (i * 37) as u8 ^ 0xff)
            .collect::<Vec<_>>()
    };
    let vector = |row| (0..3).map(|i| Some(single(row + i))).collect::<Vec<_>>();
    let binary = column(rows, 1, bytes);
    let times = TimestampMicrosecondArray::from(column(rows, 2, long)).with_timezone("UTC");
    let vectors =
        FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(column(rows, 0, vector), 3);
    batch(vec![
        (
            "boolean",
            Arc::new(BooleanArray::from(column(rows, 0, |row| row % 5 < 2))),
        ),
        ("n", Arc::new(Int32Array::from(column(rows, 1, int)))),
        ("int64", Arc::new(Int64Array::from(column(rows, 2, long)))),
        (
            "float32",
            Arc::new(Float32Array::from(column(rows, 0, single))),
        ),
        (
            "float64",
            Arc::new(Float64Array::from(column(rows, 1, double))),
        ),
        (
            "utf8",
            Arc::new(StringArray::from(column(rows, 2, |row| {
                TEXTS[row % TEXTS.len()]
            }))),
        ),
        ("binary", Arc::new(BinaryArray::from_iter(binary))),
        ("vector", Arc::new(vectors)),
        ("timestamp", Arc::new(times)),
    ])
}

fn every_kind(rows: usize) -> RecordBatch {
    every_kind_up_to(i64::MAX, rows)
}

/// What no float64 can hold.
const BEYOND_FLOAT64: i64 = (1 << 53) + 1;

/// The one guest whose toolchain has integers cross as float64.
fn widest_integer(guest: &Guest) -> i64 {
    match guest.name() {
        "js-record" => (1 << 53) - 1,
        _ => i64::MAX,
    }
}

fn every_kind_comes_back_equal(guest: &Guest) {
    // Rows that fill a byte of a bitmap, and rows that do not.
    for rows in [1, 8, 9, 1000] {
        let rows = every_kind_up_to(widest_integer(guest), rows);
        let made = guest.apply(mode("identity"), &rows);
        assert_eq!(made.failures, []);
        assert_eq!(made.batch, rows);
    }
}

fn an_integer_is_exact_or_fails_its_record(guest: &Guest) {
    let rows = batch(vec![
        ("n", Arc::new(Int32Array::from(vec![1, 2]))),
        ("int64", Arc::new(Int64Array::from(vec![BEYOND_FLOAT64, 7]))),
    ]);
    let made = guest.apply(mode("identity"), &rows);
    let crosses = widest_integer(guest) >= BEYOND_FLOAT64;
    let (kept, failed) = if crosses {
        (rows, 0)
    } else {
        (rows.slice(1, 1), 1)
    };
    assert_eq!((made.batch, made.failures.len()), (kept, failed));
}

fn an_empty_batch_stays_empty(guest: &Guest) {
    for name in ["identity", "filter", "repeat", "fail"] {
        let made = guest.apply(mode(name), &every_kind(0));
        assert_eq!(made.batch, every_kind(0), "{name}");
    }
}

fn a_column_without_nulls_stays_one(guest: &Guest) {
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("n", Arc::new(Int32Array::from_iter_values(0..20)), false),
        (
            "utf8",
            Arc::new(StringArray::from_iter_values(TEXTS.repeat(4))),
            false,
        ),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let made = guest.apply(mode("identity"), &rows);
    assert_eq!(made.batch, rows);
}

fn large_values_cross(guest: &Guest) {
    let text = TEXTS.concat().repeat((1 << 20) / 40);
    let bytes: Vec<u8> = (0..3 << 20).map(|i: u32| (i * 31 % 251) as u8).collect();
    let rows = batch(vec![
        ("n", Arc::new(Int32Array::from(vec![1, 2]))),
        (
            "utf8",
            Arc::new(StringArray::from(vec![Some(text.as_str()), None])),
        ),
        (
            "binary",
            Arc::new(BinaryArray::from_opt_vec(vec![None, Some(&bytes)])),
        ),
    ]);
    assert!(text.len() > 1 << 20);
    assert_eq!(guest.apply(mode("identity"), &rows).batch, rows);
}

fn rows_are_filtered(guest: &Guest) {
    let rows = numbers([Some(1), Some(2), None, Some(4), Some(6), Some(7), Some(-2)]);
    let made = guest.apply(mode("filter"), &rows);
    assert_eq!(n_of(&made.batch), [Some(2), Some(4), Some(6), Some(-2)]);
    assert_eq!(made.origin, Some(vec![1, 3, 4, 6]));
    assert_eq!((made.filtered, made.failures.len()), (3, 0));
}

fn all_rows_may_be_filtered(guest: &Guest) {
    let made = guest.apply(mode("filter"), &numbers([Some(1), None, Some(3)]));
    assert_eq!((made.batch.num_rows(), made.filtered), (0, 3));
    assert!(made.failures.is_empty(), "{made:?}");
}

fn a_row_becomes_many(guest: &Guest) {
    let made = guest.apply(mode("repeat"), &numbers([Some(2), Some(0), None, Some(3)]));
    assert_eq!(n_of(&made.batch), [2, 2, 3, 3, 3].map(Some));
    assert_eq!(made.origin, Some(vec![0, 0, 3, 3, 3]));
    assert_eq!(made.filtered, 2);
    let rows = every_kind_up_to(widest_integer(guest), 40);
    let ones = Int32Array::from_iter_values(vec![1; 40]);
    let mut columns = rows.columns().to_vec();
    columns[1] = Arc::new(ones);
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    assert_eq!(guest.apply(mode("repeat"), &rows).batch, rows);
}

/// The failed rows, and why.
fn failures(
    guest: &Guest,
    name: &str,
    rows: &RecordBatch,
) -> (Vec<Option<i32>>, Vec<(u32, String)>) {
    let made = guest.apply(mode(name), rows);
    let failures = made.failures.into_iter();
    (
        n_of(&made.batch),
        failures.map(|f| (f.row, f.message)).collect(),
    )
}

fn failed_rows_are_told_and_the_others_arrive(guest: &Guest) {
    let rows = numbers([Some(2), Some(3), None, Some(4), Some(5)]);
    let (arrived, failed) = failures(guest, "fail", &rows);
    assert_eq!(arrived, [Some(2), None, Some(4)]);
    assert_eq!(failed, [(1, "n is 3".to_owned()), (4, "n is 5".to_owned())]);
}

fn an_error_costs_only_the_record_that_it_is_of(guest: &Guest) {
    let rows = numbers([Some(1), Some(13), Some(2), Some(3), Some(13)]);
    let (arrived, failed) = failures(guest, "error", &rows);
    assert_eq!(arrived, [Some(1), Some(2), Some(3)]);
    let unlucky = "13 is unlucky".to_owned();
    assert_eq!(failed, [(1, unlucky.clone()), (4, unlucky)]);
}

fn a_crash_costs_only_the_record_that_it_is_of(guest: &Guest) {
    let rows = numbers([Some(1), Some(13), Some(2), Some(3)]);
    let (arrived, failed) = failures(guest, "trap", &rows);
    assert_eq!(arrived, [Some(1), Some(2), Some(3)]);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, 1);
}

fn what_it_does_not_know_it_refuses(guest: &Guest) {
    let schema = every_kind(0).schema();
    for (config, reason) in [
        (json!({"mode": "dance 深い"}), "dance 深い"),
        (json!({"moed": "identity"}), "moed"),
        (json!({}), "mode"),
    ] {
        let refused = guest.open(config, &schema).unwrap_err().to_string();
        assert!(
            refused.contains("refuses") && refused.contains(reason),
            "{refused}"
        );
    }
    let no_n = batch(vec![("m", Arc::new(Int32Array::from(vec![1])))]).schema();
    let refused = guest.open(mode("identity"), &no_n).unwrap_err().to_string();
    assert!(refused.contains("`n`"), "{refused}");
}

fn an_asset_is_read(guest: &Guest) {
    let made = guest.apply(mode("asset"), &numbers([Some(1), None, Some(3)]));
    let greeting = made.batch.column_by_name("greeting").unwrap();
    let greetings: Vec<_> = greeting.as_string::<i32>().iter().collect();
    assert_eq!(greetings, [Some("Grüße, 世界"); 3]);
}

fn an_asset_that_is_not_granted_refuses_the_configuration(guest: &Guest) {
    let schema = every_kind(0).schema();
    let refused = guest
        .open(mode("missing-asset"), &schema)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("was not granted; there are: greeting"),
        "{refused}"
    );
}

/// Where a test gathers log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged meanwhile.
fn logged(act: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn its_log_reaches_the_host(guest: &Guest) {
    let schema = every_kind(0).schema();
    let log = logged(|| drop(guest.open(mode("log"), &schema).unwrap()));
    assert!(
        log.contains("WARN alluvium::plugin") && log.contains("opened: é 深い 🦀"),
        "{log}"
    );
}

fn many_batches_fit_into_its_memory(guest: &Guest) {
    let bytes = vec![7_u8; 1 << 20];
    let rows = batch(vec![
        ("n", Arc::new(Int32Array::from(vec![1]))),
        ("binary", Arc::new(BinaryArray::from_vec(vec![&bytes]))),
    ]);
    // More than its memory in all: a transform that keeps what it is given is opened again and again.
    let mut arrived = 0;
    let log = logged(|| {
        let mut chain = guest.open(mode("log"), &rows.schema()).unwrap();
        for _ in 0..300 {
            arrived += usize::from(chain.apply(&rows).unwrap().batch == rows);
        }
    });
    // componentize-py 0.25.1 does not free what a call returns.
    let most = if guest.name().starts_with("python") {
        3
    } else {
        1
    };
    let opened = log.matches("opened:").count();
    assert!(
        arrived == 300 && opened <= most,
        "{arrived} arrived, {opened} opened: {log}"
    );
}
