from libc.stdint cimport int64_t, uint8_t
from luna.scheduler._host_process cimport Birth
from luna.scheduler._types cimport *

cdef enum:
    FIELD_SPAWN = 16           # of luna.v1.Envelope
    FIELD_SPAWN_REPLY = 17

cdef int read_far_birth(Process* process, const int64_t* args, Birth* birth) noexcept nogil
cdef void spawn_far(Process* process, const int64_t* args, Module* module) noexcept nogil
cdef int serve_order(Runtime* runtime, Peer* peer, const uint8_t* body, size_t size) noexcept nogil
cdef void report_to_peer(Process* process, const char* error) noexcept nogil
cdef int deliver_answer(Runtime* runtime, Peer* peer, const uint8_t* body, size_t size, int* for_python) noexcept nogil
cdef void answer_late(Runtime* runtime, Signal* signal, int64_t parent) noexcept nogil
cdef void forget_peer_config(Peer* peer) noexcept nogil
