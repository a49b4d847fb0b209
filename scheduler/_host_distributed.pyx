"""Host functions that spawn on other nodes.

Native as long as the module is in memory. If it is not, the call becomes a
request; Python answers it with the module, and the core goes on.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from luna.scheduler._code cimport find_module, release_module
from luna.scheduler._guest cimport *
from luna.scheduler._host_process cimport Birth, may_spawn
from luna.scheduler._host_request cimport request
from luna.scheduler._remote_spawn cimport read_far_birth, spawn_far
from luna.scheduler._signals cimport free_signal
from luna.scheduler._types cimport *

cdef enum:
    SPAWN_ARGS = 8             # of lunatic::distributed::spawn

# A spawn that waits for Python to find its module.
cdef struct FarSpawn:
    Process* process
    int64_t args[SPAWN_ARGS]


cdef void spawn_with(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation, int monitors) noexcept nogil:
    """Spawn with the last eight arguments; a ninth before them is the tag of a link."""
    cdef Process* process = caller_process(caller)
    cdef size_t surplus = nargs - SPAWN_ARGS
    cdef int64_t values[SPAWN_ARGS]
    cdef Module* module
    cdef Birth birth
    cdef FarSpawn* waiting
    cdef size_t index
    prepare(process, results, nresults, trap_out, continuation)
    if not may_spawn(process):
        return
    if not find_memory(process, caller):
        fail_out_of_bounds(process, b"lunatic::distributed::spawn")
        return
    for index in range(SPAWN_ARGS):
        if args[surplus + index].kind == LUNA_WASM_I32:
            values[index] = args[surplus + index].of.i32
        else:
            values[index] = args[surplus + index].of.i64
    process.spawn_link_tag = args[0].of.i64 if surplus else 0
    process.spawn_monitors = monitors
    if not read_far_birth(process, values, &birth):
        return
    module = find_module(process.runtime, values[2], NULL) if process.runtime.node_id != 0 else NULL
    if module == NULL:
        request(env, caller, args, nargs, results, nresults, trap_out, continuation)
        waiting = <FarSpawn*>malloc(sizeof(FarSpawn))
        waiting.process = process
        memcpy(waiting.args, values, sizeof(values))
        continuation.callback = resume_with_module
        continuation.env = waiting
        continuation.finalizer = free
        return
    spawn_far(process, values, module)
    release_module(module)


cdef wbool resume_with_module(void* env) noexcept nogil:
    """Go on with the spawn once its module is here, then as any other call that waits."""
    cdef FarSpawn* waiting = <FarSpawn*>env
    cdef Process* process = waiting.process
    cdef Signal* answer = process.wait_data
    if process.wait == WAIT_DONE and answer != NULL:
        process.wait_data = NULL
        process.wait = WAIT_NONE
        spawn_far(process, waiting.args, <Module*>answer.resources[0].pointer)
        free_signal(process.runtime, answer)
    return resume(process)


cdef void spawn(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    spawn_with(env, caller, args, nargs, results, nresults, trap_out, continuation, 0)


cdef void spawn_monitored(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    spawn_with(env, caller, args, nargs, results, nresults, trap_out, continuation, 1)


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::distributed", "spawn"): (<size_t>spawn, True),
        ("lunatic::distributed", "spawn@0.12"): (<size_t>spawn, True),
        ("luna::distributed", "spawn_monitored"): (<size_t>spawn_monitored, True),
    }
