;; Takes memory page by page and writes to all of it.
(loop $more
  (local.set $f (memory.grow (i32.const 1)))
  (if (i32.ne (local.get $f) (i32.const -1)) (then
    (memory.fill (i32.shl (local.get $f) (i32.const 16)) (i32.const 1) (i32.const 65536))
    (br $more))))
unreachable
