//! What hostile and honest guests come to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray, UInt8Array};
use arrow_schema::SchemaRef;

use super::guests::*;
use super::*;
use crate::Error;

/// Rows 0..n in "x" (which can cross) and in "kept" (which cannot).
fn numbers(n: i32) -> RecordBatch {
    let x: ArrayRef = Arc::new(Int32Array::from_iter_values(0..n));
    let kept: ArrayRef = Arc::new(UInt8Array::from_iter_values((0..n).map(|v| v as u8)));
    RecordBatch::try_from_iter([("x", x), ("kept", kept)]).unwrap()
}

fn run_spec(bytes: &[u8], spec: TransformSpec, batch: &RecordBatch) -> crate::Result<Transformed> {
    let host = PluginHost::new().unwrap();
    let bound = bind(&host, spec, bytes);
    Chain::new(&host, batch.schema(), vec![bound], small_limits())?.apply(batch)
}

fn run(bytes: &[u8], batch: &RecordBatch) -> Transformed {
    run_spec(bytes, spec("t", OnError::DeadLetter), batch).unwrap()
}

fn x(batch: &RecordBatch) -> &Int32Array {
    batch.column(0).as_primitive::<Int32Type>()
}

/// Row 13 of 100 fails with that reason, and only row 13.
fn only_13_fails(apply: &str, reason: &str) {
    let done = run(&guest("", &on_value(13, apply)), &numbers(100));
    let failed: Vec<_> = done.failures.iter().map(|f| f.row).collect();
    assert_eq!(failed, [13], "{:?}", done.failures);
    assert!(
        done.failures[0].message.contains(reason),
        "{}",
        done.failures[0].message
    );
    assert_eq!(done.batch.num_rows(), 99);
    assert!(x(&done.batch).values().iter().all(|v| *v != 13));
    assert_eq!(done.batch.column(1).len(), 99);
    assert_eq!(done.filtered, 0);
}

#[test]
fn an_identity_passes_other_columns_through_without_a_copy() {
    let batch = numbers(5000);
    let done = run(&guest("", ""), &batch);
    assert_eq!(done.batch, batch);
    assert!(done.origin.is_none() && done.failures.is_empty());
    assert!(
        done.batch
            .column(1)
            .to_data()
            .ptr_eq(&batch.column(1).to_data())
    );
}

#[test]
fn no_rows_come_to_no_rows() {
    let done = run(&guest("", ""), &numbers(0));
    assert_eq!((done.batch.num_rows(), done.filtered), (0, 0));
}

#[test]
fn a_record_that_traps_is_alone_in_failing() {
    only_13_fails("unreachable", "trapped: ");
}

#[test]
fn a_record_that_never_ends_runs_past_its_deadline() {
    only_13_fails(SPIN, "ran past its deadline of 200 ms");
}

#[test]
fn a_record_that_takes_all_memory_is_denied_it() {
    only_13_fails(BOMB, "out of memory (4 MiB)");
}

#[test]
fn an_error_of_the_whole_batch_is_narrowed_down_to_the_record() {
    only_13_fails(ERR, "bad row");
}

#[test]
fn a_reported_record_fails() {
    only_13_fails(FAIL_ROW, "bad row");
}

#[test]
fn output_that_does_not_hold_together_fails_its_record() {
    only_13_fails(&set(4, "(i32.const 7777)"), "7777 rows");
    only_13_fails(&set(24, "(i32.const 0)"), "0 columns");
    only_13_fails(&set_column(24, 3), "3 bytes of data");
    only_13_fails(&set_column(16, 1), "offsets");
    only_13_fails(
        &(set_column(0, 1) + &set_column(4, 64) + &set_column(8, 0)),
        "validity bitmap of 0 bytes",
    );
    only_13_fails(&set_column(20, 0xffff_0000), "malformed");
    only_13_fails(&origin(&[0, 5000]), "origin of row 5000");
    only_13_fails(&origin(&[1, 0]), "decreases");
    only_13_fails(
        &(FAIL_ROW.to_owned() + "(i32.store (local.get $f) (i32.const 5000))"),
        "row 5000 failed",
    );
}

