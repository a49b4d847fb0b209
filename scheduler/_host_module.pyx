"""Host functions of `lunatic::message` about modules in messages."""

from libc.stdlib cimport free, malloc

from luna.scheduler._code cimport find_module, module_id_of, release_module, retain_module
from luna.scheduler._guest cimport *
from luna.scheduler._host_message cimport no_scratch, not_data
from luna.scheduler._host_request cimport request
from luna.scheduler._signals cimport *
from luna.scheduler._types cimport *

# A module that Python obtains from another node.
cdef struct Taking:
    Process* process
    uint64_t index             # in the scratch message


cdef wasm_trap_t* push_module(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Module* module = <Module*>table_get(&process.modules, <uint64_t>args[0].i64)
    cdef int index
    if module == NULL:
        return trap(b"lunatic::message::push_module: this process has no module of that id")
    if process.scratch == NULL:
        return no_scratch(b"push_module")
    if process.scratch.kind != SIGNAL_MESSAGE:
        return not_data(b"push_module")
    index = add_resource(process.scratch, RESOURCE_MODULE, module)
    if index < 0:
        return trap(b"lunatic::message::push_module: a message holds at most 4096 resources")
    retain_module(module)
    args[0].i64 = index
    return NULL


cdef Resource* module_at(Process* process, uint64_t index) noexcept nogil:
    """The module in the scratch message, or its hash; NULL: there is none."""
    cdef Signal* message = process.scratch
    if index >= message.resource_count:
        return NULL
    if message.resources[index].kind != RESOURCE_MODULE and message.resources[index].kind != RESOURCE_HASH:
        return NULL
    return &message.resources[index]


cdef void put_in_place(Resource* resource, Module* module) noexcept nogil:
    """The module of a hash is here; takes the reference over."""
    free(resource.pointer)
    resource.kind = RESOURCE_MODULE
    resource.pointer = module


cdef void hand_over(Process* process, Resource* resource) noexcept nogil:
    """Answer with a new id for the module, which leaves the message."""
    cdef uint64_t id = table_add(&process.modules, resource.pointer)
    if id == <uint64_t>-1:
        fail(process, b"lunatic::message::take_module: a process holds at most 1000000 modules")
        return
    resource.kind = RESOURCE_TAKEN
    process.wait = WAIT_RESULT
    end_wait(process, <int64_t>id)


cdef void take_module(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Resource* resource
    cdef Module* module
    cdef Taking* taking
    prepare(process, results, nresults, trap_out, continuation)
    results[0].kind = LUNA_WASM_I64
    if process.scratch == NULL:
        fail(process, b"lunatic::message::take_module: there is no message: create or receive one first")
        return
    if process.scratch.kind != SIGNAL_MESSAGE:
        fail(process, b"lunatic::message::take_module: the message is not a data message")
        return
    resource = module_at(process, <uint64_t>args[0].of.i64)
    if resource == NULL:
        fail(process, b"lunatic::message::take_module: the message has no module at that index")
        return
    if resource.kind == RESOURCE_HASH:
        module = find_module(
            process.runtime, module_id_of(<const uint8_t*>resource.pointer), <const uint8_t*>resource.pointer
        )
        if module == NULL:
            request(env, caller, args, nargs, results, nresults, trap_out, continuation)
            taking = <Taking*>malloc(sizeof(Taking))
            taking.process = process
            taking.index = <uint64_t>args[0].of.i64
            continuation.callback = resume_taking
            continuation.env = taking
            continuation.finalizer = free
            return
        put_in_place(resource, module)
    hand_over(process, resource)


cdef wbool resume_taking(void* env) noexcept nogil:
    """Take the module once it is here; a parked process keeps its scratch message."""
    cdef Taking* taking = <Taking*>env
    cdef Process* process = taking.process
    cdef Signal* answer = process.wait_data
    cdef Resource* resource
    if process.wait == WAIT_DONE and answer != NULL:
        process.wait_data = NULL
        resource = &process.scratch.resources[taking.index]
        retain_module(<Module*>answer.resources[0].pointer)
        put_in_place(resource, <Module*>answer.resources[0].pointer)
        free_signal(process.runtime, answer)
        hand_over(process, resource)
    return resume(process)


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::message", "push_module"): (<size_t>push_module, False),
        ("lunatic::message", "take_module"): (<size_t>take_module, True),
    }
