;; Answers messages: the first 8 bytes of a message are the sender's process id, and the whole
;; message is sent back there with its tag. It ends when it is killed.
;;   _start, echo
(module
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "lunatic::message" "read_data" (func $read_data (param i32 i32) (result i32)))
  (import "lunatic::message" "seek_data" (func $seek_data (param i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (memory (export "memory") 1)
  (func $echo (export "echo")
    (loop $again
      (br_if $again (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
      (br_if $again (i32.ne (call $read_data (i32.const 0) (i32.const 8)) (i32.const 8)))
      (call $seek_data (i64.const 0))
      (drop (call $send (i64.load (i32.const 0))))
      (br $again)))
  (func (export "_start") (call $echo)))
