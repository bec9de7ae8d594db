//! What a stranger's plugin may try, and what comes of it: its own records fail, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Int32Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::guests::*;
use super::*;
use crate::Error;

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
    only_13_fails(SPIN, "ran past its deadline of 200 ms");
}

#[test]
fn a_record_that_takes_all_memory_is_denied_it() {
    only_13_fails(BOMB, "out of memory (4 MiB)");
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

/// Does something in `apply` where there is a byte `X` in the first column's data.
fn on_x(action: &str) -> String {
    format!(
        "(block $done (loop $next
           (br_if $done (i32.ge_u (local.get $i) (i32.load offset=24 (local.get $columns))))
           (if (i32.eq (i32.load8_u (i32.add (local.get $data) (local.get $i))) (i32.const 0x58)) (then {action} (br $done)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br $next)))"
    )
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
        module: "(func $deep (call $deep))",
        ..Guest::default()
    };
    only_13_fails_of(&deep, "call stack exhausted");
}

#[test]
fn a_table_that_grows_without_end_counts_as_memory() {
    let grow = "(loop $more (br_if $more (i32.ne (i32.const -1)
        (table.grow $t (ref.null func) (i32.const 10000))))) unreachable";
    let tables = Guest {
        apply: &on_value(13, grow),
        module: "(table $t 1 funcref)",
        ..Guest::default()
    };
    only_13_fails_of(&tables, "out of memory (4 MiB)");
}

/// Why a plugin can't be registered.
fn refusal(guest: &Guest<'_>) -> String {
    let host = PluginHost::new().unwrap();
    let schema = numbers(1).schema();
    let limits = Limits {
        open_deadline: Duration::from_millis(200),
        ..small_limits()
    };
    let plugin = Plugin::compile(&host, "test", &guest.component());
    let chain = plugin.and_then(|plugin| {
        let bound = BoundTransform::new(spec("hostile", OnError::DeadLetter), plugin);
        Chain::new(&host, schema, vec![bound], limits)
    });
    chain.unwrap_err().to_string()
}

#[test]
fn what_goes_wrong_when_a_plugin_opens_refuses_it() {
    let field = |store: &str| format!("(i32.{store})");
    for (open, reason) in [
        ("unreachable", "trapped"),
        (SPIN, "ran past its deadline of 200 ms"),
        (BOMB, "out of memory (4 MiB)"),
        ("(call $deep)", "call stack exhausted"),
        // The plan: inputs 4 8, outputs 12 16; a field: name 0 4, kind 8, nullable 9, dim 12.
        (
            &field("store offset=8 (local.get $r) (i32.const 0x7fffffff)"),
            "malformed",
        ),
        (
            &field("store offset=4 (local.get $r) (i32.const -4)"),
            "malformed",
        ),
        (
            &field("store8 offset=8 (local.get $schema) (i32.const 200)"),
            "malformed",
        ),
        (
            &field("store offset=4 (local.get $schema) (i32.const 0)"),
            "name has 0 bytes",
        ),
        (
            &field("store offset=4 (local.get $schema) (i32.const 300)"),
            "name has 300 bytes",
        ),
        (
            "(i32.store8 (i32.load (local.get $schema)) (i32.const 0xff))",
            "malformed",
        ),
        (
            "(i32.store8 offset=8 (local.get $schema) (i32.const 7))",
            "of dimension 0",
        ),
        (
            "(i32.store8 offset=8 (local.get $schema) (i32.const 7)) (i32.store offset=12 (local.get $schema) (i32.const 70000))",
            "of dimension 70000",
        ),
    ] {
        let reason_given = refusal(&Guest {
            open,
            module: "(func $deep (call $deep))",
            ..Guest::default()
        });
        assert!(reason_given.contains(reason), "{open}: {reason_given}");
    }
}

