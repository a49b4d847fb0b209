"""Host function of `luna::group` that sends: a copy of the scratch message for each member.

Python is asked who the members are; the sending is done here, on the process's
own turn, so that what it sends stays in order and full queues hold it back
between two members as they do between two sends.
"""

from libc.stdlib cimport calloc, free

from luna.scheduler._delivery cimport deliver
from luna.scheduler._guest cimport *
from luna.scheduler._host_request cimport request
from luna.scheduler._platform cimport *
from luna.scheduler._signals cimport append, free_signal, new_signal
from luna.scheduler._types cimport *

# From the host call to its end, or to that of the process.
cdef struct Broadcast:
    Process* process
    wasmtime_val_t* results
    Signal* message            # NULL until the members are known
    Signal* members            # its data are pids
    size_t sent


cdef const char* unsendable(Process* process) noexcept nogil:
    """Why the scratch message cannot be broadcast, NULL if it can."""
    if process.scratch == NULL:
        return b"there is no message to send: create or receive one first"
    if process.scratch.kind != SIGNAL_MESSAGE or process.scratch.resource_count > 0:
        return b"only plain data can be sent to many, no resources and no notice of a death"
    if process.scratch.size > BROADCAST_BYTES_MAX:
        return b"a message to many holds at most 16 MiB"
    return NULL


cdef void broadcast(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef const char* reason
    cdef Broadcast* cast
    cdef char text[256]
    prepare(process, results, nresults, trap_out, continuation)
    reason = unsendable(process)
    if reason != NULL:
        snprintf(text, sizeof(text), b"%s: %s", (<Row*>env).name, reason)
        fail(process, text)
        return
    request(env, caller, args, nargs, results, nresults, trap_out, continuation)
    cast = <Broadcast*>calloc(1, sizeof(Broadcast))
    cast.process = process
    cast.results = results
    continuation.callback = resume_broadcast
    continuation.env = cast
    continuation.finalizer = free_broadcast


cdef wbool resume_broadcast(void* env) noexcept nogil:
    cdef Broadcast* cast = <Broadcast*>env
    cdef Process* process = cast.process
    if cast.message == NULL:
        if process.wait != WAIT_DONE or process.wait_data == NULL:
            return resume(process)  # not answered yet, or with a trap
        process.wait = WAIT_NONE
        cast.members = process.wait_data
        process.wait_data = NULL
        cast.message = process.scratch
        process.scratch = NULL
    if not send_some(cast):
        return False  # its turn ends here, as that of a guest that is preempted
    if cast.sent == cast.members.size // sizeof(int64_t):
        cast.results[0].of.i32 = <int32_t>cast.sent
    else:
        process.wait_trap_out[0] = trap(b"luna::group::broadcast: no memory for another copy of the message")
    return True


cdef int send_some(Broadcast* cast) noexcept nogil:
    """Send to further members; 0 when others must get a turn first, or a queue is full.

    1 when all were sent to, or there is no memory to go on.
    """
    cdef Process* process = cast.process
    cdef size_t count = cast.members.size // sizeof(int64_t)
    cdef size_t turn = 0
    cdef int64_t member
    cdef Signal* copy
    while cast.sent < count:
        if turn == BROADCAST_TURN or turn > 0 and turn * cast.message.size >= BROADCAST_TURN_BYTES:
            return 0
        copy = new_signal(process.runtime, SIGNAL_MESSAGE, process.pid)
        copy.tag = cast.message.tag
        if not append(copy, cast.message.data, cast.message.size):
            free_signal(process.runtime, copy)
            return 1
        memcpy(&member, cast.members.data + cast.sent * sizeof(int64_t), sizeof(int64_t))
        luna_add64(&process.runtime.counters[TOTAL_SENT], 1)
        cast.sent += 1
        turn += 1
        if deliver(process.runtime, copy, member, process.environment, process) == 2:
            return 0
    return 1


cdef void free_broadcast(void* env) noexcept nogil:
    """Also of one that has not ended, when its process is being stopped."""
    cdef Broadcast* cast = <Broadcast*>env
    free_signal(cast.process.runtime, cast.message)
    free_signal(cast.process.runtime, cast.members)
    free(cast)


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {("luna::group", "broadcast"): (<size_t>broadcast, True)}
