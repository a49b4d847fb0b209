from libc.stdint cimport int64_t, uint8_t, uint64_t
from luna.scheduler._codec cimport Wire
from luna.scheduler._types cimport *

cdef int push_bulk(Peer* peer, Signal* signal, int64_t target, uint64_t environment, size_t place) noexcept nogil
cdef void drop_bulk(Peer* peer) noexcept nogil
cdef size_t cut(Peer* peer, char* out, size_t room, uint64_t control_taken, uint64_t data_taken) noexcept nogil

cdef void drop_partial(Partial* partial) noexcept nogil
cdef int take_piece(Partial* partial, Wire* chunk) noexcept nogil
cdef void adopt(Partial* partial, Signal* signal, Wire* wire) noexcept nogil
