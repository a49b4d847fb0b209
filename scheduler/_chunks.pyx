"""Large messages: cut into pieces on the way out, put together on the way in.

On the way out a message stays the signal it is, and is encoded piece by piece
into the frames that have room for it. On the way in the pieces of one envelope
are collected, of which a peer has one at a time; what is allocated grows with
what has come, never on the peer's word. The way out belongs to the peer's lock,
the way in to its inbound lock.
"""

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

from luna.scheduler._codec cimport ENVELOPE_HEADER_MAX, Wire, encode_head, write_varint, varint_size
from luna.scheduler._signals cimport free_signal
from luna.scheduler._types cimport *

cdef enum:
    CHUNK_HEADER_MAX = 32      # bytes of an encoded Chunk besides its data
    FIRST_PIECE_BYTES = 9      # of a Chunk's `total`


# -- out -----------------------------------------------------------------------------------

cdef int push_bulk(Peer* peer, Signal* signal, int64_t target, uint64_t environment, size_t place) noexcept nogil:
    """Queue a signal in the bulk lane, which takes it over; 0 when there is no memory."""
    cdef uint8_t head[ENVELOPE_HEADER_MAX]
    cdef BulkItem item
    cdef Lane* lane = &peer.lanes[LANE_BULK]
    item.signal = signal
    item.head_size = encode_head(head, signal, target, environment)
    item.head = <uint8_t*>malloc(item.head_size)
    if item.head == NULL:
        return 0
    memcpy(item.head, head, item.head_size)
    item.total = item.head_size + (signal.size if signal.kind == SIGNAL_MESSAGE else 0)
    item.after_control = peer.lanes[LANE_CONTROL].last[place]
    item.after_data = peer.lanes[LANE_DATA].last[place]
    peer.bulk.push_back(item)
    lane.size += item.total
    lane.queued += 1
    return 1


cdef void free_item(Peer* peer, BulkItem* item) noexcept nogil:
    free(item.head)
    free_signal(peer.runtime, item.signal)


cdef void drop_bulk(Peer* peer) noexcept nogil:
    cdef size_t index
    if peer.bulk == NULL:
        return
    for index in range(peer.bulk.size()):
        free_item(peer, &peer.bulk.at(index))
    del peer.bulk
    peer.bulk = NULL
    peer.bulk_sent = 0


cdef void copy_part(const BulkItem* item, char* out, size_t start, size_t size) noexcept nogil:
    """Bytes [start, start + size) of the encoded envelope."""
    cdef size_t part
    if start < item.head_size:
        part = min(size, item.head_size - start)
        memcpy(out, item.head + start, part)
        out += part
        start += part
        size -= part
    if size > 0:
        memcpy(out, item.signal.data + (start - item.head_size), size)


cdef size_t write_whole(const BulkItem* item, char* out) noexcept nogil:
    """One `envelopes` field of a Frame; `out` NULL: only its size."""
    cdef size_t used = 1 + varint_size(item.total)
    if out != NULL:
        out[0] = 1 << 3 | 2
        write_varint(<uint8_t*>out + 1, item.total)
        copy_part(item, out + used, 0, item.total)
    return used + item.total


cdef size_t write_piece(const BulkItem* item, char* out, size_t start, size_t size) noexcept nogil:
    """The same of an Envelope that holds a Chunk."""
    cdef size_t first = FIRST_PIECE_BYTES if start == 0 else 0
    cdef size_t chunk = first + 1 + varint_size(size) + size
    cdef size_t envelope = 1 + varint_size(chunk) + chunk
    cdef uint64_t total = item.total
    cdef uint8_t* position = <uint8_t*>out
    if out == NULL:
        return 1 + varint_size(envelope) + envelope
    position[0] = 1 << 3 | 2
    position += 1 + write_varint(position + 1, envelope)
    position[0] = CHUNK_FIELD << 3 | 2
    position += 1 + write_varint(position + 1, chunk)
    if first:
        position[0] = 1 << 3 | 1
        memcpy(position + 1, &total, 8)
        position += FIRST_PIECE_BYTES
    position[0] = 2 << 3 | 2
    position += 1 + write_varint(position + 1, size)
    copy_part(item, <char*>position, start, size)
    return <size_t>(position - <uint8_t*>out) + size


