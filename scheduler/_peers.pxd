from libc.stdint cimport int64_t, uint32_t, uint64_t
from luna.scheduler._types cimport *

cdef int init_peers(Runtime* runtime) noexcept nogil
cdef void await_frames(Runtime* runtime) noexcept nogil
cdef void close_peers(Runtime* runtime) noexcept nogil
cdef Peer* make_peer(Runtime* runtime, int node_id) noexcept nogil
cdef void bring_up(Peer* peer, uint64_t session) noexcept nogil
cdef Peer* find_peer(Runtime* runtime, int node_id) noexcept nogil
cdef int queue_signal(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment) noexcept nogil
cdef int queue_bytes(Peer* peer, const char* envelope, size_t size) noexcept nogil
cdef size_t frame_size(Peer* peer, uint64_t session, size_t limit, size_t* envelopes) noexcept nogil
cdef void consume_frame(Peer* peer, size_t size, size_t envelopes, vector[int64_t]* unblocked) noexcept nogil
cdef uint32_t current_session(Runtime* runtime, int node_id) noexcept nogil
cdef int bind(Runtime* runtime, int node_id, uint32_t session, int64_t pid) noexcept nogil
cdef void unbind(Runtime* runtime, int node_id, int64_t pid) noexcept nogil
cdef int is_crowded(Runtime* runtime, int node_id) noexcept nogil
cdef uint32_t block(Runtime* runtime, int node_id, int64_t pid) noexcept nogil
cdef void take_down(Peer* peer, vector[int64_t]* told) noexcept nogil
