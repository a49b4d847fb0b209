;; Prints "tick" once a second until it is killed. Written as text, so that no compiler is needed to try it:
;; `luna spawn examples/ticks.wat`.
(module
  (import "lunatic::process" "sleep_ms" (func $sleep_ms (param i64)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\05\00\00\00") ;; a vector of one: the 5 bytes at 16
  (data (i32.const 16) "tick\n")
  (func (export "_start")
    (loop $again
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (call $sleep_ms (i64.const 1000))
      (br $again))))
