"""Resuming a guest whose host call has its answer.

Runs on the guest's fiber, as the continuation of every suspending host
function: false while the answer is not there, then writes it where it belongs.
"""

from libc.stdlib cimport free
from libc.string cimport memcpy

from luna.scheduler._types cimport *


cdef wbool resume(void* env) noexcept nogil:
    cdef Process* process = <Process*>env
    cdef size_t size
    if process.wait != WAIT_DONE:
        return False
    process.wait = WAIT_NONE
    if process.wait_trap != NULL:
        process.wait_trap_out[0] = trap(process.wait_trap)
        free(process.wait_trap)
        process.wait_trap = NULL
        return True
    if process.wait_trap_out[0] != NULL:
        return True
    if process.wait_writes:
        size = wasmtime_memory_data_size(process.context, &process.memory) if process.has_memory else 0
        if <uint64_t>process.wait_out + 8 > size:
            process.wait_trap_out[0] = trap(b"the pointer for the result lies outside the guest's memory")
            return True
        memcpy(wasmtime_memory_data(process.context, &process.memory) + process.wait_out, &process.wait_value, 8)
    if process.wait_result_count == 1:
        # An i32 reads the low half of an i64 slot, so one store serves both.
        process.wait_results[0].of.i64 = process.wait_result
    return True


cdef wbool at_once(void* env) noexcept nogil:
    """The continuation of a host function that did not have to wait."""
    return True
