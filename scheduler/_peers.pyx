"""Queues of encoded signals, one per other node.

A peer's queue is a byte buffer that already is the body of a frame: signals are
encoded into it by the scheduler threads, the transport takes whole envelopes
off its front. Signals of one process to another stay in order because there is
one queue. Also knows which local processes the end of a session concerns. A
peer that is down can come back, with another session; it is freed with the
runtime only, so a pointer found stays good.
"""

from libc.stdlib cimport calloc, free, malloc, realloc
from cython.operator cimport dereference as deref, preincrement
from libc.string cimport memcpy, memmove

from luna.scheduler._codec cimport ENVELOPE_HEADER_MAX, encode, write_varint
from luna.scheduler._platform cimport *
from luna.scheduler._remote_spawn cimport forget_peer_config
from luna.scheduler._types cimport *


cdef int init_peers(Runtime* runtime) noexcept nogil:
    """0 when the system has no descriptor left."""
    pthread_mutex_init(&runtime.peers_lock, NULL)
    runtime.peers = NULL
    runtime.outgoing_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return runtime.outgoing_fd >= 0


cdef void await_frames(Runtime* runtime) noexcept nogil:
    """Wait until whatever frame is being delivered has been; those that come later see that the runtime stops."""
    cdef Peer* peer
    pthread_mutex_lock(&runtime.peers_lock)
    peer = runtime.peers
    pthread_mutex_unlock(&runtime.peers_lock)
    while peer != NULL:
        pthread_mutex_lock(&peer.inbound_lock)
        pthread_mutex_unlock(&peer.inbound_lock)
        peer = peer.next


cdef void close_peers(Runtime* runtime) noexcept nogil:
    """Take every peer down; nobody is told."""
    cdef Peer* peer = runtime.peers
    while peer != NULL:
        pthread_mutex_lock(&peer.inbound_lock)
        pthread_mutex_lock(&peer.lock)
        peer.down = 1
        empty(peer)
        pthread_mutex_unlock(&peer.lock)
        forget_peer_config(peer)
        pthread_mutex_unlock(&peer.inbound_lock)
        peer = peer.next
    if runtime.outgoing_fd >= 0:
        close(runtime.outgoing_fd)
        runtime.outgoing_fd = -1  # the number may soon be another file's


cdef void empty(Peer* peer) noexcept nogil:
    free(peer.data)
    peer.data = NULL
    peer.start = 0
    peer.size = 0
    peer.capacity = 0
    if peer.lengths != NULL:
        del peer.lengths
        del peer.bound
        del peer.blocked
    peer.lengths = NULL
    peer.bound = NULL
    peer.blocked = NULL
    peer.head = 0


cdef Peer* find_peer(Runtime* runtime, int node_id) noexcept nogil:
    """The peer, also one that is down; NULL if there never was one."""
    cdef Peer* peer
    pthread_mutex_lock(&runtime.peers_lock)
    peer = runtime.peers
    while peer != NULL and peer.node_id != node_id:
        peer = peer.next
    pthread_mutex_unlock(&runtime.peers_lock)
    return peer


cdef Peer* make_peer(Runtime* runtime, int node_id) noexcept nogil:
    """The peer of that node; a new one is down."""
    cdef Peer* peer
    pthread_mutex_lock(&runtime.peers_lock)
    peer = runtime.peers
    while peer != NULL and peer.node_id != node_id:
        peer = peer.next
    if peer == NULL:
        peer = <Peer*>calloc(1, sizeof(Peer))
        peer.runtime = runtime
        peer.node_id = node_id
        peer.down = 1
        pthread_mutex_init(&peer.lock, NULL)
        pthread_mutex_init(&peer.inbound_lock, NULL)
        peer.next = runtime.peers
        runtime.peers = peer
    pthread_mutex_unlock(&runtime.peers_lock)
    return peer


