;; Logs `{lines}` lines of 64 KiB.
(loop $more
  (call $log (i32.const 2) (i32.const 65536) (i32.const 65536))
  (local.set $i (i32.add (local.get $i) (i32.const 1)))
  (br_if $more (i32.lt_u (local.get $i) (i32.const {lines}))))
