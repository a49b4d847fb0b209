"""Host functions of `lunatic::message`: the scratch message, send and receive.

Each process has at most one scratch message. Sending hands it to the target as
it is, receiving replaces it; nothing is copied on the way.
"""

from libc.stdlib cimport malloc

from luna.scheduler._delivery cimport deliver
from luna.scheduler._guest cimport *
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport drain, end_wait, take_as_scratch
from luna.scheduler._signals cimport *
from luna.scheduler._travel cimport untravelled
from luna.scheduler._types cimport *

cdef enum:
    UNSENDABLE = 1             # result of a send of what cannot go to another node


cdef wasm_trap_t* no_scratch(const char* function) noexcept nogil:
    cdef char text[160]
    snprintf(text, sizeof(text), b"lunatic::message::%s: there is no message: create or receive one first", function)
    return trap(text)


cdef wasm_trap_t* not_data(const char* function) noexcept nogil:
    cdef char text[160]
    snprintf(text, sizeof(text), b"lunatic::message::%s: the message is not a data message", function)
    return trap(text)


cdef wasm_trap_t* create_data(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Signal* message = new_signal(process.runtime, SIGNAL_MESSAGE, process.pid)
    cdef uint64_t hint = <uint64_t>args[1].i64
    message.tag = args[0].i64
    reserve(message, <size_t>hint if hint < CAPACITY_HINT_MAX else CAPACITY_HINT_MAX)
    take_as_scratch(process, message)
    return NULL


cdef wasm_trap_t* write_data(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef uint32_t size = <uint32_t>args[1].i32
    cdef uint8_t* data
    if process.scratch == NULL:
        return no_scratch(b"write_data")
    if process.scratch.kind != SIGNAL_MESSAGE:
        take_as_scratch(process, NULL)
        return not_data(b"write_data")
    data = span(process, caller, <uint32_t>args[0].i32, size)
    if data == NULL:
        take_as_scratch(process, NULL)
        return out_of_bounds(b"lunatic::message::write_data")
    if not append(process.scratch, <const char*>data, size):
        take_as_scratch(process, NULL)
        return trap(b"lunatic::message::write_data: a message holds at most 256 MiB")
    args[0].i32 = <int32_t>size
    return NULL


cdef wasm_trap_t* read_data(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Signal* message = process.scratch
    cdef uint32_t size = <uint32_t>args[1].i32
    cdef uint8_t* out
    if message == NULL:
        return no_scratch(b"read_data")
    if message.kind != SIGNAL_MESSAGE:
        take_as_scratch(process, NULL)
        return not_data(b"read_data")
    out = span(process, caller, <uint32_t>args[0].i32, size)
    if out == NULL:
        take_as_scratch(process, NULL)
        return out_of_bounds(b"lunatic::message::read_data")
    if message.offset > message.size:
        take_as_scratch(process, NULL)
        return trap(b"lunatic::message::read_data: the read offset lies beyond the end of the message")
    if size > message.size - message.offset:
        size = <uint32_t>(message.size - message.offset)
    memcpy(out, message.data + message.offset, size)
    message.offset += size
    args[0].i32 = <int32_t>size
    return NULL


cdef wasm_trap_t* seek_data(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    if process.scratch == NULL:
        return no_scratch(b"seek_data")
    if process.scratch.kind != SIGNAL_MESSAGE:
        return not_data(b"seek_data")
    process.scratch.offset = <size_t>args[0].i64
    return NULL


cdef wasm_trap_t* get_tag(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    if process.scratch == NULL:
        return no_scratch(b"get_tag")
    args[0].i64 = process.scratch.tag
    return NULL


cdef wasm_trap_t* get_process_id(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    if process.scratch == NULL:
        return no_scratch(b"get_process_id")
    args[0].i64 = process.scratch.sender if process.scratch.kind == SIGNAL_PROCESS_DIED else 0
    return NULL


cdef wasm_trap_t* data_size(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    if process.scratch == NULL:
        return no_scratch(b"data_size")
    if process.scratch.kind != SIGNAL_MESSAGE:
        return not_data(b"data_size")
    args[0].i64 = <int64_t>process.scratch.size
    return NULL


cdef const char* unsendable(Process* process, int64_t target) noexcept nogil:
    """Why the scratch message cannot go to another node, NULL if it can."""
    if target >> NODE_SHIFT == process.runtime.node_id:
        return NULL
    if process.held_bytes > HELD_BYTES_MAX:
        return b"too many messages wait for other nodes: send from a loop or a function, which can wait"
    return untravelled(process.scratch)


cdef const char* send_scratch(Process* process, int64_t target) noexcept nogil:
    """Send the scratch message; NULL, or why that is impossible."""
    cdef Signal* message = process.scratch
    cdef const char* reason
    if message == NULL:
        return b"there is no message to send: create or receive one first"
    reason = unsendable(process, target)
    if reason != NULL:
        return reason
    process.scratch = NULL
    if message.kind == SIGNAL_MESSAGE:
        message.sender = process.pid  # it may be one that was received: whoever sends it on is its sender
    luna_add64(&process.runtime.counters[TOTAL_SENT], 1)
    if deliver(process.runtime, message, target, process.environment, process) == 2:
        let_go_soon(process)
    return NULL


cdef int lose_unsent(Process* process) noexcept nogil:
    """After a send that was impossible: drops the message that cannot travel; 0 if there was none to begin with."""
    if process.scratch == NULL:
        return 0
    take_as_scratch(process, NULL)
    return 1


cdef wasm_trap_t* send(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    # Of two arguments the first is a node, which a pid names itself.
    cdef const char* reason = send_scratch(process, args[count - 1].i64)
    if reason != NULL and not lose_unsent(process):
        return trap(reason)
    args[0].i32 = UNSENDABLE if reason != NULL else 0
    return NULL


cdef wasm_trap_t* send_early(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    # It has no result that could tell.
    cdef const char* reason = send_scratch(caller_process(caller), args[count - 1].i64)
    return trap(reason) if reason != NULL else NULL


cdef void await_reply(Process* process, int64_t target, int64_t tag, uint64_t timeout_ms) noexcept nogil:
    # The wait begins before the send: what is queued already must not match,
    # whatever comes from now on may.
    cdef const char* reason
    drain(process)
    reason = send_scratch(process, target)
    process.wait = WAIT_REPLY
    process.wait_tag = tag
    if reason == NULL:
        set_deadline(process, timeout_ms)
    elif lose_unsent(process):
        end_wait(process, UNSENDABLE)
    else:
        fail(process, reason)


cdef void send_receive(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    prepare(process, results, nresults, trap_out, continuation)
    await_reply(process, args[0].of.i64, args[1].of.i64, <uint64_t>args[2].of.i64)


cdef void send_receive_node(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    prepare(process, results, nresults, trap_out, continuation)
    await_reply(process, args[1].of.i64, args[2].of.i64, <uint64_t>args[3].of.i64)


cdef void receive(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    prepare(process, results, nresults, trap_out, continuation)
    receive_tagged(
        process, caller, <uint32_t>args[0].of.i32, <uint32_t>args[1].of.i32, <uint64_t>args[2].of.i64
    )


cdef void receive_tagged(Process* process, wasmtime_caller_t* caller, uint32_t tags_at, uint32_t tag_count, uint64_t timeout_ms) noexcept nogil:
    """Wait for a message with one of the guest's tags; none: for any."""
    cdef uint8_t* tags = NULL
    if tag_count > RECEIVE_TAGS_MAX:
        fail(process, b"lunatic::message::receive: at most 65536 tags")
        return
    if tag_count > 0:
        tags = span(process, caller, tags_at, <uint64_t>tag_count * 8)
        if tags == NULL:
            fail_out_of_bounds(process, b"lunatic::message::receive")
            return
        process.wait_tags = <int64_t*>malloc(<size_t>tag_count * 8)
        memcpy(process.wait_tags, tags, <size_t>tag_count * 8)
        sort_tags(process.wait_tags, tag_count)
    await_message(process, tag_count, timeout_ms)


cdef void await_message(Process* process, uint32_t tag_count, uint64_t timeout_ms) noexcept nogil:
    """Wait for a message with one of the sorted `wait_tags`, which it owns then; none: for any."""
    cdef Signal* message
    process.wait_tag_count = tag_count
    drain(process)
    if tag_count == 0:
        message = pop_first(&process.mailbox)
    else:
        message = pop_tagged(&process.mailbox, process.wait_tags, tag_count)
    if message != NULL:
        take_as_scratch(process, message)
        end_wait(process, message.kind)
    elif timeout_ms == 0:
        end_wait(process, TIMED_OUT)
    else:
        process.wait = WAIT_RECEIVE
        set_deadline(process, timeout_ms)
    if process.exit_kind >= 0:
        # Killed by what was drained: wait for the thread to take it apart.
        process.wait = WAIT_RECEIVE


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::message", "create_data"): (<size_t>create_data, False),
        ("lunatic::message", "write_data"): (<size_t>write_data, False),
        ("lunatic::message", "read_data"): (<size_t>read_data, False),
        ("lunatic::message", "seek_data"): (<size_t>seek_data, False),
        ("lunatic::message", "get_tag"): (<size_t>get_tag, False),
        ("lunatic::message", "get_process_id"): (<size_t>get_process_id, False),
        ("lunatic::message", "data_size"): (<size_t>data_size, False),
        ("lunatic::message", "send"): (<size_t>send, False),
        ("lunatic::message", "send@0.11"): (<size_t>send_early, False),
        ("lunatic::message", "send_receive_skip_search"): (<size_t>send_receive, True),
        ("lunatic::message", "receive"): (<size_t>receive, True),
        ("lunatic::distributed", "send"): (<size_t>send, False),
        ("lunatic::distributed", "send@0.11"): (<size_t>send_early, False),
        ("lunatic::distributed", "send_receive_skip_search"): (<size_t>send_receive_node, True),
    }
