;; Traps in the second call of the life of its instance.
(if (i32.load (i32.const 512)) (then unreachable))
(i32.store (i32.const 512) (i32.const 1))
