;; Does `{action}` where there is a byte `X` in the first column's data.
(block $done (loop $next
  (br_if $done (i32.ge_u (local.get $i) (i32.load offset=24 (local.get $columns))))
  (if (i32.eq (i32.load8_u (i32.add (local.get $data) (local.get $i))) (i32.const 0x58)) (then {action} (br $done)))
  (local.set $i (i32.add (local.get $i) (i32.const 1)))
  (br $next)))
