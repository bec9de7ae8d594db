//! What hostile and honest guests come to.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, FixedSizeListArray, Int32Array, RecordBatch, StringArray,
};
use arrow_schema::SchemaRef;

use super::guests::*;
use super::*;
use crate::Error;

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
fn each_transform_of_a_chain_keeps_to_its_own_on_error() {
    let host = PluginHost::new().unwrap();
    let failing = |name, on_error, value| {
        let bytes = guest("", &on_value(value, FAIL_ROW));
        bind(&host, spec(name, on_error), &bytes)
    };
    let transforms = vec![
        failing("lenient", OnError::Null, 3),
        failing("strict", OnError::DeadLetter, 5),
        failing("fatal", OnError::Fail, 7),
    ];
    let sha256 = transforms[1].plugin.sha256().to_owned();
    let batch = numbers(7);
    let plan = ChainPlan::new(&host, batch.schema(), transforms, small_limits()).unwrap();
    let mut chain = plan.open();
    let done = chain.apply(&batch).unwrap();
    let expected = RowFailure {
        row: 5,
        transform: "strict".to_owned(),
        plugin_sha256: sha256,
        message: "bad row".to_owned(),
    };
    assert_eq!((done.failures, done.nulled), (vec![expected], 1));
    let values = [Some(0), Some(1), Some(2), None, Some(4), Some(6)];
    assert_eq!(x_values(&done.batch), values);
    assert_eq!(done.origin.as_deref(), Some(&[0, 1, 2, 3, 4, 6][..]));

    let error = chain.apply(&numbers(9)).unwrap_err();
    assert!(
        matches!(&error, Error::TransformFailed { transform, row: 7, .. } if transform == "fatal"),
        "{error}"
    );
}

#[test]
fn a_failure_behind_a_filter_is_told_by_the_original_row() {
    let host = PluginHost::new().unwrap();
    // It makes rows of x = 0, 1, 2 out of rows 1, 1 and 3.
    let many = || {
        bind(
            &host,
            spec("many", OnError::DeadLetter),
            &guest("", &origin(&[1, 1, 3])),
        )
    };
    let picky = |on_error| {
        bind(
            &host,
            spec("picky", on_error),
            &guest("", &on_value(2, FAIL_ROW)),
        )
    };
    let batch = numbers(4);
    let apply = |on_error| {
        let transforms = vec![many(), picky(on_error)];
        Chain::new(&host, batch.schema(), transforms, small_limits())
            .unwrap()
            .apply(&batch)
    };
    let done = apply(OnError::Null).unwrap();
    assert_eq!(
        (done.nulled, x_values(&done.batch)),
        (1, vec![Some(0), Some(1), None])
    );
    assert_eq!(apply(OnError::DeadLetter).unwrap().failures[0].row, 3);
    let error = apply(OnError::Fail).unwrap_err();
    assert!(
        matches!(error, Error::TransformFailed { row: 3, .. }),
        "{error}"
    );
}

#[test]
fn what_is_made_goes_with_what_passed_into_whole_rows() {
    let host = PluginHost::new().unwrap();
    let outputs = [("x".to_owned(), "y".to_owned())].into();
    let renamed = TransformSpec {
        outputs,
        ..spec("t", OnError::DeadLetter)
    };
    let bound = bind(&host, renamed, &guest("", &origin(&[1, 1, 3])));
    let batch = numbers(4);
    let plan = ChainPlan::new(&host, batch.schema(), vec![bound], small_limits()).unwrap();
    let pool = TransformPool::new(1).unwrap();
    let made = pool.submit(&plan, batch.clone()).wait().unwrap();
    assert_eq!(plan.made_columns(), [2]);
    assert_eq!(
        (made.made.schema(), made.made.num_columns()),
        (plan.made_schema().clone(), 1)
    );
    let whole = assemble(
        plan.output_schema(),
        &batch,
        &made.made,
        made.origin.as_deref(),
    )
    .unwrap();
    assert_eq!(whole, plan.open().apply(&batch).unwrap().batch);
    assert_eq!(x_values(&whole), [Some(1), Some(1), Some(3)]);
    let error = assemble(plan.output_schema(), &batch, &batch, None).unwrap_err();
    assert!(error.to_string().contains("no column \"y\""), "{error}");
}

