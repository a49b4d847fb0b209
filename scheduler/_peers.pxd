from libc.stdint cimport int64_t, uint32_t, uint64_t
from luna.scheduler._types cimport *

cdef enum:            # how a signal comes to a peer's queue
    ALWAYS = 0                 # whatever is queued
    IF_ROOM = 1                # not beyond the lane's mark, nor before those who wait

cdef enum:            # what became of it
    GONE = 0                   # the node is unknown or down, or in another session
    QUEUED = 1                 # and the queue's now
    FULL = 2

# What the next frame takes of each lane.
cdef struct FramePlan:
    size_t control
    size_t control_envelopes
    size_t data
    size_t data_envelopes
    size_t bulk
    size_t room                # for bulk

cdef int init_peers(Runtime* runtime) noexcept nogil
cdef void await_frames(Runtime* runtime) noexcept nogil
cdef void close_peers(Runtime* runtime) noexcept nogil
cdef Peer* make_peer(Runtime* runtime, int node_id) noexcept nogil
cdef int bring_up(Peer* peer, uint64_t session) noexcept nogil
cdef void take_down(Peer* peer, vector[int64_t]* told, vector[Waiter]* released) noexcept nogil
cdef Peer* find_peer(Runtime* runtime, int node_id) noexcept nogil
cdef uint32_t current_session(Runtime* runtime, int node_id) noexcept nogil

cdef int queue_signal(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment, int how) noexcept nogil
cdef int queue_or_wait(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment, Waiter* waiter, int has_turn, uint32_t* session) noexcept nogil
cdef int queue_bytes(Peer* peer, const char* envelope, size_t size) noexcept nogil
cdef void take_ready(Runtime* runtime, vector[int]* node_ids) noexcept nogil
cdef size_t plan_frame(Peer* peer, uint64_t session, size_t limit, FramePlan* plan) noexcept nogil
cdef void take_frame(Peer* peer, const FramePlan* plan, char* out, vector[Waiter]* released) noexcept nogil

cdef int bind(Runtime* runtime, int node_id, uint32_t session, int64_t pid) noexcept nogil
cdef void unbind(Runtime* runtime, int node_id, int64_t pid) noexcept nogil
cdef int wanted_lane(Signal* signal) noexcept nogil
cdef int is_crowded(Runtime* runtime, int node_id, int lane) noexcept nogil
cdef uint32_t wait_for_room(Runtime* runtime, int node_id, int lane, Waiter* waiter) noexcept nogil
cdef void stop_waiting(Runtime* runtime, int node_id, Waiter* waiter) noexcept nogil
cdef void release_waiters(Peer* peer, vector[Waiter]* released) noexcept nogil
