//! Guests for the tests, in component text: a core module around two snippets of code.

use super::{BoundTransform, Limits, OnError, Plugin, PluginHost, TransformSpec};

/// A guest that returns its inputs, but for what the snippets do.
///
/// `open` sees `$schema`, `$schema_len` and the result area `$r`. `apply` sees `$rows`, `$columns`,
/// `$data` (of the first column), `$r` and the local `$i`. Both have the identity's answer in `$r` already.
pub(crate) fn guest(open: &str, apply: &str) -> Vec<u8> {
    let text = TEMPLATE.replace("{open}", open).replace("{apply}", apply);
    wat::parse_str(text).unwrap()
}

/// A record-transform that returns each record, but none for an int32 of 7 and the error "bad row" for 13.
pub(crate) fn record_guest() -> Vec<u8> {
    let text = TEMPLATE
        .replace("{open}", "")
        .replace("{apply}", "")
        .replace("batches@", "records@")
        .replace(APPLY_BATCH, APPLY_RECORD)
        .replace(
            "(core func $main \"apply\")",
            "(core func $main \"apply_record\")",
        );
    wat::parse_str(text).unwrap()
}

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

pub(crate) const SPIN: &str = "(loop $spin (br $spin))";
pub(crate) const BOMB: &str =
    "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";

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

pub(crate) const TEMPLATE: &str = r#"
(component
  (import "alluvium:transform/types@0.1.0" (instance $types
    (type $kind' (enum "boolean" "int32" "int64" "float32" "float64" "utf8" "binary" "vector" "timestamp"))
    (export "kind" (type $kind (eq $kind')))
    (type $field' (record (field "name" string) (field "kind" $kind) (field "nullable" bool) (field "dim" u32)))
    (export "field" (type $field (eq $field')))
    (type $plan' (record (field "inputs" (list $field)) (field "outputs" (list $field))))
    (export "plan" (type $plan (eq $plan')))
    (type $column' (record (field "validity" (option (list u8))) (field "offsets" (list u32)) (field "data" (list u8))))
    (export "column" (type $column (eq $column')))
    (type $failure' (record (field "row" u32) (field "message" string)))
    (export "failure" (type $failure (eq $failure')))
    (type $output' (record (field "rows" u32) (field "origin" (option (list u32))) (field "columns" (list $column)) (field "failures" (list $failure))))
    (export "output" (type $output (eq $output')))
    (type $value' (variant (case "null") (case "boolean" bool) (case "int32" s32) (case "int64" s64)
      (case "float32" f32) (case "float64" f64) (case "utf8" string) (case "binary" (list u8))
      (case "vector" (list f32)) (case "timestamp" s64)))
    (export "value" (type $value (eq $value')))))
  (import "alluvium:transform/host@0.1.0" (instance $host
    (export "asset" (func (param "name" string) (result (result (list u8) (error string)))))))
  (alias export $types "field" (type $field))
  (alias export $types "plan" (type $plan))
  (alias export $types "column" (type $column))
  (alias export $types "output" (type $output))
  (alias export $types "value" (type $value))
  (core module $libc
    (memory (export "memory") 2)
    (data (i32.const 16) "bad row")
    (data (i32.const 32) "model")
    (global $heap (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
      (local $p i32)
      (local.set $p (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $p) (local.get $len)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $len) (i32.const 65536))))))
        unreachable)
      (local.get $p)))
  (core instance $libc (instantiate $libc))
  (core func $asset (canon lower (func $host "asset") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $main
    (import "libc" "memory" (memory 2))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "asset" (func $asset (param i32 i32 i32)))
    (func $alloc (param $align i32) (param $len i32) (result i32)
      (call $realloc (i32.const 0) (i32.const 0) (local.get $align) (local.get $len)))
    (func (export "open") (param $config i32) (param $config_len i32) (param $schema i32) (param $schema_len i32) (result i32)
      (local $r i32)
      (local.set $r (call $alloc (i32.const 4) (i32.const 64)))
      (i32.store offset=4 (local.get $r) (local.get $schema))
      (i32.store offset=8 (local.get $r) (local.get $schema_len))
      (i32.store offset=12 (local.get $r) (local.get $schema))
      (i32.store offset=16 (local.get $r) (local.get $schema_len))
      {open}
      (local.get $r))
    (func (export "apply") (param $rows i32) (param $columns i32) (param $count i32) (result i32)
      (local $r i32) (local $i i32) (local $f i32) (local $data i32)
      (local.set $r (call $alloc (i32.const 4) (i32.const 64)))
      (i32.store offset=4 (local.get $r) (local.get $rows))
      (i32.store offset=20 (local.get $r) (local.get $columns))
      (i32.store offset=24 (local.get $r) (local.get $count))
      (local.set $data (i32.load offset=20 (local.get $columns)))
      {apply}
      (local.get $r))
    (func (export "apply_record") (param $values i32) (param $count i32) (result i32)
      (local $r i32) (local $f i32)
      (local.set $r (call $alloc (i32.const 4) (i32.const 16)))
      (local.set $f (call $alloc (i32.const 4) (i32.const 8)))
      (i32.store (local.get $f) (local.get $values))
      (i32.store offset=4 (local.get $f) (local.get $count))
      (i32.store offset=4 (local.get $r) (local.get $f))
      (if (i32.ne (i32.load offset=8 (local.get $values)) (i32.const 7))
        (then (i32.store offset=8 (local.get $r) (i32.const 1))))
      (if (i32.eq (i32.load offset=8 (local.get $values)) (i32.const 13))
        (then
          (i32.store (local.get $r) (i32.const 1))
          (i32.store offset=4 (local.get $r) (i32.const 16))
          (i32.store offset=8 (local.get $r) (i32.const 7))))
      (local.get $r)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance (export "asset" (func $asset))))))
  (func $open (param "config" string) (param "schema" (list $field)) (result (result $plan (error string)))
    (canon lift (core func $main "open") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (func $apply (param "rows" u32) (param "columns" (list $column)) (result (result $output (error string)))
    (canon lift (core func $main "apply") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (instance $batches (export "open" (func $open)) (export "apply" (func $apply)))
  (export "alluvium:transform/batches@0.1.0" (instance $batches)))
"#;
