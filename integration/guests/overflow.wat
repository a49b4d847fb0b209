;; Calls itself without end: the stack overflows, which is a trap.
(module
  (memory (export "memory") 1)
  (func $deeper (export "deeper") (param i64) (result i64)
    (i64.add (i64.const 1) (call $deeper (i64.add (local.get 0) (i64.const 1)))))
  (func (export "_start") (drop (call $deeper (i64.const 0)))))
