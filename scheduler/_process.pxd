from libc.stdint cimport int64_t, uint32_t, uint64_t
from luna.scheduler._types cimport *

cdef Process* new_process(Runtime* runtime, Module* module, Config* config, uint64_t environment, Output* output, const char* entry, size_t entry_size) noexcept nogil
cdef int launch(Process* process) noexcept nogil
cdef void drain(Process* process) noexcept nogil
cdef void end_wait(Process* process, int64_t result) noexcept nogil
cdef void end(Process* process, int kind, int code, const char* text) noexcept nogil
cdef void take_as_scratch(Process* process, Signal* signal) noexcept nogil
cdef void arrive(Process* process, Signal* signal) noexcept nogil
cdef void bury(Process* process) noexcept nogil
cdef void free_process(Process* process) noexcept nogil
cdef int reserve_host_bytes(Process* process, int64_t bytes) noexcept nogil
cdef uint64_t add_error(Process* process, const char* text, size_t size) noexcept nogil
