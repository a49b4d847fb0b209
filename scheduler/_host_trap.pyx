"""Host function of `lunatic::trap`: a call into the guest whose trap is an answer."""

from luna.scheduler._guest cimport *
from luna.scheduler._nested cimport *
from luna.scheduler._types cimport *


cdef wbool resume_catch(void* env) noexcept nogil:
    cdef NestedCall* call = <NestedCall*>env
    if not poll_nested(call):
        return False
    # A trap inside is an answer, 0, not the end of the process; so is proc_exit.
    call.process.exiting = 0
    call.results_out[0].of.i32 = 0 if nested_failed(call) else call.result[0].of.i32
    return True


cdef void catch_trap(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef NestedCall* call
    answer_at_once(continuation)
    if process.phase < PHASE_CALLING:
        trap_out[0] = trap(b"lunatic::trap::catch: not possible in the start section of a module")
        return
    if process.nested_depth >= NESTED_CALLS_MAX:
        trap_out[0] = trap(b"lunatic::trap::catch: at most 64 calls deep")
        return
    call = new_nested(process, results, trap_out)
    continuation.env = call
    continuation.finalizer = free_nested
    if not find_function(process, caller, call, b"_lunatic_catch_trap", 19):
        trap_out[0] = trap(b"lunatic::trap::catch: the module exports no function _lunatic_catch_trap")
        return
    call.args[0] = args[0]
    call.args[1] = args[1]
    begin_export(call, 2)
    continuation.callback = resume_catch


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {("lunatic::trap", "catch"): (<size_t>catch_trap, True)}
