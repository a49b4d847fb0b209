from libc.stdint cimport int64_t, uint32_t, uint64_t
from luna.scheduler._types cimport *

cdef const char* send_scratch(Process* process, int64_t target) noexcept nogil
cdef wasm_trap_t* no_scratch(const char* function) noexcept nogil
cdef wasm_trap_t* not_data(const char* function) noexcept nogil
cdef void await_message(Process* process, uint32_t tag_count, uint64_t timeout_ms) noexcept nogil
cdef void receive_tagged(Process* process, wasmtime_caller_t* caller, uint32_t tags_at, uint32_t tag_count, uint64_t timeout_ms) noexcept nogil