cdef void bring_up(Peer* peer, uint64_t session) noexcept nogil:
    """Take signals from now on, for this session. The peer is down and its inbound lock the caller's."""
    pthread_mutex_lock(&peer.lock)
    if peer.runtime.outgoing_fd >= 0:  # else the runtime has stopped
        peer.lengths = new vector[uint32_t]()
        peer.bound = new unordered_set[int64_t]()
        peer.blocked = new vector[int64_t]()
        peer.session = session
        peer.session_count += 1
        peer.signalled = 0
        luna_store(&peer.spawns_asked, 0)
        peer.down = 0
    pthread_mutex_unlock(&peer.lock)


cdef int make_room(Peer* peer, size_t needed) noexcept nogil:
    cdef size_t capacity
    cdef char* grown
    if peer.start + peer.size + needed <= peer.capacity:
        return 1
    if peer.start >= peer.size:
        memmove(peer.data, peer.data + peer.start, peer.size)
        peer.start = 0
    if peer.start + peer.size + needed > peer.capacity:
        capacity = peer.capacity * 2 if peer.capacity else 4096
        while capacity < peer.start + peer.size + needed:
            capacity *= 2
        grown = <char*>realloc(peer.data, capacity)
        if grown == NULL:
            return 0
        peer.data = grown
        peer.capacity = capacity
    return 1


cdef void announce(Peer* peer, int was_empty) noexcept nogil:
    if was_empty and not peer.signalled:
        peer.signalled = 1
        luna_eventfd_signal(peer.runtime.outgoing_fd)


cdef int queue_signal(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment) noexcept nogil:
    """Encode a signal for its target's node; the signal stays the caller's.

    Returns 1, or 2 when a sender of messages should pause (see `block`), or 0
    when that node is unknown or down, or the signal belongs to an earlier session.
    """
    cdef Peer* peer = find_peer(runtime, <int>(target >> NODE_SHIFT))
    cdef size_t written
    cdef int answer = 0
    if peer == NULL:
        return 0
    pthread_mutex_lock(&peer.lock)
    if not peer.down and (signal.session == 0 or signal.session == peer.session_count) and \
            make_room(peer, ENVELOPE_HEADER_MAX + signal.size):
        written = encode(<uint8_t*>peer.data + peer.start + peer.size, signal, target, environment)
        peer.lengths.push_back(<uint32_t>written)
        announce(peer, peer.size == 0)
        peer.size += written
        answer = 2 if peer.size > PEER_HIGH_WATER else 1
    pthread_mutex_unlock(&peer.lock)
    if answer:
        luna_add64(&runtime.counters[TOTAL_SENT_REMOTE], 1)
    return answer


cdef int queue_bytes(Peer* peer, const char* envelope, size_t size) noexcept nogil:
    """Queue one serialized Envelope made elsewhere; 0 when the peer is down."""
    cdef uint8_t* out
    cdef size_t count
    cdef int answer = 0
    pthread_mutex_lock(&peer.lock)
    if not peer.down and make_room(peer, 16 + size):
        out = <uint8_t*>peer.data + peer.start + peer.size
        out[0] = 1 << 3 | 2
        count = 1 + write_varint(out + 1, size)
        memcpy(out + count, envelope, size)
        peer.lengths.push_back(<uint32_t>(count + size))
        announce(peer, peer.size == 0)
        peer.size += count + size
        answer = 1
    pthread_mutex_unlock(&peer.lock)
    return answer


cdef size_t frame_size(Peer* peer, uint64_t session, size_t limit, size_t* envelopes) noexcept nogil:
    """Bytes of the next frame: as many whole envelopes as fit `limit`, at least one.

    The caller holds the peer's lock, copies that many bytes from its front and
    then calls consume_frame.
    """
    cdef size_t total = 0
    cdef size_t index = peer.head
    if peer.down or peer.session != session:
        return 0
    while index < peer.lengths.size():
        if total > 0 and total + peer.lengths.at(index) > limit:
            break
        total += peer.lengths.at(index)
        index += 1
    envelopes[0] = index - peer.head
    return total


