"""The lanes of the queue for one peer, and which of them an envelope takes.

A lane is a buffer of encoded envelopes, taken off its front whole. What is in a
faster lane overtakes what is in a slower one, so signals of one process to
another would arrive in another order than they were sent, were it not for this
rule: an envelope goes behind the last one of its pair of processes that is still
queued in a slower lane. Each lane knows for each pair how far its last envelope
is, in a table of fixed size by a hash of the pair: pairs that share a place
wait for each other at times, and no more. Pure data; the peer's lock is the
caller's.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove

from luna.scheduler._types cimport *

cdef enum:
    FIRST_CAPACITY = 4096      # bytes
    LENGTHS_KEPT = 65536       # lengths of envelopes that are gone, before their vector is cut


cdef int open_lane(Lane* lane) noexcept nogil:
    """Begin empty; 0 when there is no memory."""
    lane.last = <uint64_t*>calloc(LANE_PLACES, sizeof(uint64_t))
    if lane.last == NULL:
        return 0
    lane.lengths = new vector[uint32_t]()
    lane.queued = 0
    lane.taken = 0
    return 1


cdef void close_lane(Lane* lane) noexcept nogil:
    """Drop everything; also of one that is not open."""
    free(lane.data)
    free(lane.last)
    if lane.lengths != NULL:
        del lane.lengths
    lane.data = NULL
    lane.last = NULL
    lane.lengths = NULL
    lane.start = 0
    lane.size = 0
    lane.capacity = 0
    lane.head = 0


cdef size_t place_of(int64_t sender, int64_t target) noexcept nogil:
    """Where the tables have a pair of processes."""
    cdef uint64_t mixed = <uint64_t>sender * <uint64_t>0x9E3779B97F4A7C15 ^ <uint64_t>target * <uint64_t>0xC2B2AE3D27D4EB4F
    return <size_t>(mixed >> 40) & (LANE_PLACES - 1)


cdef int lane_of(Lane* lanes, int wanted, size_t place) noexcept nogil:
    """The lane for an envelope: the one wanted, or a slower one where its pair has some queued."""
    cdef int lane = LANES - 1
    while lane > wanted and lanes[lane].last[place] <= lanes[lane].taken:
        lane -= 1
    return lane


cdef size_t mark_of(int lane) noexcept nogil:
    """Bytes from which on a lane takes nothing from processes."""
    if lane == LANE_CONTROL:
        return PEER_CONTROL_BYTES
    return PEER_DATA_BYTES if lane == LANE_DATA else PEER_BULK_BYTES


cdef int has_room(Lane* lanes, int lane, size_t needed) noexcept nogil:
    """Whether so many bytes more stay below the mark; an envelope that is larger itself has the lane alone."""
    return lanes[lane].size == 0 or lanes[lane].size + needed <= mark_of(lane)


cdef char* make_room(Lane* lane, size_t needed) noexcept nogil:
    """Where the next envelope goes, of at most so many bytes; NULL when there is no memory."""
    cdef size_t capacity
    cdef char* grown
    if lane.start + lane.size + needed > lane.capacity and lane.start >= lane.size:
        memmove(lane.data, lane.data + lane.start, lane.size)
        lane.start = 0
    if lane.start + lane.size + needed > lane.capacity:
        capacity = lane.capacity * 2 if lane.capacity else FIRST_CAPACITY
        while capacity < lane.start + lane.size + needed:
            capacity *= 2
        grown = <char*>realloc(lane.data, capacity)
        if grown == NULL:
            return NULL
        lane.data = grown
        lane.capacity = capacity
    return lane.data + lane.start + lane.size


cdef void add_envelope(Lane* lane, size_t size) noexcept nogil:
    """So many bytes were written where make_room said."""
    lane.lengths.push_back(<uint32_t>size)
    lane.size += size
    lane.queued += 1


cdef void note_place(Lane* lane, size_t place) noexcept nogil:
    """The envelope queued last is of this pair."""
    lane.last[place] = lane.queued


cdef size_t front(Lane* lane, size_t limit, size_t used, size_t* envelopes) noexcept nogil:
    """Bytes of as many whole envelopes as fit `limit` with the `used` ones; at least one if nothing is used."""
    cdef size_t total = 0
    cdef size_t index = lane.head
    while index < lane.lengths.size():
        if used + total > 0 and used + total + lane.lengths.at(index) > limit:
            break
        total += lane.lengths.at(index)
        index += 1
    envelopes[0] = index - lane.head
    return total


cdef void take_front(Lane* lane, char* out, size_t size, size_t envelopes) noexcept nogil:
    """Move to `out` what `front` counted."""
    if size == 0:
        return
    memcpy(out, lane.data + lane.start, size)
    lane.start += size
    lane.size -= size
    lane.head += envelopes
    lane.taken += envelopes
    if lane.size == 0:
        lane.start = 0
        lane.lengths.clear()
        lane.head = 0
        if lane.capacity > LANE_KEPT_BYTES:
            free(lane.data)
            lane.data = NULL
            lane.capacity = 0
    elif lane.head > LENGTHS_KEPT:
        lane.lengths.erase(lane.lengths.begin(), lane.lengths.begin() + <ptrdiff_t>lane.head)
        lane.head = 0
