from libc.stdint cimport int64_t
from luna.scheduler._types cimport *

cdef void init_clock(Runtime* runtime) noexcept nogil
cdef void empty_clock(Runtime* runtime) noexcept nogil
cdef int set_timer(Runtime* runtime, TimerNode* node, int64_t deadline_ns) noexcept nogil
cdef int cancel_timer(Runtime* runtime, TimerNode* node) noexcept nogil
cdef void keep_ticking(Runtime* runtime) noexcept nogil
cdef void drop_timer(Timer* timer) noexcept nogil
cdef void* run_clock(void* argument) noexcept nogil
