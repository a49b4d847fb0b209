"""Host functions of `luna::message`: why a process ended that a notice in the scratch tells of."""

from luna.scheduler._guest cimport *
from luna.scheduler._host_message cimport no_scratch
from luna.scheduler._types cimport *


cdef inline int is_notice(Process* process) noexcept nogil:
    return process.scratch.kind == SIGNAL_LINK_DIED or process.scratch.kind == SIGNAL_PROCESS_DIED


cdef wasm_trap_t* exit_reason(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    if process.scratch == NULL:
        return no_scratch(b"exit_reason")
    args[0].i32 = process.scratch.exit if is_notice(process) else -1
    return NULL


cdef wasm_trap_t* exit_code(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    if process.scratch == NULL:
        return no_scratch(b"exit_code")
    args[0].i32 = <int32_t>process.scratch.value if is_notice(process) else 0
    return NULL


cdef wasm_trap_t* exit_text(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef uint32_t size = <uint32_t>args[1].i32
    cdef uint8_t* out = span(process, caller, <uint32_t>args[0].i32, size)
    if process.scratch == NULL:
        return no_scratch(b"exit_text")
    if out == NULL:
        return out_of_bounds(b"luna::message::exit_text")
    if not is_notice(process):
        args[0].i32 = 0
        return NULL
    memcpy(out, process.scratch.data, min(<size_t>size, process.scratch.size))
    args[0].i32 = <int32_t>process.scratch.size
    return NULL


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("luna::message", "exit_reason"): (<size_t>exit_reason, False),
        ("luna::message", "exit_code"): (<size_t>exit_code, False),
        ("luna::message", "exit_text"): (<size_t>exit_text, False),
    }
