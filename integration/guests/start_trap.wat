;; Its start section traps, so it cannot be instantiated.
(module
  (memory (export "memory") 1)
  (func $start (unreachable))
  (start $start)
  (func (export "_start")))
