"""Why a process failed: its reason with the wasm backtrace, and whether the node's log has it.

Turning a trap into words costs more than the rest of a process's end, and a
server may lose a hundred thousand processes in a second. So it is done only if
somebody reads the words: whoever waits for the process or its output, or the
log, which takes some failures of each second in full and of the others their
number.
"""

from libc.stdio cimport snprintf
from libc.stdlib cimport malloc
from libc.string cimport memcmp, memcpy, strlen
from libcpp.string cimport string

from luna.scheduler._events cimport emit
from luna.scheduler._names cimport names_of
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport end
from luna.scheduler._types cimport *

cdef extern from "<string.h>" nogil:
    void* memmem(const void*, size_t, const void*, size_t)

# How wasmtime writes a failure: the frames, then its cause.
cdef const char* BACKTRACE = b"error while executing at wasm backtrace:\n"
cdef const char* CAUSE = b"\n\nCaused by:\n"
# How it is told here: the cause, then the frames, so that no bound cuts the cause.
cdef const char* FRAMES = b"\nwasm backtrace:\n"


cdef int has_place_in_log(Runtime* runtime) noexcept nogil:
    """Whether the log takes one more failure in full; else it is counted."""
    cdef int64_t now = luna_now_ns()
    # Two threads may both begin a new second; then it has a few places more.
    if now - luna_load64(&runtime.failures_since) >= FAILURES_NS:
        luna_store64(&runtime.failures_since, now)
        luna_store(&runtime.failures_logged, 0)
    if luna_add(&runtime.failures_logged, 1) <= FAILURES_LOGGED:
        return 1
    if luna_add64(&runtime.failures_counted, 1) == 1:
        emit(runtime, EVENT_FLOOD, 0, 0, 0, NULL, NULL)
    return 0


cdef int is_logged(Process* process) noexcept nogil:
    """Whether the log has this failure in full; asked of it once."""
    if process.logged == LOG_UNDECIDED:
        process.logged = LOG_FULL if has_place_in_log(process.runtime) else LOG_COUNTED
    return process.logged == LOG_FULL


cdef int is_read(Process* process) noexcept nogil:
    """Whether anybody will see the words; nobody will if it has ended already, by proc_exit."""
    if process.exit_kind >= 0:
        return 0
    if process.runtime.trace & TRACE_LIVES:
        return 1
    return process.watched or process.phase <= PHASE_INSTANTIATING or process.output.size > 0 or is_logged(process)


cdef void split_message(const char* data, size_t size, Told* told) noexcept nogil:
    """Find cause and frames in wasmtime's words; without frames all of them are the cause."""
    cdef const char* found
    told.cause = data
    told.cause_size = size
    told.frames = data
    told.frames_size = 0
    if size > strlen(BACKTRACE) and memcmp(data, BACKTRACE, strlen(BACKTRACE)) == 0:
        told.frames = data + strlen(BACKTRACE)
        told.frames_size = size - strlen(BACKTRACE)
        found = <const char*>memmem(told.frames, told.frames_size, CAUSE, strlen(CAUSE))
        if found != NULL:
            told.cause = found + strlen(CAUSE)
            told.cause_size = size - <size_t>(told.cause - data)
            told.frames_size = <size_t>(found - told.frames)
    while told.cause_size > 0 and told.cause[0] == 0x20:
        told.cause += 1
        told.cause_size -= 1


cdef void end_with_message(Process* process, const char* data, size_t size, const char* known_cause) noexcept nogil:
    """Note wasmtime's words, or `known_cause` with their frames, as the reason."""
    cdef Told told
    cdef char* text
    split_message(data, size, &told)
    if known_cause != NULL:
        told.cause = known_cause
        told.cause_size = strlen(known_cause)
    while told.cause_size > 0 and told.cause[told.cause_size - 1] == 10:
        told.cause_size -= 1
    told.cause_size = min(told.cause_size, <size_t>TEXT_MAX)
    told.frames_size = min(told.frames_size, <size_t>BACKTRACE_BYTES_MAX)
    text = <char*>malloc(told.cause_size + strlen(FRAMES) + told.frames_size + 1)
    memcpy(text, told.cause, told.cause_size)
    size = told.cause_size
    if told.frames_size > 0:
        memcpy(text + size, FRAMES, strlen(FRAMES))
        memcpy(text + size + strlen(FRAMES), told.frames, told.frames_size)
        size += strlen(FRAMES) + told.frames_size
    text[size] = 0
    process.exit_kind = EXIT_FAILURE
    process.exit_code = 1
    process.exit_text = text


cdef void end_with_status(Process* process, int status) noexcept nogil:
    """Note that the process called proc_exit. A shell sees 8 bits of its code."""
    cdef char text[64]
    cdef int code = status & 0xFF
    if status == 0:
        end(process, EXIT_NORMAL, 0, b"exited with code 0")
        return
    if code == 0:
        code = 1  # a failure must not look like success
    snprintf(text, sizeof(text), b"exited with code %d", status)
    end(process, EXIT_FAILURE, code, text)


cdef void end_with_error(Process* process, wasmtime_error_t* error) noexcept nogil:
    """Note how the process failed; consumes the error."""
    cdef wasm_byte_vec_t message
    if is_read(process):
        wasmtime_error_message(error, &message)
        end_with_message(process, message.data, message.size, NULL)
        wasm_byte_vec_delete(&message)
    else:
        end(process, EXIT_FAILURE, 1, b"trap")
    wasmtime_error_delete(error)


cdef int is_out_of_fuel(const wasm_trap_t* trap) noexcept nogil:
    """Whether a trap is the end of the process's compute limit."""
    cdef uint8_t code = 255
    return wasmtime_trap_code(trap, &code) and code == LUNA_TRAP_OUT_OF_FUEL


cdef void end_with_trap(Process* process, wasm_trap_t* trap) noexcept nogil:
    """Note how the process failed; consumes the trap."""
    cdef wasm_byte_vec_t message
    cdef const char* cause = NULL
    if is_read(process):
        if is_out_of_fuel(trap):
            cause = b"all fuel consumed: the compute limit is reached"
        wasm_trap_message(trap, &message)  # ends with a zero byte
        end_with_message(process, message.data, strlen(message.data), cause)
        wasm_byte_vec_delete(&message)
    else:
        end(process, EXIT_FAILURE, 1, b"trap")
    wasm_trap_delete(trap)


cdef void log_failure(Process* process) noexcept nogil:
    """Have the log tell of a process that failed. Before anyone linked to it can act: its names may go on."""
    cdef int64_t links = <int64_t>process.links.size() if process.links != NULL else 0
    cdef vector[string]* names
    cdef int64_t count
    if process.logged != LOG_NEVER and is_logged(process):
        names = new vector[string]()
        count = names_of(process.runtime, process.pid, names)
        emit(process.runtime, EVENT_FAILED, process.pid, links, count, names, process.exit_text)
