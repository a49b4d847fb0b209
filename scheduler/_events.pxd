from libc.stdint cimport int64_t
from luna.scheduler._types cimport *

cdef int init_events(Runtime* runtime) noexcept nogil
cdef void close_events(Runtime* runtime) noexcept nogil
cdef void emit(Runtime* runtime, int kind, int64_t a, int64_t b, int64_t c, void* pointer, const char* text) noexcept nogil
cdef Event* take_events(Runtime* runtime) noexcept nogil
cdef void free_event(Event* event) noexcept nogil

cdef Request* new_request(Process* process, int row) noexcept nogil
cdef void release_request(Request* request) noexcept nogil
cdef void abandon_request(Process* process) noexcept nogil
