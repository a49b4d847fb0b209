from libc.stdint cimport int64_t, uint64_t
from luna.scheduler._types cimport *

cdef void init_table(Runtime* runtime) noexcept nogil
cdef Process** take_slots(Shard* shard, size_t* capacity) noexcept nogil
cdef int insert(Runtime* runtime, Process* process) noexcept nogil
cdef Timer* remove(Runtime* runtime, Process* process) noexcept nogil
cdef int list_timer(Timer* timer) noexcept nogil
cdef int unlist_timer(Timer* timer) noexcept nogil
cdef int is_listed(Timer* timer) noexcept nogil
cdef int post(Runtime* runtime, int64_t pid, uint64_t environment, Signal* signal) noexcept nogil
cdef int is_alive(Runtime* runtime, int64_t pid, uint64_t environment) noexcept nogil
cdef void push_inbox(Process* process, Signal* signal) noexcept nogil
cdef Signal* take_inbox(Process* process) noexcept nogil
cdef Process* lock_process(Runtime* runtime, int64_t pid) noexcept nogil
cdef void unlock_process(Runtime* runtime, int64_t pid) noexcept nogil