cdef void pop_bulk(Peer* peer) noexcept nogil:
    free_item(peer, &peer.bulk.front())
    peer.bulk.pop_front()
    peer.bulk_sent = 0
    peer.lanes[LANE_BULK].taken += 1


cdef size_t cut(Peer* peer, char* out, size_t room, uint64_t control_taken, uint64_t data_taken) noexcept nogil:
    """Take about `room` bytes of envelopes off the bulk lane, at least one piece if it may; the bytes written.

    `out` NULL: nothing is taken, the answer is how much it would be. An item waits until all that its pair
    of processes had queued before in the other lanes is taken.
    """
    cdef size_t index = 0
    cdef size_t used = 0
    cdef size_t sent = peer.bulk_sent
    cdef size_t size
    cdef const BulkItem* item
    while index < peer.bulk.size():
        item = &peer.bulk.at(index)
        if item.after_control > control_taken or item.after_data > data_taken:
            break
        size = write_whole(item, NULL)
        if sent == 0 and (used + size <= room or (used == 0 and item.total <= BULK_BYTES)):
            used += write_whole(item, out + used if out != NULL else NULL)
            size = item.total
        elif used > 0 and used + CHUNK_HEADER_MAX >= room:
            break
        elif sent == 0 and item.total <= BULK_BYTES:
            break
        else:
            size = room - used - CHUNK_HEADER_MAX if room > used + CHUNK_HEADER_MAX else 1
            size = min(size, item.total - sent)
            used += write_piece(item, out + used if out != NULL else NULL, sent, size)
            if out != NULL:
                peer.chunks_out += 1
        if out != NULL:
            peer.lanes[LANE_BULK].size -= size
        if sent + size < item.total:
            if out != NULL:
                peer.bulk_sent = sent + size
            break
        sent = 0
        if out != NULL:
            peer.envelopes_out += 1
            pop_bulk(peer)
        else:
            index += 1
    return used


# -- in ------------------------------------------------------------------------------------

cdef void drop_partial(Partial* partial) noexcept nogil:
    free(partial.data)
    partial.data = NULL
    partial.size = 0
    partial.capacity = 0
    partial.total = 0


cdef int take_piece(Partial* partial, Wire* chunk) noexcept nogil:
    """Add a Chunk's data. 0: it is malformed; 1: more must come; 2: the envelope is whole.

    `number` of the wire is the chunk's total.
    """
    cdef size_t capacity
    cdef char* grown
    if chunk.size == 0 or (partial.total != 0) == (chunk.number != 0):
        return 0
    if partial.total == 0:
        if chunk.number > MESSAGE_BYTES_MAX + ENVELOPE_HEADER_MAX:
            return 0
        partial.total = chunk.number
    if chunk.size > partial.total - partial.size:
        return 0
    if partial.size + chunk.size > partial.capacity:
        capacity = max(partial.capacity * 2, partial.size + chunk.size)
        capacity = min(capacity, partial.total)
        grown = <char*>realloc(partial.data, capacity)
        if grown == NULL:
            return 0
        partial.data = grown
        partial.capacity = capacity
    memcpy(partial.data + partial.size, chunk.data, chunk.size)
    partial.size += chunk.size
    return 2 if partial.size == partial.total else 1


cdef void adopt(Partial* partial, Signal* signal, Wire* wire) noexcept nogil:
    """Make the collected bytes the message's own; `wire` is what they were decoded to."""
    memmove(partial.data, wire.data, wire.size)
    signal.data = partial.data
    signal.size = wire.size
    signal.capacity = partial.capacity
    partial.data = NULL