#[test]
fn lists_that_alias_the_same_memory_are_counted_as_often_as_they_are_returned() {
    // 64 failures whose messages are all the same 64 KiB come to 4 MiB.
    let apply = "(local.set $f (call $alloc (i32.const 4) (i32.const 768)))
        (loop $l
          (i32.store offset=4 (i32.add (local.get $f) (i32.mul (local.get $i) (i32.const 12))) (i32.const 65536))
          (i32.store offset=8 (i32.add (local.get $f) (i32.mul (local.get $i) (i32.const 12))) (i32.const 65536))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const 64))))"
        .to_owned()
        + &set(28, "(local.get $f)")
        + &set(32, "(i32.const 64)");
    let done = run(&guest("", &apply), &numbers(1));
    assert_eq!(done.failures[0].message, "returned more than 1 MiB");
}

#[test]
fn a_guest_that_hangs_on_every_row_costs_less_a_row_after_a_while_and_every_row_is_tried() {
    let start = Instant::now();
    let done = run(&guest("", SPIN), &numbers(100));
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
    assert_eq!((done.batch.num_rows(), done.failures.len()), (0, 100));
    for failure in &done.failures {
        assert!(failure.message.contains("deadline"), "{failure:?}");
    }
}

#[test]
fn a_failed_record_is_null_where_the_transform_says_so() {
    let batch = numbers(100);
    for action in [FAIL_ROW, "unreachable"] {
        let done = run_spec(
            &guest("", &on_value(13, action)),
            spec("t", OnError::Null),
            &batch,
        )
        .unwrap();
        assert!(done.batch.schema().field(0).is_nullable());
        assert_eq!(
            (done.batch.num_rows(), done.nulled, done.failures.len()),
            (100, 1, 0)
        );
        assert!(x(&done.batch).is_null(13) && x(&done.batch).null_count() == 1);
        assert!(done.origin.is_none());
    }
}

#[test]
fn a_failed_record_halts_where_the_transform_says_so() {
    let error = run_spec(
        &guest("", &on_value(13, "unreachable")),
        spec("t", OnError::Fail),
        &numbers(100),
    )
    .unwrap_err();
    assert!(
        matches!(&error, Error::TransformFailed { transform, row: 13, .. } if transform == "t"),
        "{error}"
    );
}

#[test]
fn an_origin_filters_and_repeats_rows() {
    let done = run(&guest("", &origin(&[1, 1, 3])), &numbers(4));
    assert_eq!(done.origin.as_deref(), Some(&[1, 1, 3][..]));
    assert_eq!(
        done.batch
            .column(1)
            .as_primitive::<arrow_array::types::UInt8Type>()
            .values(),
        &[1, 1, 3]
    );
    assert_eq!(done.filtered, 2);
}

#[test]
fn a_record_that_a_later_transform_fails_on_is_out_as_a_whole() {
    let host = PluginHost::new().unwrap();
    // The first makes rows 0 and 1 of row 1: x is 0 and 1 there.
    let many = bind(
        &host,
        spec("many", OnError::DeadLetter),
        &guest("", &origin(&[1, 1, 3])),
    );
    let picky = bind(
        &host,
        spec("picky", OnError::DeadLetter),
        &guest("", &on_value(1, FAIL_ROW)),
    );
    let batch = numbers(4);
    let done = Chain::new(&host, batch.schema(), vec![many, picky], small_limits())
        .unwrap()
        .apply(&batch)
        .unwrap();
    assert_eq!(done.origin.as_deref(), Some(&[3][..]));
    assert_eq!(
        (done.failures[0].row, done.failures[0].transform.as_str()),
        (1, "picky")
    );
    assert_eq!((done.failures.len(), done.filtered), (1, 2));
}

