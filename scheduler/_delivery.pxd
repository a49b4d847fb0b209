from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from luna.scheduler._peers cimport FramePlan
from luna.scheduler._types cimport *

cdef int deliver(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment, Process* sender) noexcept nogil
cdef void tell(Runtime* runtime, int kind, int64_t sender, int64_t target, int64_t value) noexcept nogil
cdef int settle(Process* process) noexcept nogil
cdef int deliver_timer(Timer* timer, int has_turn) noexcept nogil
cdef void pass_turn(Runtime* runtime, int node_id) noexcept nogil
cdef void take_planned(Peer* peer, const FramePlan* plan, char* out) noexcept nogil
cdef int tell_of(Runtime* runtime, int kind, int64_t target, int node_id, uint32_t session) noexcept nogil
cdef int deliver_frame(Runtime* runtime, Peer* peer, uint64_t session, const uint8_t* data, size_t size, vector[pair[size_t, size_t]]* for_python) noexcept nogil
cdef void bring_peer_up(Runtime* runtime, int node_id, uint64_t session) noexcept nogil
cdef void take_peer_down(Runtime* runtime, int node_id) noexcept nogil
