//! Guests for the tests, in component text: a core module around two snippets of code.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::*;

use super::{
    BoundTransform, Chain, Limits, OnError, Plugin, PluginHost, TransformSpec, Transformed,
};

/// A guest that returns its inputs, but for what the snippets do.
///
/// `open` sees `$schema`, `$schema_len` and the result area `$r`. `apply` sees `$rows`, `$columns`,
/// `$data` (of the first column), `$r` and the local `$i`. Both have the identity's answer in `$r` already.
pub(crate) fn guest(open: &str, apply: &str) -> Vec<u8> {
    Guest {
        open,
        apply,
        ..Guest::default()
    }
    .component()
}

/// The places of [`TEMPLATE`] that tests fill in.
#[derive(Default)]
pub(crate) struct Guest<'a> {
    pub(crate) open: &'a str,
    pub(crate) apply: &'a str,
    /// As `apply`, for one record: `$values`, `$r`, and its one record of the same values in `$f`.
    pub(crate) record: &'a str,
    /// Imports of the component, core functions that call them, and what `$main` is lent of these.
    pub(crate) imports: &'a str,
    pub(crate) lowered: &'a str,
    pub(crate) lent: &'a str,
    /// What else `$main` has: imports, memories, tables, functions.
    pub(crate) module: &'a str,
}

impl Guest<'_> {
    pub(crate) fn text(&self) -> String {
        TEMPLATE
            .replace("{open}", self.open)
            .replace("{apply}", self.apply)
            .replace("{record}", self.record)
            .replace("{imports}", self.imports)
            .replace("{lowered}", self.lowered)
            .replace("{lent}", self.lent)
            .replace("{module}", self.module)
    }

    /// A `batch-transform`.
    pub(crate) fn component(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap()
    }

    /// A `record-transform`.
    pub(crate) fn record_component(&self) -> Vec<u8> {
        let text = self
            .text()
            .replace("batches@", "records@")
            .replace(APPLY_BATCH, APPLY_RECORD)
            .replace(
                "(core func $main \"apply\")",
                "(core func $main \"apply_record\")",
            );
        wat::parse_str(text).unwrap()
    }
}

/// A record-transform that returns each record, but none for an int32 of 7 and the error "bad row" for 13.
pub(crate) fn record_guest() -> Vec<u8> {
    Guest {
        record: &format!("{ONE}{NONE_OF_7_AND_ERROR_OF_13}"),
        ..Guest::default()
    }
    .record_component()
}

/// Makes one record of each.
pub(crate) const ONE: &str = "(i32.store offset=8 (local.get $r) (i32.const 1))";

const NONE_OF_7_AND_ERROR_OF_13: &str = "
    (if (i32.eq (i32.load offset=8 (local.get $values)) (i32.const 7))
      (then (i32.store offset=8 (local.get $r) (i32.const 0))))
    (if (i32.eq (i32.load offset=8 (local.get $values)) (i32.const 13))
      (then
        (i32.store (local.get $r) (i32.const 1))
        (i32.store offset=4 (local.get $r) (i32.const 16))
        (i32.store offset=8 (local.get $r) (i32.const 7))))";

const APPLY_BATCH: &str = r#"(param "rows" u32) (param "columns" (list $column)) (result (result $output (error string)))"#;
const APPLY_RECORD: &str =
    r#"(param "values" (list $value)) (result (result (list (list $value)) (error string)))"#;

/// Does something in `apply` for each row whose int32 in the first column is `value`.
pub(crate) fn on_value(value: i32, action: &str) -> String {
    format!(
        "(local.set $i (i32.const 0))
         (block $done (loop $next
           (br_if $done (i32.ge_u (local.get $i) (local.get $rows)))
           (if (i32.eq (i32.load (i32.add (local.get $data) (i32.shl (local.get $i) (i32.const 2)))) (i32.const {value}))
             (then {action}))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br $next)))"
    )
}

/// Stores a number in the result of `apply` (its fields: rows 4, origin 8 12 16, columns 20 24, failures 28 32).
pub(crate) fn set(offset: u32, value: &str) -> String {
    format!("(i32.store offset={offset} (local.get $r) {value})")
}

/// Stores a number in the first column of the result (validity 0 4 8, offsets 12 16, data 20 24).
pub(crate) fn set_column(offset: u32, value: u32) -> String {
    format!("(i32.store offset={offset} (local.get $columns) (i32.const {value}))")
}

/// Reports row `$i` as failed, with the message "bad row".
pub(crate) const FAIL_ROW: &str = "
    (local.set $f (call $alloc (i32.const 4) (i32.const 12)))
    (i32.store (local.get $f) (local.get $i))
    (i32.store offset=4 (local.get $f) (i32.const 16))
    (i32.store offset=8 (local.get $f) (i32.const 7))
    (if (i32.eqz (i32.load offset=32 (local.get $r))) (then (i32.store offset=28 (local.get $r) (local.get $f))))
    (i32.store offset=32 (local.get $r) (i32.add (i32.load offset=32 (local.get $r)) (i32.const 1)))";