#[test]
fn rows_that_repeat_a_large_column_are_bounded() {
    let big: ArrayRef = Arc::new(arrow_array::LargeListArray::from_iter_primitive::<
        arrow_array::types::UInt8Type,
        _,
        _,
    >([Some(vec![Some(7); 1 << 20])]));
    let x: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("x", x), ("big", big)]).unwrap();
    let done = run(&guest("", &origin(&[0, 0, 0])), &batch);
    assert!(
        done.failures[0].message.contains("repeats its row"),
        "{:?}",
        done.failures
    );
}

#[test]
fn text_and_bytes_cross_whatever_their_arrow_type() {
    let text = StringArray::from(vec![Some("ä"), None, Some("longer than a view inlines")]);
    for wanted in ["LargeUtf8", "Utf8View", "Dictionary(Int32, Utf8)"] {
        let array = arrow_cast::cast(&text, &wanted.parse().unwrap()).unwrap();
        let batch = RecordBatch::try_from_iter([("s", array)]).unwrap();
        let done = run(&guest("", ""), &batch);
        assert_eq!(done.batch.column(0).as_string::<i32>(), &text, "{wanted}");
    }
    let bad: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff\xfe"[..]]));
    let batch = RecordBatch::try_from_iter([("b", bad)]).unwrap();
    // A guest that calls its bytes text: kind 5 is utf8.
    let outputs = "(i32.store8 offset=8 (i32.load offset=12 (local.get $r)) (i32.const 5))";
    let copy = "(memory.copy (local.tee $config (call $alloc (i32.const 4) (i32.const 16))) (local.get $schema) (i32.const 16))
        (i32.store offset=12 (local.get $r) (local.get $config))";
    let done = run(&guest(&format!("{copy}{outputs}"), ""), &batch);
    assert!(
        done.failures[0].message.contains("not UTF-8"),
        "{:?}",
        done.failures
    );
}

#[test]
fn what_is_not_a_plugin_is_refused_with_the_reason() {
    let host = PluginHost::new().unwrap();
    let good = guest("", "");
    let imports =
        wat::parse_str(r#"(component (import "wasi:cli/stdout@0.2.0" (instance)))"#).unwrap();
    let other = TEMPLATE
        .replace("{open}", "")
        .replace("{apply}", "")
        .replace("@0.1.0", "@0.7.0");
    for (bytes, reason) in [
        (vec![], "not WebAssembly"),
        (b"PNG what is this".to_vec(), "not WebAssembly"),
        (good[..good.len() / 2].to_vec(), "damaged"),
        (good[..6].to_vec(), "truncated"),
        (
            wat::parse_str("(module)").unwrap(),
            "core WebAssembly module",
        ),
        (wat::parse_str("(component)").unwrap(), "exports neither"),
        (imports, "wasi:cli/stdout@0.2.0, which is not granted"),
        (wat::parse_str(other).unwrap(), "version \"0.7.0\""),
    ] {
        let error = Plugin::compile(&host, "p", &bytes).unwrap_err();
        assert!(
            matches!(error, Error::Plugin { .. }) && error.to_string().contains(reason),
            "{reason}: {error}"
        );
    }
}

#[test]
fn a_plugin_tells_what_it_is() {
    let host = PluginHost::new().unwrap();
    let info = Plugin::compile(&host, "p", &guest("", ""))
        .unwrap()
        .inspect();
    assert_eq!(
        (info.world, info.contract.as_str(), info.sha256.len()),
        ("batch-transform", "0.1.0", 64)
    );
    assert_eq!(info.exports, ["alluvium:transform/batches@0.1.0"]);
}

fn refusal(schema: SchemaRef, spec: TransformSpec, bytes: &[u8]) -> String {
    let host = PluginHost::new().unwrap();
    let bound = bind(&host, spec, bytes);
    Chain::new(&host, schema, vec![bound], small_limits())
        .unwrap_err()
        .to_string()
}

#[test]
fn wiring_that_does_not_fit_names_transform_column_and_types() {
    let schema = numbers(1).schema();
    let wired = |inputs: &[(&str, &str)], outputs: &[(&str, &str)]| {
        let own = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect()
        };
        TransformSpec {
            inputs: own(inputs),
            outputs: own(outputs),
            ..spec("wired", OnError::Fail)
        }
    };
    let identity = guest("", "");
    for (spec, parts) in [
        (
            wired(&[("x", "y")], &[]),
            vec!["\"wired\"", "\"y\"", "x, kept"],
        ),
        (wired(&[("x", "kept")], &[]), vec!["\"kept\"", "UInt8"]),
        (wired(&[], &[("z", "w")]), vec!["\"z\"", "x (int32)"]),
    ] {
        let refused = refusal(schema.clone(), spec, &identity);
        assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
    }
    let retyped = guest(
        "(i32.store8 offset=8 (local.get $schema) (i32.const 5))",
        "",
    );
    assert!(
        refusal(schema.clone(), spec("t", OnError::Fail), &retyped)
            .contains("as utf8, but it is int32")
    );
    assert!(
        refusal(schema.clone(), spec("t", OnError::Fail), &guest(ERR, ""))
            .contains("it refuses: bad row")
    );
    assert!(
        refusal(schema, spec("t", OnError::Fail), &guest("unreachable", ""))
            .contains("cannot open it: trapped")
    );
}

