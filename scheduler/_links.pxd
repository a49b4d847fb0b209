from libc.stdint cimport int64_t, uint32_t, uint64_t
from luna.scheduler._types cimport *

cdef uint32_t bind_to_node(Process* process, int64_t peer, uint32_t session) noexcept nogil
cdef int concerns_links(Process* process, const Signal* death) noexcept nogil
cdef uint32_t link_to(Process* process, int64_t peer, int64_t theirs, int64_t mine, uint32_t session) noexcept nogil
cdef void link_with(Process* process, int64_t target, int64_t tag, int how) noexcept nogil
cdef void link_died(Process* process, int64_t peer, int64_t tag, int exit, const Signal* death) noexcept nogil
cdef void forget_link(Process* process, int64_t peer) noexcept nogil
cdef uint32_t watch_in(Process* process, int64_t target, uint32_t session) noexcept nogil
cdef void watch(Process* process, int64_t target, uint64_t environment) noexcept nogil
cdef void watched_died(Process* process, int64_t target, int exit, const Signal* death) noexcept nogil
cdef void be_watched(Process* process, int64_t watcher, uint32_t session) noexcept nogil
cdef void forget_watched(Process* process, int64_t target) noexcept nogil
cdef void forget_watcher(Process* process, int64_t watcher) noexcept nogil
cdef int leave_session(Process* process, int node_id, uint32_t session) noexcept nogil
cdef void tell_deaths(Process* process) noexcept nogil
cdef void free_links(Process* process) noexcept nogil
