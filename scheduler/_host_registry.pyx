"""Host functions of `lunatic::registry`, and `process::get_or_spawn` of a name that is there.

A name that a process is being spawned for has to be waited for; that, and the
spawning, is Python's.
"""

from luna.scheduler._guest cimport *
from luna.scheduler._host_request cimport request
from luna.scheduler._names cimport *
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport end_wait
from luna.scheduler._types cimport *


cdef const char* read_name(Process* process, wasmtime_caller_t* caller, const wasmtime_val_t* args, const char** name) noexcept nogil:
    """The bytes of the name that the first two arguments are; NULL, or what is wrong."""
    cdef uint32_t size = <uint32_t>args[1].of.i32
    cdef uint8_t* data
    if size > NAME_BYTES_MAX:
        return b"a name has at most 4096 bytes"
    data = span(process, caller, <uint32_t>args[0].of.i32, size)
    if data == NULL:
        return b"a pointer or length lies outside the guest's memory, or it exports none"
    if not is_utf8(data, size):
        return b"the text is not UTF-8"
    name[0] = <const char*>data
    return NULL


cdef void fail_with(Process* process, void* env, const char* reason) noexcept nogil:
    cdef char text[256]
    snprintf(text, sizeof(text), b"%s: %s", (<Row*>env).name, reason)
    fail(process, text)


cdef int write_found(Process* process, wasmtime_caller_t* caller, const wasmtime_val_t* outs, Registered* found) noexcept nogil:
    """Store both ids; 0 when an address is out of bounds."""
    cdef uint8_t* node_out = span(process, caller, <uint32_t>outs[0].of.i32, 8)
    cdef uint8_t* pid_out = span(process, caller, <uint32_t>outs[1].of.i32, 8)
    if node_out == NULL or pid_out == NULL:
        return 0
    memcpy(node_out, &found.node, 8)
    memcpy(pid_out, &found.pid, 8)
    return 1


cdef void put(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef const char* name = NULL
    cdef const char* wrong
    cdef int state
    prepare(process, results, nresults, trap_out, continuation)
    wrong = read_name(process, caller, args, &name)
    if wrong != NULL:
        fail_with(process, env, wrong)
        return
    state = put_name(
        process.runtime, process.environment, name, <uint32_t>args[1].of.i32, 0, args[2].of.i64, args[3].of.i64,
        luna_wall_ms()
    )
    if state == NAME_HELD:
        request(env, caller, args, nargs, results, nresults, trap_out, continuation)
    elif state == NAMES_FULL:
        fail_with(process, env, b"an environment has at most 1000000 names of 128 MiB together")
    else:
        end_wait(process, 0)


cdef void get(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef const char* name = NULL
    cdef const char* wrong
    cdef Registered found
    cdef int state
    prepare(process, results, nresults, trap_out, continuation)
    wrong = read_name(process, caller, args, &name)
    if wrong != NULL:
        fail_with(process, env, wrong)
        return
    state = find_name(process.runtime, process.environment, name, <uint32_t>args[1].of.i32, 0, &found)
    if state == NAME_HELD:
        request(env, caller, args, nargs, results, nresults, trap_out, continuation)
    elif state == NAME_FREE:
        end_wait(process, 1)
    elif write_found(process, caller, args + 2, &found):
        end_wait(process, 0)
    else:
        fail_out_of_bounds(process, (<Row*>env).name)


cdef void remove(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef const char* name = NULL
    cdef const char* wrong
    prepare(process, results, nresults, trap_out, continuation)
    wrong = read_name(process, caller, args, &name)
    if wrong != NULL:
        fail_with(process, env, wrong)
    elif remove_name(process.runtime, process.environment, name, <uint32_t>args[1].of.i32, 0) == NAME_HELD:
        request(env, caller, args, nargs, results, nresults, trap_out, continuation)
    else:
        end_wait(process, 0)


cdef void get_or_spawn(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef const char* name = NULL
    cdef const char* wrong
    cdef Registered found
    prepare(process, results, nresults, trap_out, continuation)
    wrong = read_name(process, caller, args, &name)
    if wrong != NULL:
        fail_with(process, env, wrong)
    elif find_name(process.runtime, process.environment, name, <uint32_t>args[1].of.i32, 0, &found) != NAME_TAKEN:
        request(env, caller, args, nargs, results, nresults, trap_out, continuation)
    elif write_found(process, caller, args + 9, &found):
        end_wait(process, 2)
    else:
        fail_out_of_bounds(process, (<Row*>env).name)


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::registry", "put"): (<size_t>put, True),
        ("lunatic::registry", "get"): (<size_t>get, True),
        ("lunatic::registry", "remove"): (<size_t>remove, True),
        ("lunatic::process", "get_or_spawn"): (<size_t>get_or_spawn, True),
    }
