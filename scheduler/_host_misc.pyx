"""Host functions of `lunatic::{error, timer, version}` and three of WASI's."""

from libc.stdint cimport uint16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from luna.scheduler._clock cimport cancel_timer as stop_timer, release_timer, set_timer
from luna.scheduler._guest cimport *
from luna.scheduler._platform cimport *
from luna.scheduler._peers cimport is_crowded
from luna.scheduler._process cimport end_wait, reserve_host_bytes
from luna.scheduler._signals cimport *
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
    if process.scratch == NULL:
        return trap(b"lunatic::timer::send_after: there is no message: create or receive one first")
    if args[0].i64 >> NODE_SHIFT != process.runtime.node_id and (
        process.scratch.kind != SIGNAL_MESSAGE or process.scratch.resource_count > 0
        or process.scratch.size > REMOTE_MESSAGE_BYTES_MAX
    ):
        return trap(b"lunatic::timer::send_after: only plain data of at most 48 MiB can be sent to another node")
    if process.timers.count == process.timers.capacity:
        forget_fired(process)
    if not reserve_host_bytes(process, <int64_t>process.scratch.capacity):
        forget_fired(process)
        if not reserve_host_bytes(process, <int64_t>process.scratch.capacity):
            return trap(b"lunatic::timer::send_after: the messages of this process's timers are too large together")
    if delay_ms > <uint64_t>0x7FFFFFFF:  # 24 days; longer ones count as that
        delay_ms = 0x7FFFFFFF
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
        timer.references = 1
        release_timer(timer)
        return trap(b"lunatic::timer::send_after: a process holds at most 1000000 timers")
    if target_is_crowded(process, args[0].i64):
        let_go_now(process)
    if not set_timer(process.runtime, &timer.node, luna_now_ns() + <int64_t>delay_ms * 1_000_000):
        release_timer(timer)
        return trap(b"lunatic::timer::send_after: no memory for another timer")
    args[0].i64 = <int64_t>id
    return NULL


cdef int target_is_crowded(Process* process, int64_t target) noexcept nogil:
    """Whether a remote target's queue is full; then the process is marked to pause, as by `send`."""
    cdef int node = <int>(target >> NODE_SHIFT)
    if node == process.runtime.node_id or not is_crowded(process.runtime, node):
        return 0
    process.blocked_node = node
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


# -- WASI calls that wasmtime's own would not do as we need ------------------------------------------------------------------------

cdef enum:
    SUBSCRIPTION_BYTES = 48
    EVENT_BYTES = 32
    ERRNO_INVALID = 28
    CLOCK_REALTIME_ID = 0
    ABSOLUTE_TIME = 1

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec*)
    int CLOCK_REALTIME


cdef wasm_trap_t* proc_exit(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    # wasmtime's takes codes below 126 only.
    cdef Process* process = caller_process(caller)
    process.exiting = 1
    process.exit_status = args[0].i32
    return trap(b"exit")


cdef void sched_yield(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    prepare(process, results, nresults, trap_out, continuation)
    process.yielding = 1
    continuation.callback = resume_after_yield


cdef wbool resume_after_yield(void* env) noexcept nogil:
    # Pending once, without anything to wait for: the thread takes it for preempted.
    cdef Process* process = <Process*>env
    if process.yielding:
        process.yielding = 0
        return False
    process.wait = WAIT_DONE
    process.wait_result = 0
    return resume(env)


cdef int64_t time_to_wait(Process* process, const uint8_t* subscription) noexcept nogil:
    """Nanoseconds a clock subscription asks for; 0 when the time has come."""
    cdef uint32_t clock
    cdef uint64_t timeout
    cdef uint16_t flags
    cdef timespec now
    cdef int64_t now_ns
    memcpy(&clock, subscription + 16, 4)
    memcpy(&timeout, subscription + 24, 8)
    memcpy(&flags, subscription + 40, 2)
    if timeout > <uint64_t>0x3FFFFFFFFFFFFFFF:
        timeout = 0x3FFFFFFFFFFFFFFF
    if not flags & ABSOLUTE_TIME:
        return <int64_t>timeout
    if clock == CLOCK_REALTIME_ID:
        clock_gettime(CLOCK_REALTIME, &now)
        now_ns = now.tv_sec * <int64_t>1_000_000_000 + now.tv_nsec
    else:
        now_ns = luna_now_ns() - process.wasi_start_ns  # the guest's clock began at zero
    return <int64_t>timeout - now_ns if <int64_t>timeout > now_ns else 0


cdef void poll_oneoff(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """WASI preview 1 poll_oneoff: clocks suspend the process; files are always ready.

    Source: witx definition of `subscription` and `event` (sizes and offsets).
    """
    cdef Process* process = caller_process(caller)
    cdef uint32_t count = <uint32_t>args[2].of.i32
    cdef uint8_t* source
    cdef uint8_t* event
    cdef uint8_t* reported_out
    cdef uint8_t* subscriptions
    cdef uint8_t* subscription
    cdef uint32_t index
    cdef uint32_t reported = 0
    cdef int64_t wait_ns = -1
    cdef int64_t clock_ns
    cdef int has_file = 0
    prepare(process, results, nresults, trap_out, continuation)
    process.wait = WAIT_SLEEP
    if count == 0 or count > POLL_SUBSCRIPTIONS_MAX:
        end_wait(process, ERRNO_INVALID)
        return
    source = span(process, caller, <uint32_t>args[0].of.i32, <uint64_t>count * SUBSCRIPTION_BYTES)
    event = span(process, caller, <uint32_t>args[1].of.i32, <uint64_t>count * EVENT_BYTES)
    reported_out = span(process, caller, <uint32_t>args[3].of.i32, 4)
    if source == NULL or event == NULL or reported_out == NULL:
        fail_out_of_bounds(process, b"wasi_snapshot_preview1::poll_oneoff")
        return
    # A copy: the guest may have events written over its subscriptions.
    subscriptions = <uint8_t*>malloc(<size_t>count * SUBSCRIPTION_BYTES)
    memcpy(subscriptions, source, <size_t>count * SUBSCRIPTION_BYTES)
    for index in range(count):
        subscription = subscriptions + index * SUBSCRIPTION_BYTES
        if subscription[8] != 0:
            has_file = 1
            continue
        clock_ns = time_to_wait(process, subscription)
        if wait_ns < 0 or clock_ns < wait_ns:
            wait_ns = clock_ns
    # Events are written before the wait: the memory is the guest's, and it sleeps meanwhile.
    for index in range(count):
        subscription = subscriptions + index * SUBSCRIPTION_BYTES
        if subscription[8] == 0 and (has_file or time_to_wait(process, subscription) > wait_ns):
            continue
        memset(event, 0, EVENT_BYTES)
        memcpy(event, subscription, 8)  # userdata
        event[10] = subscription[8]     # type
        event += EVENT_BYTES
        reported += 1
    free(subscriptions)
    memcpy(reported_out, &reported, 4)
    if has_file or wait_ns <= 0:
        end_wait(process, 0)
        return
    process.has_timer = 1
    process.timer.deadline_ns = luna_now_ns() + wait_ns


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
        ("wasi_snapshot_preview1", "proc_exit"): (<size_t>proc_exit, False),
        ("wasi_snapshot_preview1", "poll_oneoff"): (<size_t>poll_oneoff, True),
        ("wasi_snapshot_preview1", "sched_yield"): (<size_t>sched_yield, True),
    }
