;; Loops for ever: only preemption, a compute limit or a kill ends it.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))