cdef void consume_frame(Peer* peer, size_t size, size_t envelopes, vector[int64_t]* unblocked) noexcept nogil:
    """Take a frame off the front; `unblocked` gets the senders that may go on."""
    peer.start += size
    peer.size -= size
    peer.head += envelopes
    peer.frames_out += 1
    peer.envelopes_out += <int64_t>envelopes
    peer.bytes_out += <int64_t>size
    if peer.size == 0:
        peer.start = 0
        peer.lengths.clear()
        peer.head = 0
        if peer.capacity > PEER_LOW_WATER:
            free(peer.data)
            peer.data = NULL
            peer.capacity = 0
    elif peer.head > 65536:
        peer.lengths.erase(peer.lengths.begin(), peer.lengths.begin() + <ptrdiff_t>peer.head)
        peer.head = 0
    if peer.size < PEER_LOW_WATER:
        unblocked.swap(peer.blocked[0])


cdef uint32_t current_session(Runtime* runtime, int node_id) noexcept nogil:
    """The number of the session with a node, NO_SESSION when it is unknown or down."""
    cdef Peer* peer = find_peer(runtime, node_id)
    cdef uint32_t session = NO_SESSION
    if peer == NULL:
        return NO_SESSION
    pthread_mutex_lock(&peer.lock)
    if not peer.down:
        session = peer.session_count
    pthread_mutex_unlock(&peer.lock)
    return session


cdef int bind(Runtime* runtime, int node_id, uint32_t session, int64_t pid) noexcept nogil:
    """Have a local process told when a session ends; 0 if it has ended already."""
    cdef Peer* peer = find_peer(runtime, node_id)
    cdef int answer = 0
    if peer == NULL:
        return 0
    pthread_mutex_lock(&peer.lock)
    if not peer.down and peer.session_count == session:
        peer.bound.insert(pid)
        answer = 1
    pthread_mutex_unlock(&peer.lock)
    return answer


cdef void unbind(Runtime* runtime, int node_id, int64_t pid) noexcept nogil:
    cdef Peer* peer = find_peer(runtime, node_id)
    if peer == NULL:
        return
    pthread_mutex_lock(&peer.lock)
    if not peer.down:
        peer.bound.erase(pid)
    pthread_mutex_unlock(&peer.lock)


cdef int is_crowded(Runtime* runtime, int node_id) noexcept nogil:
    """Whether a peer's queue is so full that senders pause."""
    cdef Peer* peer = find_peer(runtime, node_id)
    cdef int crowded
    if peer == NULL:
        return 0
    pthread_mutex_lock(&peer.lock)
    crowded = not peer.down and peer.size > PEER_HIGH_WATER
    pthread_mutex_unlock(&peer.lock)
    return crowded


cdef uint32_t block(Runtime* runtime, int node_id, int64_t pid) noexcept nogil:
    """The session in which a sender must wait: it gets SIGNAL_ROOM when it may go on. NO_SESSION: it need not."""
    cdef Peer* peer = find_peer(runtime, node_id)
    cdef uint32_t session = NO_SESSION
    if peer == NULL:
        return NO_SESSION
    pthread_mutex_lock(&peer.lock)
    if not peer.down and peer.size > PEER_LOW_WATER:
        peer.blocked.push_back(pid)
        session = peer.session_count
    pthread_mutex_unlock(&peer.lock)
    return session


cdef void take_down(Peer* peer, vector[int64_t]* told) noexcept nogil:
    """End the session of a peer that is up; `told` gets the processes concerned. Its inbound lock is the caller's."""
    cdef unordered_set[int64_t].iterator each
    cdef size_t index
    pthread_mutex_lock(&peer.lock)
    peer.down = 1
    each = peer.bound.begin()
    while each != peer.bound.end():
        told.push_back(deref(each))
        preincrement(each)
    for index in range(peer.blocked.size()):
        if peer.bound.count(peer.blocked.at(index)) == 0:
            told.push_back(peer.blocked.at(index))
    empty(peer)
    pthread_mutex_unlock(&peer.lock)