#[test]
fn text_and_bytes_cross_whatever_their_arrow_type() {
    let text = StringArray::from(vec![Some("ä"), None, Some("longer than a view inlines")]);
    for wanted in [
        "LargeUtf8",
        "Utf8View",
        "Dictionary(Int32, Utf8)",
        "Dictionary(UInt8, LargeUtf8)",
    ] {
        let array = arrow_cast::cast(&text, &wanted.parse().unwrap()).unwrap();
        let batch = RecordBatch::try_from_iter([("s", array)]).unwrap();
        let done = run(&guest("", ""), &batch.slice(1, 2));
        assert_eq!(
            done.batch.column(0).as_string::<i32>(),
            &text.slice(1, 2),
            "{wanted}"
        );
    }
    let bytes = BinaryArray::from(vec![
        Some(&b"\xff"[..]),
        None,
        Some(b"longer than a view inlines"),
    ]);
    for wanted in ["LargeBinary", "BinaryView", "Dictionary(Int16, Binary)"] {
        let array = arrow_cast::cast(&bytes, &wanted.parse().unwrap()).unwrap();
        let batch = RecordBatch::try_from_iter([("s", array)]).unwrap();
        let done = run(&guest("", ""), &batch.slice(1, 2));
        assert_eq!(
            done.batch.column(0).as_binary::<i32>(),
            &bytes.slice(1, 2),
            "{wanted}"
        );
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
fn a_column_of_another_type_is_refused_with_its_name_and_both_types() {
    let text: ArrayRef = Arc::new(arrow_array::LargeStringArray::from(vec!["a"]));
    let vector =
        FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(0.0); 3])], 3);
    let vector: ArrayRef = Arc::new(vector);
    let number = numbers(1).column(0).clone();
    let schema = |column: &ArrayRef| {
        RecordBatch::try_from_iter([("c", column.clone())])
            .unwrap()
            .schema()
    };
    let wired = || TransformSpec {
        inputs: [("text".to_owned(), "c".to_owned())].into(),
        ..spec("t", OnError::Fail)
    };
    let plain = || spec("t", OnError::Fail);
    // A field: name 0 4, kind 8, dim 12.
    let kind = |kind: u32| format!("(i32.store8 offset=8 (local.get $schema) (i32.const {kind}))");
    let dim = "(i32.store offset=12 (local.get $schema) (i32.const 4))";
    let other = "(i32.store8 (i32.load (local.get $schema)) (i32.const 0x7a))";
    for (column, spec, open, reason) in [
        (
            &number,
            plain(),
            kind(5),
            "reads column \"c\" as utf8, but it is int32",
        ),
        (
            &number,
            wired(),
            kind(5),
            "reads column \"text\", wired to \"c\", as utf8, but it is int32",
        ),
        (
            &text,
            plain(),
            kind(6),
            "reads column \"c\" as binary, but it is utf8 (LargeUtf8)",
        ),
        (
            &vector,
            plain(),
            dim.to_owned(),
            "reads column \"c\" as vector of 4, but it is vector of 3",
        ),
        (
            &number,
            plain(),
            other.to_owned(),
            "reads column \"z\", which it is not given; it is given c (int32)",
        ),
    ] {
        let refused = refusal(schema(column), spec, &guest(&open, ""));
        assert!(
            refused.starts_with("transform \"t\": plugin test: ") && refused.contains(reason),
            "{refused}"
        );
    }
    let kept = "(i32.store (i32.const 700) (i32.const 0x7470656b))
        (i32.store (local.get $schema) (i32.const 700)) (i32.store offset=4 (local.get $schema) (i32.const 4))";
    let refused = refusal(numbers(1).schema(), plain(), &guest(kept, ""));
    assert!(
        refused.contains("reads column \"kept\", whose type UInt8 cannot be handed"),
        "{refused}"
    );
}

#[test]
fn a_later_transform_is_refused_what_an_earlier_one_makes_of_another_type() {
    let host = PluginHost::new().unwrap();
    let schema = numbers(1).schema();
    // It makes float64 (4) of what it reads.
    let copy = "(memory.copy (local.tee $config (call $alloc (i32.const 4) (i32.const 16))) (local.get $schema) (i32.const 16))
        (i32.store offset=12 (local.get $r) (local.get $config))
        (i32.store8 offset=8 (local.get $config) (i32.const 4))";
    let first = bind(&host, spec("first", OnError::Fail), &guest(copy, ""));
    let reads_int = "(i32.store8 offset=8 (local.get $schema) (i32.const 1))";
    let second = bind(&host, spec("second", OnError::Fail), &guest(reads_int, ""));
    let refused = Chain::new(&host, schema, vec![first, second], small_limits()).unwrap_err();
    let reason =
        "transform \"second\": plugin test: it reads column \"x\" as int32, but it is float64";
    assert_eq!(refused.to_string(), reason);
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
    let good = "[[transform]]\nname = \"a\"\nplugin = \"p/q.wasm\"\non_error = \"null\"\nassets = { m = \"m.bin\" }\ngrants = [\"clocks\"]";
    let specs = parse(good).unwrap();
    assert_eq!(specs[0].plugin, "/base/p/q.wasm");
    assert_eq!(specs[0].assets["m"].to_str(), Some("/base/m.bin"));
    assert_eq!(
        (specs[0].on_error, specs[0].config.to_string()),
        (OnError::Null, "{}".to_owned())
    );
    assert_eq!(specs[0].grants, [Grant::Clocks].into());
    let files = good.replace("clocks", "files");
    assert!(
        parse(&files)
            .unwrap_err()
            .to_string()
            .contains("unknown variant `files`")
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
