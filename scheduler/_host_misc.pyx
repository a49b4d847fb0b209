"""Host functions of `lunatic::{error, timer, version}`."""

from libc.stdlib cimport calloc, free

from luna.scheduler._clock cimport cancel_timer as stop_timer, drop_timer, set_timer
from luna.scheduler._guest cimport *
from luna.scheduler._platform cimport *
from luna.scheduler._peers cimport is_crowded, wanted_lane
from luna.scheduler._process cimport reserve_host_bytes
from luna.scheduler._table cimport is_listed, list_timer, unlist_timer
from luna.scheduler._signals cimport *
from luna.scheduler._travel cimport untravelled
from luna.scheduler._types cimport *


# -- lunatic::error --------------------------------------------------------------------------

cdef wasm_trap_t* unknown_error(const char* function) noexcept nogil:
    cdef char text[160]
    snprintf(text, sizeof(text), b"lunatic::error::%s: this process has no error of that id", function)
    return trap(text)


cdef wasm_trap_t* string_size(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef char* text = <char*>table_get(&caller_process(caller).errors, <uint64_t>args[0].i64)
    if text == NULL:
        return unknown_error(b"string_size")
    args[0].i32 = <int32_t>strlen(text)
    return NULL


cdef wasm_trap_t* to_string(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef char* text = <char*>table_get(&process.errors, <uint64_t>args[0].i64)
    cdef uint8_t* out
    if text == NULL:
        return unknown_error(b"to_string")
    out = span(process, caller, <uint32_t>args[1].i32, strlen(text))
    if out == NULL:
        return out_of_bounds(b"lunatic::error::to_string")
    memcpy(out, text, strlen(text))
    return NULL


cdef wasm_trap_t* drop_error(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef char* text = <char*>table_remove(&process.errors, <uint64_t>args[0].i64)
    if text == NULL:
        return unknown_error(b"drop")
    process.host_bytes -= <int64_t>strlen(text)
    free(text)
    return NULL


# -- lunatic::timer --------------------------------------------------------------------------

cdef wasm_trap_t* send_after(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Timer* timer
    cdef uint64_t delay_ms = <uint64_t>args[1].i64
    cdef uint64_t id
    cdef int is_near, is_dead
    if process.scratch == NULL:
        return trap(b"lunatic::timer::send_after: there is no message: create or receive one first")
    if args[0].i64 >> NODE_SHIFT != process.runtime.node_id and untravelled(process.scratch) != NULL:
        return trap(untravelled(process.scratch))
    if process.timers.count == process.timers.capacity:
        forget_fired(process)
    if not reserve_host_bytes(process, <int64_t>process.scratch.capacity):
        forget_fired(process)
        if not reserve_host_bytes(process, <int64_t>process.scratch.capacity):
            return trap(b"lunatic::timer::send_after: the messages of this process's timers are too large together")
    if delay_ms > MILLISECONDS_MAX:
        delay_ms = MILLISECONDS_MAX
    timer = <Timer*>calloc(1, sizeof(Timer))
    luna_add64(&process.runtime.counters[COUNT_TIMERS], 1)
    timer.references = 2
    timer.runtime = process.runtime
    timer.target = args[0].i64
    timer.environment = process.environment
    timer.signal = process.scratch
    timer.bytes = <int64_t>process.scratch.capacity
    if timer.signal.kind == SIGNAL_MESSAGE:
        timer.signal.sender = process.pid
    timer.node.index = -1
    timer.node.kind = TIMER_SEND
    timer.node.owner = timer
    process.scratch = NULL
    id = table_add(&process.timers, timer)
    if id == <uint64_t>-1:
        process.host_bytes -= timer.bytes
        timer.references = 1
        release_timer(timer)
        return trap(b"lunatic::timer::send_after: a process holds at most 1000000 timers")
    if target_is_crowded(process, timer):
        let_go_now(process)
    timer.node.deadline_ns = luna_now_ns() + <int64_t>delay_ms * 1_000_000
    is_near = timer.target >> NODE_SHIFT == process.runtime.node_id
    is_dead = is_near and not list_timer(timer)
    # One for the dead is started all the same, to be dropped as if its target had died just now.
    if not set_timer(process.runtime, &timer.node, timer.node.deadline_ns):
        if unlist_timer(timer):
            release_timer(timer)
        release_timer(timer)
        return trap(b"lunatic::timer::send_after: no memory for another timer")
    if is_dead or (is_near and not is_listed(timer)):
        drop_timer(timer)  # its target died meanwhile, or the timer has fired
    args[0].i64 = <int64_t>id
    return NULL


cdef int target_is_crowded(Process* process, const Timer* timer) noexcept nogil:
    """Whether the queue for a timer's remote target is full; then the process is marked to wait, as by `send`."""
    cdef int node = <int>(timer.target >> NODE_SHIFT)
    cdef int lane = wanted_lane(timer.signal)
    if node == process.runtime.node_id or not is_crowded(process.runtime, node, lane):
        return 0
    process.crowded_node = node
    process.crowded_lane = lane
    return 1


cdef void forget_fired(Process* process) noexcept nogil:
    """Let go of the timers that have fired. Done when the table is full: each call pays for as many again."""
    cdef size_t index = 0
    cdef Timer* timer
    cdef IdTable* table = &process.timers
    for index in range(table.count):
        timer = <Timer*>table.values[index]
        if timer != NULL and luna_load(&timer.references) == 1:
            table.values[index] = NULL
            table.removed += 1
            process.host_bytes -= timer.bytes
            release_timer(timer)


cdef wasm_trap_t* cancel_timer(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Timer* timer = <Timer*>table_remove(&process.timers, <uint64_t>args[0].i64)
    args[0].i32 = 0
    if timer == NULL:
        return NULL
    process.host_bytes -= timer.bytes
    if stop_timer(process.runtime, &timer.node):
        args[0].i32 = 1
        release_timer(timer)
    elif luna_load(&timer.dropped) and luna_now_ns() < timer.node.deadline_ns:
        args[0].i32 = 1
    if unlist_timer(timer):
        release_timer(timer)
    release_timer(timer)
    return NULL


# -- lunatic::version: the interface implemented is that of 0.13.2 ------------------------------

cdef wasm_trap_t* version_major(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    args[0].i32 = 0
    return NULL


cdef wasm_trap_t* version_minor(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    args[0].i32 = 13
    return NULL


cdef wasm_trap_t* version_patch(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    args[0].i32 = 2
    return NULL


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::error", "string_size"): (<size_t>string_size, False),
        ("lunatic::error", "to_string"): (<size_t>to_string, False),
        ("lunatic::error", "drop"): (<size_t>drop_error, False),
        ("lunatic::timer", "send_after"): (<size_t>send_after, False),
        ("lunatic::timer", "cancel_timer"): (<size_t>cancel_timer, False),
        ("lunatic::version", "major"): (<size_t>version_major, False),
        ("lunatic::version", "minor"): (<size_t>version_minor, False),
        ("lunatic::version", "patch"): (<size_t>version_patch, False),
    }