#[test]
fn an_output_is_added_under_the_name_it_is_wired_to() {
    let outputs = [("x".to_owned(), "y".to_owned())].into();
    let done = run_spec(
        &guest("", ""),
        TransformSpec {
            outputs,
            ..spec("t", OnError::Fail)
        },
        &numbers(3),
    )
    .unwrap();
    let names: Vec<_> = done
        .batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["x", "kept", "y"]);
}

#[test]
fn an_asset_is_read_if_it_was_granted() {
    let host = PluginHost::new().unwrap();
    // Refuses with what asset("model") said, be it bytes or an error.
    let open = "(call $asset (i32.const 32) (i32.const 5) (local.get $r)) (i32.store (local.get $r) (i32.const 1))";
    let mut bound = bind(&host, spec("t", OnError::Fail), &guest(open, ""));
    let schema = numbers(1).schema();
    let said = |bound: &BoundTransform| {
        Chain::new(&host, schema.clone(), vec![bound.clone()], small_limits())
            .unwrap_err()
            .to_string()
    };
    bound
        .assets
        .insert("other".to_owned(), Asset::Bytes((*b"x").into()));
    assert!(
        said(&bound).contains("\"model\" was not granted; there are: other"),
        "{}",
        said(&bound)
    );
    bound
        .assets
        .insert("model".to_owned(), Asset::Bytes((*b"weights").into()));
    assert!(
        said(&bound).ends_with("it refuses: weights"),
        "{}",
        said(&bound)
    );
}

#[test]
fn a_transforms_file_is_read_and_its_mistakes_are_located() {
    let parse = |text: &str| parse_transforms_toml(text, "/base".as_ref());
    let good = "[[transform]]\nname = \"a\"\nplugin = \"p/q.wasm\"\non_error = \"null\"\nassets = { m = \"m.bin\" }";
    let specs = parse(good).unwrap();
    assert_eq!(specs[0].plugin, "/base/p/q.wasm");
    assert_eq!(specs[0].assets["m"].to_str(), Some("/base/m.bin"));
    assert_eq!(
        (specs[0].on_error, specs[0].config.to_string()),
        (OnError::Null, "{}".to_owned())
    );
    assert!(
        parse(&format!("{good}\n{good}"))
            .unwrap_err()
            .to_string()
            .contains("two transforms are named \"a\"")
    );
    let error = parse("[[transform]]\nname = \"a\"\nplugin = \"p\"\nfoo = 1")
        .unwrap_err()
        .to_string();
    assert!(error.contains("line 4") && error.contains("foo"), "{error}");
}

