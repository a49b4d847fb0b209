"""Host functions that Python answers: the process is parked until it has.

Some hand bytes to the guest. They are answered in two steps: Python gives the
bytes, then the guest's own `lunatic_alloc` is called for a place to put them.
"""

from luna.scheduler._events cimport emit, new_request
from luna.scheduler._guest cimport *
from luna.scheduler._nested cimport *
from luna.scheduler._types cimport *


cdef void request(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Row* row = <Row*>env
    cdef Process* process = caller_process(caller)
    cdef Request* made
    cdef size_t index
    prepare(process, results, nresults, trap_out, continuation)
    if nresults == 1:
        results[0].kind = row.result_kind
    find_memory(process, caller)
    made = new_request(process, row.index)
    made.arg_count = <int32_t>nargs
    for index in range(nargs):
        if args[index].kind == LUNA_WASM_I32:
            made.args[index] = args[index].of.i32
        else:
            made.args[index] = args[index].of.i64
    process.request = made
    process.wait = WAIT_RESULT
    process.wait_node = -1
    emit(process.runtime, EVENT_REQUEST, made.id, process.wait_sequence, 0, made, NULL)


cdef void request_data(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef NestedCall* call
    cdef char text[160]
    if process.nested_depth >= NESTED_CALLS_MAX:  # the guest's allocator may make such calls itself
        answer_at_once(continuation)
        snprintf(text, sizeof(text), b"%s: at most 64 calls deep", (<Row*>env).name)
        trap_out[0] = trap(text)
        return
    call = new_nested(process, results, trap_out)
    request(env, caller, args, nargs, results, nresults, trap_out, continuation)
    find_function(process, caller, call, b"lunatic_alloc", 13)
    continuation.callback = resume_with_data
    continuation.env = call
    continuation.finalizer = free_nested


cdef wbool resume_with_data(void* env) noexcept nogil:
    cdef NestedCall* call = <NestedCall*>env
    cdef Process* process = call.process
    cdef Signal* answer
    if call.data == NULL:
        if process.wait != WAIT_DONE or process.wait_data == NULL:
            return resume(process)
        process.wait = WAIT_NONE
        answer = process.wait_data
        process.wait_data = NULL
        call.data = answer
        if not call.has_function:
            call.trap_out[0] = trap(b"the module exports no function lunatic_alloc, by which it would be given an answer")
            return True
        call.args[0].kind = LUNA_WASM_I32
        call.args[0].of.i32 = <int32_t>answer.size
        begin_export(call, 1)
    if not poll_nested(call):
        return False
    finish(call)
    return True


cdef void finish(NestedCall* call) noexcept nogil:
    """Place the bytes where the guest's allocator said."""
    cdef Process* process = call.process
    cdef uint32_t pointer
    cdef uint32_t size = <uint32_t>call.data.size
    cdef uint64_t size_out = <uint64_t>call.data.value
    cdef uint64_t memory_size
    cdef uint8_t* memory
    if nested_failed(call):
        call.trap_out[0] = take_trap(call, b"lunatic_alloc, called to give the guest an answer, trapped: ")
        return
    pointer = <uint32_t>call.result[0].of.i32
    memory_size = wasmtime_memory_data_size(process.context, &process.memory) if process.has_memory else 0
    if <uint64_t>pointer + size > memory_size or size_out + 4 > memory_size:
        call.trap_out[0] = trap(b"lunatic_alloc gave an address, or the guest one for the length, outside its memory")
        return
    memory = wasmtime_memory_data(process.context, &process.memory)
    memcpy(memory + pointer, call.data.data, size)
    memcpy(memory + size_out, &size, 4)
    call.results_out[0].of.i32 = <int32_t>pointer
