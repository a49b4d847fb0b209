"""Host functions of WASI that wasmtime's own would not do as we need.

Those that wait, so that no scheduler thread does; those of clocks; and those by
which a guest comes to its directories, that are opened only then. These are
passed on to wasmtime's own: through an instance in the process's store that
imports them and exports the guest's memory as its own, where they look for it.

Source: WASI snapshot preview 1, witx definitions (errno, sizes and offsets).
"""

from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from luna.scheduler._guest cimport *
from luna.scheduler._host_request cimport request
from luna.scheduler._nested cimport *
from luna.scheduler._output cimport write_output
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport end_wait
from luna.scheduler._types cimport *
from luna.scheduler._wasi cimport open_files

cdef enum:
    SUBSCRIPTION_BYTES = 48
    EVENT_BYTES = 32
    ERRNO_BAD_DESCRIPTOR = 8
    ERRNO_FAULT = 21
    ERRNO_INVALID = 28
    CLOCK_REALTIME_ID = 0
    CLOCK_MONOTONIC_ID = 1
    ABSOLUTE_TIME = 1
    SUBSCRIBE_READ = 1
    FDSTAT_BYTES = 24
    CHARACTER_DEVICE = 2
    RIGHT_READ = 1 << 1
    RIGHT_WRITE = 1 << 6
    TERMINAL_RIGHTS = 1 << 3 | 1 << 21 | 1 << 27   # set flags, attributes, poll
    STDIN = 0
    FIRST_FILE = 3             # descriptors below are the standard streams
    NAMESPACE_BYTES = 24       # of "wasi_snapshot_preview1::"

cdef extern from "<unistd.h>" nogil:
    int isatty(int)

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


cdef int64_t now_of(Process* process, uint32_t clock) noexcept nogil:
    """Nanoseconds; the monotonic clock began at zero when the process was born."""
    cdef timespec now
    if clock == CLOCK_REALTIME_ID:
        clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * <int64_t>1_000_000_000 + now.tv_nsec
    return luna_now_ns() - process.wasi_start_ns