#[test]
fn a_missing_plugin_is_refused_with_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = [dir.path().to_path_buf()];
    let error = resolve_plugin("nope", &dirs).unwrap_err().to_string();
    assert!(
        error.contains("nope.wasm") && error.contains(&dirs[0].display().to_string()),
        "{error}"
    );
    std::fs::write(dirs[0].join("nope.wasm"), b"").unwrap();
    assert_eq!(
        resolve_plugin("nope", &dirs).unwrap(),
        dirs[0].join("nope.wasm")
    );
}

#[test]
fn a_chain_can_move_to_a_worker_thread() {
    fn is_send<T: Send>() {}
    is_send::<Chain>();
}

#[test]
fn a_record_transform_runs_row_by_row() {
    let x: ArrayRef = Arc::new(Int32Array::from(vec![
        Some(1),
        None,
        Some(7),
        Some(13),
        Some(2),
    ]));
    let s: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a"),
        None,
        Some(""),
        None,
        Some("ä"),
    ]));
    let batch = RecordBatch::try_from_iter([("x", x), ("s", s)]).unwrap();
    let bytes = record_guest();
    let host = PluginHost::new().unwrap();
    assert_eq!(
        Plugin::compile(&host, "p", &bytes).unwrap().inspect().world,
        "record-transform"
    );
    let done = run(&bytes, &batch);
    // 7 is filtered and 13 refused.
    assert_eq!(done.origin.as_deref(), Some(&[0, 1, 4][..]));
    assert_eq!(
        (
            done.failures[0].row,
            done.failures[0].message.as_str(),
            done.filtered
        ),
        (3, "bad row", 1)
    );
    assert_eq!(x_values(&done.batch), [Some(1), None, Some(2)]);
    assert_eq!(
        done.batch.column(1).as_string::<i32>(),
        &StringArray::from(vec![Some("a"), None, Some("ä")])
    );
}

fn x_values(batch: &RecordBatch) -> Vec<Option<i32>> {
    x(batch).iter().collect()
}

#[test]
fn a_row_that_comes_alone_is_not_blamed_for_what_earlier_calls_left_behind() {
    // The second call in an instance's life traps.
    let apply = "(if (i32.load (i32.const 512)) (then unreachable)) (i32.store (i32.const 512) (i32.const 1))";
    let host = PluginHost::new().unwrap();
    let bound = bind(&host, spec("t", OnError::DeadLetter), &guest("", apply));
    let batch = numbers(1);
    let mut chain = Chain::new(&host, batch.schema(), vec![bound], small_limits()).unwrap();
    for _ in 0..3 {
        let done = chain.apply(&batch).unwrap();
        assert_eq!((done.batch.num_rows(), done.failures.len()), (1, 0));
    }
}

#[test]
fn rows_without_content_count_against_the_limit_too() {
    let done = run(&guest("", &set(4, "(i32.const 1000000)")), &numbers(1));
    let message = &done.failures[0].message;
    assert!(
        message.contains("1000000 rows, which is too many"),
        "{message}"
    );
}

#[test]
fn too_much_output_of_a_batch_is_no_fault_of_its_records() {
    let blob = vec![7u8; 400 << 10];
    let blobs = BinaryArray::from_iter_values(std::iter::repeat_n(&blob, 50));
    let batch = RecordBatch::try_from_iter([("x", Arc::new(blobs) as ArrayRef)]).unwrap();
    let bytes = guest("", "");
    let whole = run_spec(&bytes, spec("t", OnError::DeadLetter), &batch);
    assert!(
        matches!(whole, Err(Error::TransformOutput { rows: 50, .. })),
        "{whole:?}"
    );
    let half = run(&bytes, &batch.slice(0, 25));
    assert_eq!((half.batch.num_rows(), half.failures.len()), (25, 0));
}
