from libc.stdint cimport int64_t, uint64_t
from luna.scheduler._types cimport *

cdef int init_peers(Runtime* runtime) noexcept nogil
cdef void close_peers(Runtime* runtime) noexcept nogil
cdef int add_peer(Runtime* runtime, int node_id) noexcept nogil
cdef Peer* find_peer(Runtime* runtime, int node_id) noexcept nogil
cdef int queue_signal(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment) noexcept nogil
cdef int queue_bytes(Peer* peer, const char* envelope, size_t size) noexcept nogil
cdef size_t frame_size(Peer* peer, size_t limit, size_t* envelopes) noexcept nogil
cdef void consume_frame(Peer* peer, size_t size, size_t envelopes, vector[int64_t]* unblocked) noexcept nogil
cdef int bind(Runtime* runtime, int node_id, int64_t pid) noexcept nogil
cdef void unbind(Runtime* runtime, int node_id, int64_t pid) noexcept nogil
cdef int is_crowded(Runtime* runtime, int node_id) noexcept nogil
cdef int block(Runtime* runtime, int node_id, int64_t pid) noexcept nogil
cdef int take_down(Runtime* runtime, int node_id, vector[int64_t]* told) noexcept nogil