cdef wasm_trap_t* clock_time_get(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef uint32_t clock = <uint32_t>args[0].i32
    cdef uint8_t* out = span(process, caller, <uint32_t>args[2].i32, 8)
    cdef int64_t now
    if clock > CLOCK_MONOTONIC_ID:
        args[0].i32 = ERRNO_BAD_DESCRIPTOR if clock <= 3 else ERRNO_INVALID  # as wasmtime's
    elif out == NULL:
        args[0].i32 = ERRNO_FAULT
    else:
        now = now_of(process, clock)
        memcpy(out, &now, 8)
        args[0].i32 = 0
    return NULL


cdef int64_t time_to_wait(Process* process, const uint8_t* subscription) noexcept nogil:
    """Nanoseconds a clock subscription asks for; 0 when the time has come."""
    cdef uint32_t clock
    cdef uint64_t timeout
    cdef uint16_t flags
    cdef int64_t now_ns
    memcpy(&clock, subscription + 16, 4)
    memcpy(&timeout, subscription + 24, 8)
    memcpy(&flags, subscription + 40, 2)
    if timeout > <uint64_t>0x3FFFFFFFFFFFFFFF:
        timeout = 0x3FFFFFFFFFFFFFFF
    if not flags & ABSOLUTE_TIME:
        return <int64_t>timeout
    now_ns = now_of(process, clock)
    return <int64_t>timeout - now_ns if <int64_t>timeout > now_ns else 0


cdef int reads_stdin(Process* process) noexcept nogil:
    """Whether its descriptor 0 is the standard input, that Python reads."""
    return process.output.mode == OUTPUT_INHERIT and not process.replaced_streams & 1


cdef int waits_for_stdin(Process* process, const uint8_t* subscription) noexcept nogil:
    cdef uint32_t fd
    memcpy(&fd, subscription + 16, 4)
    return subscription[8] == SUBSCRIBE_READ and fd == STDIN and reads_stdin(process)


cdef void poll_oneoff(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """Clocks suspend the process; files are always ready. Waiting for the standard input is Python's."""
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
    cdef int has_stdin = 0
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
        if waits_for_stdin(process, subscription):
            has_stdin = 1
            continue
        if subscription[8] != 0:
            has_file = 1
            continue
        clock_ns = time_to_wait(process, subscription)
        if wait_ns < 0 or clock_ns < wait_ns:
            wait_ns = clock_ns
    if has_stdin and not has_file:
        free(subscriptions)
        process.wait = WAIT_NONE
        request(env, caller, args, nargs, results, nresults, trap_out, continuation)
        return
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


# -- passing calls on ------------------------------------------------------------------

cdef void answer(wasmtime_val_t* results, wasmtime_async_continuation_t* continuation, int errno) noexcept nogil:
    results[0].kind = LUNA_WASM_I32
    results[0].of.i32 = errno
    answer_at_once(continuation)


cdef Relay* relay_of(Process* process) noexcept nogil:
    cdef Runtime* runtime = process.runtime
    cdef wasm_engine_t* engine = process.module.fuel_engine if process.config.max_fuel else process.module.engine
    cdef int index
    for index in range(luna_load(&runtime.engine_count)):
        if runtime.engines[index] == engine:
            return &runtime.relays[index]
    return NULL


cdef void pass_on(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """Have wasmtime's own function of this name answer, with the directories open."""
    cdef Process* process = caller_process(caller)
    cdef NestedCall* call
    cdef Relay* relay = relay_of(process)
    cdef wasmtime_extern_t memory
    cdef size_t index
    answer(results, continuation, 0)
    if not find_memory(process, caller):
        trap_out[0] = out_of_bounds((<Row*>env).name)
        return
    if not process.has_files and process.config.preopens.size() > 0:
        trap_out[0] = open_files(process)
        if trap_out[0] != NULL:
            return
    call = new_nested(process, results, trap_out)
    continuation.callback = resume_passed
    continuation.env = call
    continuation.finalizer = free_nested
    call.export = (<Row*>env).name + NAMESPACE_BYTES
    call.arg_count = nargs
    for index in range(nargs):
        call.args[index] = args[index]
    if process.has_relay:
        call_relay(call)
        return
    memory.kind = LUNA_EXTERN_MEMORY
    memory.of.memory = process.memory
    call.linker = wasmtime_linker_clone(relay.linker)
    call.error = wasmtime_linker_define(call.linker, process.context, b"guest", 5, b"memory", 6, &memory)
    if call.error == NULL:
        begin_instance(call, relay.module, &process.relay)


cdef void call_relay(NestedCall* call) noexcept nogil:
    cdef Process* process = call.process
    cdef wasmtime_extern_t export
    process.has_relay = 1
    # It exports all of these, for both were made of one table.
    wasmtime_instance_export_get(process.context, &process.relay, call.export, strlen(call.export), &export)
    call.function = export.of.func
    call.has_function = 1
    begin_nested(call, call.arg_count, 1)


cdef wbool resume_passed(void* env) noexcept nogil:
    cdef NestedCall* call = <NestedCall*>env
    if not poll_nested(call):
        return False
    if not call.has_function and call.trap == NULL and call.error == NULL:
        end_nested(call)
        call_relay(call)
        if not poll_nested(call):
            return False
    if nested_failed(call):
        call.trap_out[0] = take_trap(call, b"")
    else:
        call.results_out[0].of.i32 = call.result[0].of.i32
        if call.result[0].of.i32 == 0:
            call.process.replaced_streams |= call.streams
    return True


cdef void touch_file(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """A call that may be the first one about a directory."""
    cdef Process* process = caller_process(caller)
    if process.config.preopens.size() == 0 and not 0 <= args[0].of.i32 < FIRST_FILE:
        answer(results, continuation, ERRNO_BAD_DESCRIPTOR)
        return
    pass_on(env, caller, args, nargs, results, nresults, trap_out, continuation)


cdef void fd_read(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """Standard input is read by Python, which can wait; anything else by wasmtime."""
    cdef Process* process = caller_process(caller)
    if args[0].of.i32 == STDIN and reads_stdin(process):
        request(env, caller, args, nargs, results, nresults, trap_out, continuation)
        return
    pass_on(env, caller, args, nargs, results, nresults, trap_out, continuation)


cdef int64_t gather(Process* process, wasmtime_caller_t* caller, uint32_t vectors_at, uint32_t count, char* buffer) noexcept nogil:
    """Copy what the guest's vectors hold, up to OUTPUT_RECORD_BYTES; -1 when one is out of bounds."""
    cdef uint8_t* vectors = span(process, caller, vectors_at, <uint64_t>count * 8)
    cdef uint8_t* data
    cdef uint32_t index
    cdef uint32_t extent[2]
    cdef uint32_t size = 0
    if vectors == NULL:
        return -1
    for index in range(count):
        memcpy(extent, vectors + <size_t>index * 8, 8)
        data = span(process, caller, extent[0], extent[1])
        if data == NULL:
            return -1
        if extent[1] > OUTPUT_RECORD_BYTES - size:
            extent[1] = OUTPUT_RECORD_BYTES - size
        memcpy(buffer + size, data, extent[1])
        size += extent[1]
        if size == OUTPUT_RECORD_BYTES:
            break
    return size


cdef void fd_write(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """What is printed goes where it belongs at once; wasmtime would have another thread write it."""
    cdef Process* process = caller_process(caller)
    cdef int stream = args[0].of.i32
    cdef uint32_t count = <uint32_t>args[2].of.i32
    cdef uint8_t* out
    cdef char* buffer
    cdef int64_t size
    cdef uint32_t written
    if not STDIN < stream < FIRST_FILE or process.replaced_streams >> stream & 1:
        pass_on(env, caller, args, nargs, results, nresults, trap_out, continuation)
        return
    answer(results, continuation, 0)
    if count > VECTORS_MAX:
        count = VECTORS_MAX
    buffer = <char*>malloc(OUTPUT_RECORD_BYTES)
    size = gather(process, caller, <uint32_t>args[1].of.i32, count, buffer)
    out = span(process, caller, <uint32_t>args[3].of.i32, 4)
    if size < 0 or out == NULL:
        results[0].of.i32 = ERRNO_FAULT
    else:
        written = <uint32_t>write_output(process.output, stream, <const unsigned char*>buffer, <size_t>size)
        memcpy(out, &written, 4)
    free(buffer)


cdef void fd_fdstat_get(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """A terminal is told as one: programs then print line by line, or in colours."""
    cdef Process* process = caller_process(caller)
    cdef int stream = args[0].of.i32
    cdef uint8_t* out
    cdef uint64_t rights
    if not 0 <= stream < FIRST_FILE or process.replaced_streams >> stream & 1 or \
            process.output.mode != OUTPUT_INHERIT or not isatty(stream):
        pass_on(env, caller, args, nargs, results, nresults, trap_out, continuation)
        return
    out = span(process, caller, <uint32_t>args[1].of.i32, FDSTAT_BYTES)
    if out == NULL:
        answer(results, continuation, ERRNO_FAULT)
        return
    # Without the rights to seek and tell, which is what libraries go by.
    rights = TERMINAL_RIGHTS | (RIGHT_READ if stream == STDIN else RIGHT_WRITE)
    memset(out, 0, FDSTAT_BYTES)
    out[0] = CHARACTER_DEVICE
    memcpy(out + 8, &rights, 8)
    answer(results, continuation, 0)


cdef void replace_descriptor(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    """fd_close and fd_renumber: a standard stream may be gone afterwards, or be another file."""
    cdef int streams = 0
    cdef size_t index
    for index in range(nargs):
        if 0 <= args[index].of.i32 < FIRST_FILE:
            streams |= 1 << args[index].of.i32
    pass_on(env, caller, args, nargs, results, nresults, trap_out, continuation)
    if continuation.callback == resume_passed:
        (<NestedCall*>continuation.env).streams = streams


FILE_FUNCTIONS = (
    "fd_prestat_get", "fd_prestat_dir_name", "fd_readdir", "fd_filestat_get",
    "path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link", "path_open",
    "path_readlink", "path_remove_directory", "path_rename", "path_symlink", "path_unlink_file",
)
"""By one of these a guest first comes to a directory."""


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    wasi = "wasi_snapshot_preview1"
    return {(wasi, name): (<size_t>touch_file, True) for name in FILE_FUNCTIONS} | {
        (wasi, "proc_exit"): (<size_t>proc_exit, False),
        (wasi, "clock_time_get"): (<size_t>clock_time_get, False),
        (wasi, "poll_oneoff"): (<size_t>poll_oneoff, True),
        (wasi, "sched_yield"): (<size_t>sched_yield, True),
        (wasi, "fd_read"): (<size_t>fd_read, True),
        (wasi, "fd_fdstat_get"): (<size_t>fd_fdstat_get, True),
        (wasi, "fd_write"): (<size_t>fd_write, True),
        (wasi, "fd_close"): (<size_t>replace_descriptor, True),
        (wasi, "fd_renumber"): (<size_t>replace_descriptor, True),
    }
