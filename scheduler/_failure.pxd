from luna.scheduler._types cimport *

cdef void end_with_status(Process* process, int status) noexcept nogil
cdef void end_with_error(Process* process, wasmtime_error_t* error) noexcept nogil
cdef void end_with_trap(Process* process, wasm_trap_t* trap) noexcept nogil
cdef void log_failure(Process* process) noexcept nogil
