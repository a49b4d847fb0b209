;; Traps at once, in ways the entry chooses.
;;   _start, unreachable   the unreachable instruction
;;   divide                an integer division by zero
;;   load                  a load beyond the memory
;;   indirect              an indirect call of an empty table slot
;; One instantiation fails: see start_trap.wat.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (type $nothing (func))
  (func (export "_start") (unreachable))
  (func (export "unreachable") (unreachable))
  (func (export "divide") (drop (i32.div_s (i32.const 1) (i32.load (i32.const 0)))))
  (func (export "load") (drop (i32.load (i32.const 65536))))
  (func (export "indirect") (call_indirect (type $nothing) (i32.const 0))))
