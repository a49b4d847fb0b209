"""Host calls in the trace: functions that stand in for those of the table and call them.

A linker defines them instead of the real ones only when calls are traced, so
that they cost nothing else. A call is one line with its result; one that has to
wait is a line when it waits and another when it goes on.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen

from luna.scheduler._guest cimport caller_process, span
from luna.scheduler._platform cimport *
from luna.scheduler._trace cimport *
from luna.scheduler._types cimport *

# A call that may suspend, from its beginning to its end.
cdef struct TracedCall:
    Process* process
    Row* row
    wasmtime_async_continuation_t continuation     # of the real function
    wasmtime_val_t* results
    wasm_trap_t** trap_out
    int waits                  # its first line is written
    Line line


cdef void put_argument(Line* line, Process* process, char shown, int64_t value, double number) noexcept nogil:
    if shown == b"f":
        put_float(line, number)
    elif shown == b"u":
        put_unsigned(line, <uint32_t>value)
    elif shown == b"P":
        put_process(line, process.runtime, value)
    else:
        put_number(line, value)


cdef void put_guest_text(Line* line, Process* process, wasmtime_caller_t* caller, uint32_t pointer, uint32_t size) noexcept nogil:
    """Text that the call is given, or where it should be and how long."""
    cdef uint8_t* text = span(process, caller, pointer, size)
    if text != NULL:
        put_quoted(line, <const char*>text, size)
    else:
        put_unsigned(line, pointer)
        put(line, b", ")
        put_unsigned(line, size)


cdef void put_sent(Line* line, Process* process, Row* row) noexcept nogil:
    if row.sends and process.scratch != NULL:
        put(line, b" [")
        put_message(line, process.runtime, process.scratch)
        put(line, b"]")


cdef void put_trap(Line* line, const wasm_trap_t* trap) noexcept nogil:
    cdef wasm_byte_vec_t message
    put(line, b" -> trap: ")
    wasm_trap_message(trap, &message)
    put_text(line, message.data, strlen(message.data))
    wasm_byte_vec_delete(&message)


cdef void put_result(Line* line, Process* process, Row* row, int64_t value, double number) noexcept nogil:
    if row.result == 0:
        return
    put(line, b" -> ")
    put_argument(line, process, row.result, value, number)
    if row.receives and value <= SIGNAL_PROCESS_DIED and process.scratch != NULL:
        put(line, b" [")
        put_message(line, process.runtime, process.scratch)
        put(line, b"]")
    elif row.spawns and value == 0:
        put(line, b" [process ")
        put_process(line, process.runtime, <int64_t>process.wait_value)
        put(line, b"]")


cdef wasm_trap_t* traced(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Row* row = <Row*>env
    cdef Process* process = caller_process(caller)
    cdef wasm_trap_t* trap
    cdef Line line
    cdef Line sent
    cdef size_t index = 0
    line.size = 0
    sent.size = 0
    sent.text[0] = 0
    put(&line, row.name)
    put(&line, b"(")
    while row.shown[index] != 0:
        if index > 0:
            put(&line, b", ")
        if row.shown[index] == b"t":
            put_guest_text(&line, process, caller, <uint32_t>args[index].i32, <uint32_t>args[index + 1].i32)
            index += 1
        else:
            put_argument(
                &line, process, row.shown[index],
                args[index].i64 if row.shown[index] == b"I" or row.shown[index] == b"P" else args[index].i32,
                args[index].f64,
            )
        index += 1
    put(&line, b")")
    put_sent(&sent, process, row)
    trap = (<wasmtime_func_unchecked_callback_t>row.function)(env, caller, args, count)
    if trap == NULL:
        put_result(&line, process, row, args[0].i64 if row.result == b"I" else args[0].i32, args[0].f64)
    elif not process.exiting:
        put_trap(&line, trap)
    put(&line, sent.text)
    write_line(process, &line)
    return trap


cdef void traced_async(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Row* row = <Row*>env
    cdef TracedCall* call = <TracedCall*>malloc(sizeof(TracedCall))
    cdef size_t index = 0
    call.process = caller_process(caller)
    call.row = row
    call.results = results
    call.trap_out = trap_out
    call.waits = 0
    call.line.size = 0
    put(&call.line, row.name)
    put(&call.line, b"(")
    while row.shown[index] != 0:
        if index > 0:
            put(&call.line, b", ")
        if row.shown[index] == b"t":
            put_guest_text(
                &call.line, call.process, caller, <uint32_t>args[index].of.i32, <uint32_t>args[index + 1].of.i32
            )
            index += 1
        else:
            put_argument(
                &call.line, call.process, row.shown[index],
                args[index].of.i64 if row.shown[index] == b"I" or row.shown[index] == b"P" else args[index].of.i32,
                args[index].of.f64,
            )
        index += 1
    put(&call.line, b")")
    put_sent(&call.line, call.process, row)
    if row.enters_guest:
        write_line(call.process, &call.line)
        call.waits = 1
    (<wasmtime_func_async_callback_t>row.function)(
        env, caller, args, nargs, results, nresults, trap_out, continuation
    )
    call.continuation = continuation[0]
    continuation.callback = resume_traced
    continuation.env = call
    continuation.finalizer = free_traced


cdef wbool resume_traced(void* env) noexcept nogil:
    cdef TracedCall* call = <TracedCall*>env
    cdef Row* row = call.row
    if not call.continuation.callback(call.continuation.env):
        if not call.waits:
            write_line(call.process, &call.line)
            call.waits = 1
        return False
    if call.waits:
        call.line.size = 0
        put(&call.line, row.name)
    if call.trap_out[0] != NULL:
        put_trap(&call.line, call.trap_out[0])
    elif row.result != 0:
        put_result(
            &call.line, call.process, row,
            call.results[0].of.i64 if row.result == b"I" else call.results[0].of.i32, call.results[0].of.f64,
        )
    elif call.waits:
        put(&call.line, b" goes on")
    write_line(call.process, &call.line)
    return True


cdef void free_traced(void* env) noexcept nogil:
    cdef TracedCall* call = <TracedCall*>env
    if call.continuation.finalizer != NULL:
        call.continuation.finalizer(call.continuation.env)
    free(call)