#[test]
fn what_a_plugin_is_made_of_is_bounded() {
    let many = |part: &str, count: usize| part.repeat(count);
    for (imports, module, reason) in [
        ("", "(func $trap unreachable) (start $trap)", "trapped"),
        ("", "(memory 100)", "out of memory (4 MiB)"),
        ("", "(memory 5000)", "out of memory (256 MiB)"),
        ("", "(table 1000000 funcref)", "out of memory (4 MiB)"),
        (
            many("(core instance (instantiate $tiny))", 300).as_str(),
            "",
            "instance count too high",
        ),
        ("", many("(memory 1)", 20).as_str(), "memory count too high"),
        ("", many("(table 1 funcref)", 300).as_str(), "table"),
    ] {
        let reason_given = refusal(&Guest {
            imports: &format!("(core module $tiny) {imports}"),
            module,
            ..Guest::default()
        });
        assert!(reason_given.contains(reason), "{reason}: {reason_given}");
    }
    let host = PluginHost::new().unwrap();
    let large = Plugin::compile(&host, "p", &vec![0; (64 << 20) + 1]).unwrap_err();
    assert!(large.to_string().contains("at most 64 MiB"), "{large}");
}

/// Counts what is logged.
struct Count(Arc<AtomicUsize>);

impl tracing::Subscriber for Count {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "alluvium::plugin"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Logs so many lines of 64 KiB in one call.
fn log(lines: u32) -> String {
    format!(
        "(loop $more
          (call $log (i32.const 2) (i32.const 65536) (i32.const 65536))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const {lines}))))"
    )
}

#[test]
fn a_call_logs_so_much_and_no_more() {
    let lines = Arc::new(AtomicUsize::new(0));
    let done = tracing::subscriber::with_default(Count(lines.clone()), || {
        run(&guest("", &log(1000)), &numbers(5))
    });
    assert!(done.failures.is_empty(), "{:?}", done.failures);
    // 64 KiB of lines of which 4 KiB are kept, and the note that there were more.
    assert_eq!(lines.load(Ordering::Relaxed), 16);
}

#[test]
#[cfg(target_os = "linux")]
fn whatever_a_plugin_does_the_process_stays_within_its_limits() {
    let this = std::env::current_exe().unwrap();
    let child = std::process::Command::new(this)
        .args(["--ignored", "--exact", "--nocapture", CHILD])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let kib = said
        .lines()
        .find_map(|line| line.strip_prefix("taken KiB: "));
    let kib: u64 = kib.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    // 32 MiB of memory for the plugin, what it hands back and the host's own copies of it.
    assert!(kib < 64 << 10, "{kib} KiB");
}

const CHILD: &str = "transform::hostile::takes_what_it_can_get";

#[test]
#[ignore = "run by another test, in a process of its own"]
fn takes_what_it_can_get() {
    let host = PluginHost::new().unwrap();
    let limits = Limits {
        memory_bytes: 32 << 20,
        ..small_limits()
    };
    let batch = numbers(10);
    let attempt = |apply: &str| {
        let bound = bind(&host, spec("t", OnError::DeadLetter), &guest("", apply));
        let mut chain = Chain::new(&host, batch.schema(), vec![bound], limits.clone()).unwrap();
        chain.apply(&batch).unwrap()
    };
    attempt("");
    let before = status("VmRSS:");
    // Takes memory page by page and writes to all of it.
    let hoard = "(loop $more
        (local.set $f (memory.grow (i32.const 1)))
        (if (i32.ne (local.get $f) (i32.const -1)) (then
          (memory.fill (i32.shl (local.get $f) (i32.const 16)) (i32.const 1) (i32.const 65536))
          (br $more)))) unreachable";
    for attack in [
        hoard,
        BOMB,
        &log(200_000),
        &set_column(24, 0x7fff_ffff),
        &set(4, "(i32.const 0x7fffffff)"),
        &origin(&[0; 500]),
    ] {
        attempt(attack);
    }
    println!("\ntaken KiB: {}", status("VmHWM:").saturating_sub(before));
}

/// A line of the process's status, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_component_with_changed_bytes_is_refused_or_contained(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = guest("", "");
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let host = PluginHost::new().unwrap();
        let batch = numbers(20);
        if let Ok(plugin) = Plugin::compile(&host, "p", &bytes) {
            let bound = BoundTransform::new(spec("t", OnError::DeadLetter), plugin);
            if let Ok(mut chain) = Chain::new(&host, batch.schema(), vec![bound], small_limits()) {
                let done = chain.apply(&batch).unwrap();
                prop_assert!(done.batch.num_rows() + done.failures.len() <= 20);
            }
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        let mut all = if magic { b"\0asm\x0d\0\x01\0".to_vec() } else { Vec::new() };
        all.extend(bytes);
        let host = PluginHost::new().unwrap();
        prop_assert!(Plugin::compile(&host, "p", &all).is_err());
    }
}
