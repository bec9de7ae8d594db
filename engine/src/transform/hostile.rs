//! What a stranger's plugin may try, and what comes of it: its own records fail, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guests::*;
use super::*;
use crate::Error;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Int32Array, RecordBatch, StringArray};

mod bounds;
mod opening;

// What hostile guests do, in place of a part of `guests::TEMPLATE`.
const ALIASED: &str = include_str!("hostile/aliased.wat");
const ALL_TABLE: &str = include_str!("hostile/all_table.wat");
const HOARD: &str = include_str!("hostile/hoard.wat");
const LOG_FLOOD: &str = include_str!("hostile/log_flood.wat");
const ON_X: &str = include_str!("hostile/on_x.wat");
const RECURSION: &str = include_str!("hostile/recursion.wat");
const SECOND_CALL: &str = include_str!("hostile/second_call.wat");

/// Row 13 of 100 fails with that reason, and only row 13.
fn only_13_fails_of(guest: &Guest<'_>, reason: &str) {
    let done = run(&guest.component(), &numbers(100));
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

fn only_13_fails(apply: &str, reason: &str) {
    let guest = Guest {
        apply: &on_value(13, apply),
        ..Guest::default()
    };
    only_13_fails_of(&guest, reason);
}

#[test]
fn a_record_that_traps_is_alone_in_failing() {
    only_13_fails("unreachable", "trapped: ");
}

#[test]
fn the_last_error_that_a_plugin_logged_in_the_call_is_told_with_its_trap() {
    let log = |level| format!("(call $log (i32.const {level}) (i32.const 16) (i32.const 7))");
    let (warn, error) = (log(3), log(4));
    let trap = format!("{error} {warn} unreachable");
    only_13_fails(&trap, "instruction executed; its last error: bad row");
}

#[test]
fn an_error_that_an_earlier_call_logged_is_not_told() {
    let open = "(call $log (i32.const 4) (i32.const 16) (i32.const 7))";
    let done = run(&guest(open, &on_value(13, "unreachable")), &numbers(100));
    let message = &done.failures[0].message;
    assert!(message.ends_with("instruction executed"), "{message}");
}

#[test]
fn a_record_that_never_ends_runs_past_its_deadline() {
    only_13_fails(FOREVER, "ran past its deadline of 200 ms");
}

#[test]
fn a_record_that_takes_all_memory_is_denied_it() {
    only_13_fails(ALL_MEMORY, "out of memory (4 MiB)");
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
    let done = run(&guest("", ALIASED), &numbers(1));
    assert_eq!(done.failures[0].message, "returned more than 1 MiB");
}

#[test]
fn a_guest_that_hangs_on_every_row_costs_less_a_row_after_a_while_and_every_row_is_tried() {
    let start = Instant::now();
    let done = run(&guest("", FOREVER), &numbers(100));
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
fn what_is_not_a_plugin_is_refused_with_the_reason() {
    let host = PluginHost::new().unwrap();
    let good = guest("", "");
    let importing = |name: &str| {
        let text = format!("(component (import {name:?} (instance)))");
        wat::parse_str(text).unwrap()
    };
    let other = Guest::default().text().replace("@0.1.0", "@0.7.0");
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
        (
            importing("wasi:cli/environment@0.2.0"),
            "wasi:cli/environment@0.2.0, which is never granted",
        ),
        (importing("wasi:filesystem/types@0.2.6"), "never granted"),
        (importing("wasi:sockets/tcp@0.2.0"), "never granted"),
        (importing("wasi:clocks/wall-clock@0.3.0"), "never granted"),
        (importing("somebody:elses/things"), "never granted"),
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
fn rows_without_content_count_against_the_limit_too() {
    let done = run(&guest("", &set(4, "(i32.const 1000000)")), &numbers(1));
    let message = &done.failures[0].message;
    assert!(
        message.contains("1000000 rows, which is too many"),
        "{message}"
    );
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
fn a_row_that_comes_alone_is_not_blamed_for_what_earlier_calls_left_behind() {
    let host = PluginHost::new().unwrap();
    let bound = bind(
        &host,
        spec("t", OnError::DeadLetter),
        &guest("", SECOND_CALL),
    );
    let batch = numbers(1);
    let mut chain = Chain::new(&host, batch.schema(), vec![bound], small_limits()).unwrap();
    for _ in 0..3 {
        let done = chain.apply(&batch).unwrap();
        assert_eq!((done.batch.num_rows(), done.failures.len()), (1, 0));
    }
}

/// Does something in `apply` where there is a byte `X` in the first column's data.
fn on_x(action: &str) -> String {
    ON_X.replace("{action}", action)
}

/// Answers with as many rows of row 0 as there are offsets but one, in a first column of these
/// offsets and so many bytes of data, which begins with `bytes`.
fn answer(offsets: &[u32], data_len: u32, bytes: &[u8]) -> String {
    const DATA: u32 = 100_000;
    let (count, rows) = (offsets.len() as u32, offsets.len() as u32 - 1);
    let offset = |(i, offset): (usize, &u32)| {
        format!(
            "(i32.store offset={} (local.get $f) (i32.const {offset}))",
            i * 4
        )
    };
    let byte = |(i, byte): (usize, &u8)| {
        format!("(i32.store8 offset={i} (i32.const {DATA}) (i32.const {byte}))")
    };
    [
        format!(
            "(local.set $f (call $alloc (i32.const 4) (i32.const {})))",
            (count + rows) * 4
        ),
        offsets.iter().enumerate().map(offset).collect(),
        bytes.iter().enumerate().map(byte).collect(),
        // What is allocated is zero: the origin.
        set(4, &format!("(i32.const {rows})")),
        set(8, "(i32.const 1)"),
        set(
            12,
            &format!("(i32.add (local.get $f) (i32.const {}))", count * 4),
        ),
        set(16, &format!("(i32.const {rows})")),
        "(i32.store offset=12 (local.get $columns) (local.get $f))".to_owned(),
        set_column(16, count),
        set_column(20, DATA),
        set_column(24, data_len),
    ]
    .concat()
}

/// Of three texts the second, which has an X, fails with that reason, and only that.
fn only_x_fails(attack: &str, reason: &str) {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "X", "ä"]));
    let batch = RecordBatch::try_from_iter([("s", texts)]).unwrap();
    let done = run(&guest("", &on_x(attack)), &batch);
    let failed: Vec<_> = done.failures.iter().map(|f| f.row).collect();
    assert_eq!(failed, [1], "{:?}", done.failures);
    let message = &done.failures[0].message;
    assert!(message.contains(reason), "{message}");
    assert_eq!(done.origin.as_deref(), Some(&[0, 2][..]));
}

#[test]
fn text_that_does_not_hold_together_fails_its_record() {
    only_x_fails(&answer(&[0, 4, 2], 8, b""), "offsets that decrease");
    only_x_fails(
        &answer(&[0, 99], 8, b""),
        "offsets up to 99, in 8 bytes of data",
    );
    only_x_fails(&answer(&[0, u32::MAX], 8, b""), "offsets up to 4294967295");
    only_x_fails(&answer(&[1, 2], 8, b""), "do not start at 0");
    only_x_fails(
        &(answer(&[0, 1], 8, b"") + &set_column(16, 1)),
        "1 offsets for 1 rows",
    );
    only_x_fails(&answer(&[0, 1], 1, b"\xff"), "not UTF-8");
    only_x_fails(&answer(&[0, 1, 2], 2, "ä".as_bytes()), "not UTF-8");
    only_x_fails(&answer(&[0, 1], 0x7fff_ffff, b""), "malformed");
    only_x_fails(
        &(answer(&[0, 1], 8, b"") + &set_column(16, 0x3fff_ffff)),
        "returned",
    );
}

#[test]
fn a_vector_of_the_wrong_length_fails_its_record() {
    let vector = |first: f32| Some(vec![Some(first); 3]);
    let rows = [vector(0.0), vector(f32::from_bits(0x58)), vector(1.0)];
    let vectors: ArrayRef =
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 3));
    let batch = RecordBatch::try_from_iter([("v", vectors)]).unwrap();
    for (bytes, wrong) in [(8, "8 bytes of data"), (0, "0 bytes"), (16, "16 bytes")] {
        let done = run(&guest("", &on_x(&set_column(24, bytes))), &batch);
        assert_eq!((done.failures.len(), done.failures[0].row), (1, 1));
        assert!(
            done.failures[0].message.contains(wrong),
            "{:?}",
            done.failures
        );
    }
}

#[test]
fn recursion_without_end_fails_its_record() {
    let deep = Guest {
        apply: &on_value(13, "(call $deep)"),
        module: RECURSION,
        ..Guest::default()
    };
    only_13_fails_of(&deep, "call stack exhausted");
}

#[test]
fn a_table_that_grows_without_end_counts_as_memory() {
    let tables = Guest {
        apply: &on_value(13, ALL_TABLE),
        module: "(table $t 1 funcref)",
        ..Guest::default()
    };
    only_13_fails_of(&tables, "out of memory (4 MiB)");
}
