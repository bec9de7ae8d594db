;; Reports 64 failures whose messages are all the same 64 KiB, which come to 4 MiB.
(local.set $f (call $alloc (i32.const 4) (i32.const 768)))
(loop $l
  (i32.store offset=4 (i32.add (local.get $f) (i32.mul (local.get $i) (i32.const 12))) (i32.const 65536))
  (i32.store offset=8 (i32.add (local.get $f) (i32.mul (local.get $i) (i32.const 12))) (i32.const 65536))
  (local.set $i (i32.add (local.get $i) (i32.const 1)))
  (br_if $l (i32.lt_u (local.get $i) (i32.const 64))))
(i32.store offset=28 (local.get $r) (local.get $f))
(i32.store offset=32 (local.get $r) (i32.const 64))
