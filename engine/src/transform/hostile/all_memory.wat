;; Takes all memory that it is given, without touching it.
(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
unreachable
