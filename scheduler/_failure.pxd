from luna.scheduler._types cimport *

# Parts of wasmtime's words about a failure.
cdef struct Told:
    const char* cause
    size_t cause_size
    const char* frames
    size_t frames_size

cdef void end_with_status(Process* process, int status) noexcept nogil
cdef void end_with_error(Process* process, wasmtime_error_t* error) noexcept nogil
cdef void end_with_trap(Process* process, wasm_trap_t* trap) noexcept nogil
cdef void log_failure(Process* process) noexcept nogil
cdef void split_message(const char* data, size_t size, Told* told) noexcept nogil
cdef int is_out_of_fuel(const wasm_trap_t* trap) noexcept nogil
