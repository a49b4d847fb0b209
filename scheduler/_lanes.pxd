from libc.stdint cimport int64_t, uint64_t
from luna.scheduler._types cimport *

cdef int open_lane(Lane* lane) noexcept nogil
cdef void close_lane(Lane* lane) noexcept nogil
cdef size_t place_of(int64_t sender, int64_t target) noexcept nogil
cdef int lane_of(Lane* lanes, int wanted, size_t place) noexcept nogil
cdef size_t mark_of(int lane) noexcept nogil
cdef int has_room(Lane* lanes, int lane, size_t needed) noexcept nogil
cdef char* make_room(Lane* lane, size_t needed) noexcept nogil
cdef void add_envelope(Lane* lane, size_t size) noexcept nogil
cdef void note_place(Lane* lane, size_t place) noexcept nogil
cdef size_t front(Lane* lane, size_t limit, size_t used, size_t* envelopes) noexcept nogil
cdef void take_front(Lane* lane, char* out, size_t size, size_t envelopes) noexcept nogil
