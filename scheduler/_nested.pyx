"""Calls into the guest from within one of its own host calls.

The inner call has a fiber of its own, polled from the continuation of the
outer one; a trap inside is the host function's to report. Owns a NestedCall
from `new_nested` to `free_nested`, which is the outer continuation's finalizer.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, strlen
from libcpp.string cimport string

from luna.scheduler._failure cimport Told, is_out_of_fuel, split_message
from luna.scheduler._platform cimport *
from luna.scheduler._signals cimport free_signal
from luna.scheduler._types cimport *


cdef wasm_valtype_t* I32 = wasm_valtype_new(LUNA_WASM_I32)


cdef NestedCall* new_nested(Process* process, wasmtime_val_t* results_out, wasm_trap_t** trap_out) noexcept nogil:
    cdef NestedCall* call = <NestedCall*>calloc(1, sizeof(NestedCall))
    process.nested_depth += 1
    call.process = process
    call.results_out = results_out
    call.trap_out = trap_out
    return call


cdef int find_function(Process* process, wasmtime_caller_t* caller, NestedCall* call, const char* name, size_t size) noexcept nogil:
    """Look up the exported function to call; 0 when the guest exports none of that name."""
    cdef wasmtime_extern_t export
    if not wasmtime_caller_export_get(caller, name, size, &export) or export.kind != LUNA_EXTERN_FUNC:
        return 0
    call.function = export.of.func
    call.has_function = 1
    return 1


cdef int are_i32(const wasm_valtype_vec_t* types, size_t count) noexcept nogil:
    cdef size_t index
    if types.size != count:
        return 0
    for index in range(count):
        if not wasmtime_wasm_valtype_equal(types.data[index], I32):
            return 0
    return 1


cdef void begin_export(NestedCall* call, size_t arguments) noexcept nogil:
    """Call what the guest exports, which must take that many i32 and return one; else the call has failed.

    A reference that it returned would be kept until its process ends.
    """
    cdef wasm_functype_t* kind = wasmtime_func_type(call.process.context, &call.function)
    cdef int fits = are_i32(wasm_functype_params(kind), arguments) and are_i32(wasm_functype_results(kind), 1)
    wasm_functype_delete(kind)
    if fits:
        begin_nested(call, arguments, 1)
    else:
        call.error = wasmtime_error_new(b"the exported function has another type than it must have")


cdef int poll_nested(NestedCall* call) noexcept nogil:
    """Let the call go on; 1 when it has ended, or never begun."""
    return call.future == NULL or wasmtime_call_future_poll(call.future)


cdef void begin_nested(NestedCall* call, size_t arguments, size_t results) noexcept nogil:
    """Call `function` with the first of `args`. Poll `future` until it is true, and no more then."""
    call.future = wasmtime_func_call_async(
        call.process.context, &call.function, call.args, arguments, call.result, results, &call.trap, &call.error
    )
    luna_add64(&call.process.runtime.counters[COUNT_FUTURES], 1)


cdef void begin_instance(NestedCall* call, const wasmtime_module_t* module, wasmtime_instance_t* instance) noexcept nogil:
    """Make another instance in the process's store, as a call does."""
    call.future = wasmtime_linker_instantiate_async(
        call.linker, call.process.context, module, instance, &call.trap, &call.error
    )
    luna_add64(&call.process.runtime.counters[COUNT_FUTURES], 1)


cdef void end_nested(NestedCall* call) noexcept nogil:
    """Let go of the future, that another may follow."""
    if call.future != NULL:
        wasmtime_call_future_delete(call.future)
        call.future = NULL
        luna_add64(&call.process.runtime.counters[COUNT_FUTURES], -1)


cdef wasm_trap_t* take_trap(NestedCall* call, const char* label) noexcept nogil:
    """How a call failed, as a trap for the guest that made the outer one: its cause, behind `label`.

    The frames are left out: the new trap gets its own. An exit, and the end of the
    compute limit, are the process's wherever they happen, and stay what they are.
    """
    cdef wasm_trap_t* trap = call.trap
    cdef wasm_byte_vec_t message
    cdef Told told
    cdef string text = string(label)
    if trap != NULL and (call.process.exiting or is_out_of_fuel(trap)):
        call.trap = NULL
        return trap
    if trap != NULL:
        wasm_trap_message(trap, &message)
        split_message(message.data, strlen(message.data), &told)  # ends with a zero byte
    else:
        wasmtime_error_message(call.error, &message)
        split_message(message.data, message.size, &told)
    if told.cause_size >= text.size() and memcmp(told.cause, text.data(), text.size()) == 0:
        text.clear()  # such a call within such a call
    text.append(told.cause, min(told.cause_size, <size_t>TEXT_MAX))
    wasm_byte_vec_delete(&message)
    return wasmtime_trap_new(text.data(), text.size())


cdef int nested_failed(NestedCall* call) noexcept nogil:
    """Whether the ended call ended in a trap; so did one that left by proc_exit."""
    return call.trap != NULL or call.error != NULL


cdef void free_nested(void* env) noexcept nogil:
    """Also of a call that has not ended: its fiber unwinds, for the process is being stopped."""
    cdef NestedCall* call = <NestedCall*>env
    call.process.nested_depth -= 1
    end_nested(call)
    if call.linker != NULL:
        wasmtime_linker_delete(call.linker)
    if call.trap != NULL:
        wasm_trap_delete(call.trap)
    if call.error != NULL:
        wasmtime_error_delete(call.error)
    free_signal(call.process.runtime, call.data)
    free(call)
