# What host functions share: the calling process, its memory, traps, waiting.

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, strlen

from luna.scheduler._platform cimport luna_now_ns

from luna.scheduler._process cimport end_wait
from luna.scheduler._types cimport *

cdef inline Process* caller_process(wasmtime_caller_t* caller) noexcept nogil:
    return <Process*>wasmtime_context_get_data(wasmtime_caller_context(caller))


cdef inline int find_memory(Process* process, wasmtime_caller_t* caller) noexcept nogil:
    cdef wasmtime_extern_t export
    if process.has_memory:
        return 1
    if not wasmtime_caller_export_get(caller, b"memory", 6, &export) or export.kind != LUNA_EXTERN_MEMORY:
        return 0
    process.memory = export.of.memory
    process.has_memory = 1
    return 1


cdef inline uint8_t* span(Process* process, wasmtime_caller_t* caller, uint32_t pointer, uint64_t size) noexcept nogil:
    """The guest's bytes, NULL when any of them lies outside its memory."""
    if not find_memory(process, caller):
        return NULL
    if <uint64_t>pointer + size > wasmtime_memory_data_size(process.context, &process.memory):
        return NULL
    return wasmtime_memory_data(process.context, &process.memory) + pointer


cdef inline wasm_trap_t* trap(const char* text) noexcept nogil:
    return wasmtime_trap_new(text, strlen(text))


cdef inline wasm_trap_t* out_of_bounds(const char* function) noexcept nogil:
    cdef char text[160]
    snprintf(text, sizeof(text), b"%s: a pointer or length lies outside the guest's memory, or it exports none", function)
    return trap(text)


cdef inline int is_utf8(const uint8_t* text, size_t size) noexcept nogil:
    """Whether bytes are UTF-8 (RFC 3629: shortest form, no surrogates, up to U+10FFFF)."""
    cdef size_t index = 0
    cdef int more
    cdef uint32_t value, least
    cdef uint8_t byte
    while index < size:
        byte = text[index]
        index += 1
        if byte < 0x80:
            continue
        if byte & 0xE0 == 0xC0:
            more, value, least = 1, byte & 0x1F, 0x80
        elif byte & 0xF0 == 0xE0:
            more, value, least = 2, byte & 0x0F, 0x800
        elif byte & 0xF8 == 0xF0:
            more, value, least = 3, byte & 0x07, 0x10000
        else:
            return 0
        while more > 0:
            if index >= size or text[index] & 0xC0 != 0x80:
                return 0
            value = value << 6 | (text[index] & 0x3F)
            index += 1
            more -= 1
        if value < least or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            return 0
    return 1


cdef extern from "<stdio.h>" nogil:
    int snprintf(char*, size_t, const char*, ...)


# -- functions that suspend -----------------------------------------------------------

cdef wbool resume(void* env) noexcept nogil
cdef wbool at_once(void* env) noexcept nogil

cdef inline void prepare(
    Process* process, wasmtime_val_t* results, size_t result_count,
    wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation,
) noexcept nogil:
    """Note where the answer goes. To be called first by every suspending function."""
    process.wait_results = results
    process.wait_result_count = result_count
    process.wait_trap_out = trap_out
    process.wait_writes = 0
    continuation.callback = resume
    continuation.env = process
    continuation.finalizer = NULL


cdef inline void answer_at_once(wasmtime_async_continuation_t* continuation) noexcept nogil:
    """Go on without having waited: what the function stored or trapped with is the answer."""
    continuation.callback = at_once
    continuation.env = NULL
    continuation.finalizer = NULL


cdef inline void fail(Process* process, const char* text) noexcept nogil:
    """Trap instead of waiting."""
    process.wait_trap_out[0] = trap(text)
    process.wait = WAIT_DONE


cdef inline void fail_out_of_bounds(Process* process, const char* function) noexcept nogil:
    process.wait_trap_out[0] = out_of_bounds(function)
    process.wait = WAIT_DONE


cdef inline void set_deadline(Process* process, uint64_t milliseconds) noexcept nogil:
    """End the coming wait after that time; all ones: never."""
    if milliseconds == <uint64_t>-1:
        return
    if milliseconds > MILLISECONDS_MAX:
        milliseconds = MILLISECONDS_MAX
    process.has_timer = 1
    process.timer.deadline_ns = luna_now_ns() + <int64_t>milliseconds * 1_000_000
