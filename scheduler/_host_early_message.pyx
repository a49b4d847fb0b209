"""Host functions of `lunatic::message` and `lunatic::distributed` as earlier guests import them.

What they share with today's is in `_host_message`. Lunatic 0.6 and 0.7 name
processes by handles and count time-outs in 32 bits with 0 for ever; up to 0.12
a request waited for the tag it was sent with.
"""

from libc.stdlib cimport malloc

from luna.scheduler._early cimport add_handle, find_handle, remove_handle
from luna.scheduler._guest cimport *
from luna.scheduler._host_message cimport await_message, no_scratch, not_data, receive_tagged, send_scratch
from luna.scheduler._process cimport drain, take_as_scratch
from luna.scheduler._signals cimport add_resource
from luna.scheduler._types cimport *

cdef const char* UNKNOWN_HANDLE = b"lunatic::message::send: this process has no process of that id"


cdef inline uint64_t early_timeout(int32_t milliseconds) noexcept nogil:
    """As today's functions take it."""
    return <uint64_t>-1 if milliseconds == 0 else <uint64_t><uint32_t>milliseconds


# -- processes in messages -----------------------------------------------------------------

cdef wasm_trap_t* push_process(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    # The handle is gone whatever comes of it, as it was in Lunatic.
    cdef Process* process = caller_process(caller)
    cdef int64_t pid = remove_handle(process, args[0].i64)
    cdef int index
    if pid == 0:
        return trap(b"lunatic::message::push_process: this process has no process of that id")
    if process.scratch == NULL:
        return no_scratch(b"push_process")
    if process.scratch.kind != SIGNAL_MESSAGE:
        return not_data(b"push_process")
    index = add_resource(process.scratch, RESOURCE_PROCESS, <void*>pid)
    if index < 0:
        return trap(b"lunatic::message::push_process: a message holds at most 4096 resources")
    args[0].i64 = index
    return NULL


cdef wasm_trap_t* take_process(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Signal* message = process.scratch
    cdef uint64_t index = <uint64_t>args[0].i64
    if message == NULL:
        return no_scratch(b"take_process")
    if message.kind != SIGNAL_MESSAGE:
        return not_data(b"take_process")
    if index >= message.resource_count or message.resources[index].kind != RESOURCE_PROCESS:
        return trap(b"lunatic::message::take_process: the message has no process at that index")
    args[0].i64 = add_handle(process, <int64_t>message.resources[index].pointer)
    if args[0].i64 == -1:
        return trap(b"lunatic::message::take_process: a process holds at most 1000000 processes")
    message.resources[index].kind = RESOURCE_TAKEN
    return NULL


# -- sending ---------------------------------------------------------------------------------

cdef const char* send_to_handle(Process* process, int64_t handle) noexcept nogil:
    """Send the scratch message; NULL, or why that is impossible. It is lost with an unknown handle."""
    cdef int64_t pid = find_handle(process, handle)
    if process.scratch != NULL and pid == 0:
        take_as_scratch(process, NULL)
        return UNKNOWN_HANDLE
    return send_scratch(process, pid)


cdef wasm_trap_t* send(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef const char* reason = send_to_handle(caller_process(caller), args[0].i64)
    return trap(reason) if reason != NULL else NULL


cdef void await_its_reply(Process* process, const char* reason, int64_t tag, uint64_t timeout_ms) noexcept nogil:
    """Wait for a message with the tag of the one just sent, or for any if it had none."""
    if reason != NULL:
        fail(process, reason)
        return
    process.wait = WAIT_NEXT if tag == 0 else WAIT_REPLY
    process.wait_tag = tag
    set_deadline(process, timeout_ms)


cdef inline int64_t begin_request(Process* process) noexcept nogil:
    """The tag to wait for. What is queued already must not match, whatever comes from now on may."""
    drain(process)
    return process.scratch.tag if process.scratch != NULL else 0


cdef void send_receive(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef int64_t tag
    prepare(process, results, nresults, trap_out, continuation)
    tag = begin_request(process)
    await_its_reply(process, send_to_handle(process, args[0].of.i64), tag, early_timeout(args[1].of.i32))


cdef void send_receive_0_12(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef int64_t tag
    prepare(process, results, nresults, trap_out, continuation)
    tag = begin_request(process)
    # The node comes first where there is one; a pid names its node itself.
    await_its_reply(process, send_scratch(process, args[nargs - 2].of.i64), tag, <uint64_t>args[nargs - 1].of.i64)


# -- receiving -------------------------------------------------------------------------------

cdef void receive(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef int64_t tag = args[0].of.i64
    prepare(process, results, nresults, trap_out, continuation)
    if tag != 0:
        process.wait_tags = <int64_t*>malloc(sizeof(int64_t))
        process.wait_tags[0] = tag
    await_message(process, tag != 0, early_timeout(args[1].of.i32))


cdef void receive_0_7(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    prepare(process, results, nresults, trap_out, continuation)
    receive_tagged(
        process, caller, <uint32_t>args[0].of.i32, <uint32_t>args[1].of.i32, early_timeout(args[2].of.i32)
    )


def functions():
    """(namespace, key) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::message", "push_process@0.6"): (<size_t>push_process, False),
        ("lunatic::message", "take_process@0.6"): (<size_t>take_process, False),
        ("lunatic::message", "send@0.6"): (<size_t>send, False),
        ("lunatic::message", "send_receive_skip_search@0.6"): (<size_t>send_receive, True),
        ("lunatic::message", "receive@0.6"): (<size_t>receive, True),
        ("lunatic::message", "receive@0.7"): (<size_t>receive_0_7, True),
        ("lunatic::message", "send_receive_skip_search@0.12"): (<size_t>send_receive_0_12, True),
        ("lunatic::distributed", "send_receive_skip_search@0.12"): (<size_t>send_receive_0_12, True),
    }