/// Answers with the error "bad row".
pub(crate) const ERR: &str = "
    (i32.store (local.get $r) (i32.const 1))
    (i32.store offset=4 (local.get $r) (i32.const 16))
    (i32.store offset=8 (local.get $r) (i32.const 7))
    (return (local.get $r))";

pub(crate) const FOREVER: &str = include_str!("hostile/forever.wat");
pub(crate) const ALL_MEMORY: &str = include_str!("hostile/all_memory.wat");

/// An origin of the given rows.
pub(crate) fn origin(rows: &[u32]) -> String {
    let stores = rows.iter().enumerate().map(|(i, row)| {
        format!(
            "(i32.store offset={} (local.get $f) (i32.const {row}))",
            i * 4
        )
    });
    let count = rows.len();
    [
        format!(
            "(local.set $f (call $alloc (i32.const 4) (i32.const {})))",
            count * 4
        ),
        stores.collect::<String>(),
        set(4, &format!("(i32.const {count})")),
        set(8, "(i32.const 1)"),
        set(12, "(local.get $f)"),
        set(16, &format!("(i32.const {count})")),
        // The first column is of int32: its first rows.
        set_column(24, u32::try_from(count * 4).unwrap()),
    ]
    .concat()
}

/// An array of each kind with those values, null where there is none.
pub(crate) fn arrays(values: &[Option<i32>]) -> Vec<ArrayRef> {
    let text = |v: &i32| "ä".repeat((v.unsigned_abs() % 5) as usize);
    let vector = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        values.iter().map(|v| v.map(|v| vec![Some(v as f32); 3])),
        3,
    );
    vec![
        Arc::new(
            values
                .iter()
                .map(|v| v.map(|v| v > 0))
                .collect::<BooleanArray>(),
        ),
        Arc::new(values.iter().copied().collect::<Int32Array>()),
        Arc::new(
            values
                .iter()
                .map(|v| v.map(i64::from))
                .collect::<Int64Array>(),
        ),
        Arc::new(
            values
                .iter()
                .map(|v| v.map(|v| v as f32))
                .collect::<Float32Array>(),
        ),
        Arc::new(
            values
                .iter()
                .map(|v| v.map(f64::from))
                .collect::<Float64Array>(),
        ),
        Arc::new(
            values
                .iter()
                .map(|v| v.as_ref().map(text))
                .collect::<StringArray>(),
        ),
        Arc::new(
            values
                .iter()
                .map(|v| v.as_ref().map(text))
                .collect::<BinaryArray>(),
        ),
        Arc::new(vector),
        Arc::new(
            values
                .iter()
                .map(|v| v.map(i64::from))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
    ]
}

pub(crate) fn spec(name: &str, on_error: OnError) -> TransformSpec {
    let text = format!("[[transform]]\nname = {name:?}\nplugin = \"test\"");
    let mut specs = super::parse_transforms_toml(&text, "/".as_ref()).unwrap();
    TransformSpec {
        on_error,
        ..specs.remove(0)
    }
}

pub(crate) fn bind(host: &PluginHost, spec: TransformSpec, bytes: &[u8]) -> BoundTransform {
    BoundTransform::new(spec, Plugin::compile(host, "test", bytes).unwrap())
}

pub(crate) fn small_limits() -> Limits {
    Limits {
        memory_bytes: 4 << 20,
        batch_deadline: std::time::Duration::from_millis(200),
        output_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// Rows 0..n in "x" (which can cross) and in "kept" (which cannot).
pub(crate) fn numbers(n: i32) -> RecordBatch {
    let x: ArrayRef = Arc::new(Int32Array::from_iter_values(0..n));
    let kept: ArrayRef = Arc::new(UInt8Array::from_iter_values((0..n).map(|v| v as u8)));
    RecordBatch::try_from_iter([("x", x), ("kept", kept)]).unwrap()
}

pub(crate) fn run_spec(
    bytes: &[u8],
    spec: TransformSpec,
    batch: &RecordBatch,
) -> crate::Result<Transformed> {
    let host = PluginHost::new().unwrap();
    let bound = bind(&host, spec, bytes);
    Chain::new(&host, batch.schema(), vec![bound], small_limits())?.apply(batch)
}

pub(crate) fn run(bytes: &[u8], batch: &RecordBatch) -> Transformed {
    run_spec(bytes, spec("t", OnError::DeadLetter), batch).unwrap()
}

pub(crate) fn x(batch: &RecordBatch) -> &Int32Array {
    batch.column(0).as_primitive::<Int32Type>()
}

const TEMPLATE: &str = include_str!("guest.wat");
