"""The queues for other nodes, one for each, and who waits for room in them.

A queue has lanes (`_lanes`, `_chunks`), into which scheduler threads put signals
and from which the transport takes frames. What processes send stays below the
mark of its lane: beyond it they keep what they send, stand in the lane's line,
and are let go on first come, first served, as many as there is room for. Also
knows which local processes the end of a session concerns. A peer that is down
can come back, with another session; it is freed with the runtime only, so a
pointer found stays good.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy
from cython.operator cimport dereference as deref, preincrement

from luna.scheduler._chunks cimport cut, drop_bulk, drop_partial, push_bulk
from luna.scheduler._codec cimport ENVELOPE_HEADER_MAX, encode, write_varint
from luna.scheduler._lanes cimport *
from luna.scheduler._platform cimport *
from luna.scheduler._remote_spawn cimport forget_peer_config
from luna.scheduler._signals cimport free_signal, release_timer
from luna.scheduler._types cimport *

cdef enum:
    FIELD_HEADER_MAX = 11      # bytes of a length-delimited field besides its content


cdef int init_peers(Runtime* runtime) noexcept nogil:
    """0 when the system has no descriptor left."""
    pthread_mutex_init(&runtime.peers_lock, NULL)
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
    cdef vector[int64_t] told
    cdef vector[Waiter] released
    cdef size_t index
    while peer != NULL:
        pthread_mutex_lock(&peer.inbound_lock)
        if not peer.down:
            take_down(peer, &told, &released)
        pthread_mutex_unlock(&peer.inbound_lock)
        peer = peer.next
    for index in range(released.size()):
        release_timer(released[index].timer)
    if runtime.outgoing_fd >= 0:
        close(runtime.outgoing_fd)
        runtime.outgoing_fd = -1  # the number may soon be another file's


# -- sessions --------------------------------------------------------------------------------

cdef Peer* find_peer(Runtime* runtime, int node_id) noexcept nogil:
    """The peer, also one that is down; NULL if there never was one."""
    cdef Peer* peer = <Peer*>luna_load_ptr(<void**>place_of_node(runtime, node_id))
    while peer != NULL and peer.node_id != node_id:
        peer = peer.next_in_place
    return peer


cdef inline Peer** place_of_node(Runtime* runtime, int node_id) noexcept nogil:
    return &runtime.peer_places[<unsigned int>node_id % PEER_PLACES]


cdef Peer* make_peer(Runtime* runtime, int node_id) noexcept nogil:
    """The peer of that node; a new one is down."""
    cdef Peer* peer
    cdef Peer** place = place_of_node(runtime, node_id)
    pthread_mutex_lock(&runtime.peers_lock)
    peer = find_peer(runtime, node_id)
    if peer == NULL:
        peer = <Peer*>calloc(1, sizeof(Peer))
        peer.runtime = runtime
        peer.node_id = node_id
        peer.down = 1
        pthread_mutex_init(&peer.lock, NULL)
        pthread_mutex_init(&peer.inbound_lock, NULL)
        peer.next = runtime.peers
        runtime.peers = peer
        peer.next_in_place = place[0]
        luna_store_ptr(<void**>place, peer)  # whoever finds it finds it whole
    pthread_mutex_unlock(&runtime.peers_lock)
    return peer


cdef void empty(Peer* peer) noexcept nogil:
    cdef int lane
    drop_bulk(peer)
    for lane in range(LANES):
        close_lane(&peer.lanes[lane])
    if peer.bound != NULL:
        del peer.bound
    peer.bound = NULL


cdef int bring_up(Peer* peer, uint64_t session) noexcept nogil:
    """Take signals from now on, for this session; 0 when there is no memory, or the runtime has stopped.

    The peer is down and its inbound lock the caller's.
    """
    cdef int lane
    cdef int good
    pthread_mutex_lock(&peer.lock)
    good = peer.runtime.outgoing_fd >= 0
    if good:
        for lane in range(LANES):
            good = open_lane(&peer.lanes[lane]) and good
    if good:
        peer.bulk = new deque[BulkItem]()
        peer.bound = new unordered_set[int64_t]()
        peer.session = session
        peer.session_count += 1
        luna_store(&peer.spawns_asked, 0)
        peer.down = 0
    else:
        empty(peer)
    pthread_mutex_unlock(&peer.lock)
    return good


cdef void take_down(Peer* peer, vector[int64_t]* told, vector[Waiter]* released) noexcept nogil:
    """End the session of a peer that is up. Its inbound lock is the caller's.

    `told` gets the processes concerned, `released` the timers that stood in a line.
    """
    cdef unordered_set[int64_t].iterator each
    cdef int lane
    pthread_mutex_lock(&peer.lock)
    peer.down = 1
    each = peer.bound.begin()
    while each != peer.bound.end():
        told.push_back(deref(each))
        preincrement(each)
    for lane in range(LANES):
        while peer.lines[lane].first != NULL:
            if peer.lines[lane].first.timer != NULL:
                released.push_back(peer.lines[lane].first[0])
            elif peer.bound.count(peer.lines[lane].first.pid) == 0:
                told.push_back(peer.lines[lane].first.pid)
            leave_line(peer, peer.lines[lane].first)
    empty(peer)
    pthread_mutex_unlock(&peer.lock)
    drop_partial(&peer.partial)
    forget_peer_config(peer)


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


# -- lines for room --------------------------------------------------------------------------

cdef void join_line(Peer* peer, Waiter* waiter, int lane, size_t needed, int in_front) noexcept nogil:
    cdef WaitingLine* line = &peer.lines[lane]
    waiter.lane = lane
    waiter.needed = needed
    waiter.listed = 1
    waiter.before = NULL
    waiter.after = NULL
    if in_front:
        waiter.after = line.first
    else:
        waiter.before = line.last
    if waiter.before != NULL:
        waiter.before.after = waiter
    else:
        line.first = waiter
    if waiter.after != NULL:
        waiter.after.before = waiter
    else:
        line.last = waiter
    line.count += 1


cdef void leave_line(Peer* peer, Waiter* waiter) noexcept nogil:
    cdef WaitingLine* line = &peer.lines[waiter.lane]
    if waiter.before != NULL:
        waiter.before.after = waiter.after
    else:
        line.first = waiter.after
    if waiter.after != NULL:
        waiter.after.before = waiter.before
    else:
        line.last = waiter.before
    waiter.listed = 0
    line.count -= 1


cdef void release_waiters(Peer* peer, vector[Waiter]* released) noexcept nogil:
    """Take out of the lines as many as there is room for: each is to have its turn. The lock is the caller's.

    A turn that queues nothing has to be passed on by calling this again; what is queued
    passes it on when it is taken.
    """
    cdef int lane
    cdef size_t size
    cdef Waiter* waiter
    if peer.down:
        return
    for lane in range(LANES):
        size = peer.lanes[lane].size
        if size > mark_of(lane) // PEER_ROOM_SHARE:
            continue
        waiter = peer.lines[lane].first
        while waiter != NULL and (size == 0 or size + waiter.needed <= mark_of(lane)):
            size += max(waiter.needed, <size_t>ENVELOPE_HEADER_MAX)
            released.push_back(waiter[0])
            leave_line(peer, waiter)
            waiter = peer.lines[lane].first


cdef inline int is_full(Peer* peer, int lane) noexcept nogil:
    return peer.lines[lane].first != NULL or not has_room(peer.lanes, lane, BULK_BYTES)


cdef int is_crowded(Runtime* runtime, int node_id, int lane) noexcept nogil:
    """Whether a message finds no room in that lane of a peer's queue."""
    cdef Peer* peer = find_peer(runtime, node_id)
    cdef int crowded
    if peer == NULL:
        return 0
    pthread_mutex_lock(&peer.lock)
    crowded = not peer.down and is_full(peer, lane)
    pthread_mutex_unlock(&peer.lock)
    return crowded


cdef uint32_t wait_for_room(Runtime* runtime, int node_id, int lane, Waiter* waiter) noexcept nogil:
    """Stand in a lane's line without sending anything; the session it waits in, NO_SESSION if it need not."""
    cdef Peer* peer = find_peer(runtime, node_id)
    cdef uint32_t session = NO_SESSION
    if peer == NULL:
        return NO_SESSION
    pthread_mutex_lock(&peer.lock)
    if not peer.down and is_full(peer, lane):
        join_line(peer, waiter, lane, 0, 0)
        session = peer.session_count
    pthread_mutex_unlock(&peer.lock)
    return session


cdef void stop_waiting(Runtime* runtime, int node_id, Waiter* waiter) noexcept nogil:
    """Leave the line, if it still stands in it."""
    cdef Peer* peer = find_peer(runtime, node_id)
    if peer == NULL:
        return
    pthread_mutex_lock(&peer.lock)
    if waiter.listed:
        leave_line(peer, waiter)
    pthread_mutex_unlock(&peer.lock)


# -- in --------------------------------------------------------------------------------------

cdef void announce(Peer* peer) noexcept nogil:
    """Something is about to be queued: tell the transport if nothing was."""
    if not peer.signalled and peer.lanes[LANE_CONTROL].size == 0 and peer.lanes[LANE_DATA].size == 0 and \
            peer.lanes[LANE_BULK].size == 0:
        peer.signalled = 1
        pthread_mutex_lock(&peer.runtime.peers_lock)
        peer.next_ready = peer.runtime.ready_peers
        peer.runtime.ready_peers = peer
        pthread_mutex_unlock(&peer.runtime.peers_lock)
        luna_eventfd_signal(peer.runtime.outgoing_fd)


cdef int put(Peer* peer, Signal* signal, int64_t target, uint64_t environment, int lane, size_t place) noexcept nogil:
    """Queue in a lane; 0 when there is no memory, 2 when the signal is the lane's now."""
    cdef char* out
    if lane == LANE_BULK:
        announce(peer)
        if not push_bulk(peer, signal, target, environment, place):
            return 0
        note_place(&peer.lanes[lane], place)
        return 2
    out = make_room(&peer.lanes[lane], ENVELOPE_HEADER_MAX + signal.size)
    if out == NULL:
        return 0
    announce(peer)
    add_envelope(&peer.lanes[lane], encode(<uint8_t*>out, signal, target, environment))
    note_place(&peer.lanes[lane], place)
    return 1


cdef int wanted_lane(Signal* signal) noexcept nogil:
    if signal.kind != SIGNAL_MESSAGE:
        return LANE_CONTROL
    return LANE_DATA if signal.size <= BULK_BYTES else LANE_BULK


cdef int queue_signal(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment, int how) noexcept nogil:
    """Queue a signal for its target's node. Only if QUEUED it is consumed."""
    return queue(runtime, signal, target, environment, how, NULL, 0, NULL)


cdef int queue_or_wait(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment, Waiter* waiter, int has_turn, uint32_t* session) noexcept nogil:
    """The same, if there is room or it `has_turn`; if FULL the waiter stands in line, in this session."""
    return queue(runtime, signal, target, environment, IF_ROOM, waiter, has_turn, session)


cdef int queue(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment, int how, Waiter* waiter, int has_turn, uint32_t* session) noexcept nogil:
    cdef Peer* peer = find_peer(runtime, <int>(target >> NODE_SHIFT))
    cdef size_t place, needed
    cdef int lane
    cdef int is_put = 0
    if peer == NULL:
        return GONE
    place = place_of(signal.sender, target)
    pthread_mutex_lock(&peer.lock)
    if peer.down or (signal.session != 0 and signal.session != peer.session_count):
        pthread_mutex_unlock(&peer.lock)
        return GONE
    lane = lane_of(peer.lanes, wanted_lane(signal), place)
    needed = ENVELOPE_HEADER_MAX + signal.size
    if how == IF_ROOM and (
        not has_room(peer.lanes, lane, needed) or (peer.lines[lane].first != NULL and not has_turn)
    ):
        if waiter != NULL:
            join_line(peer, waiter, lane, needed, has_turn)
            session[0] = peer.session_count
        pthread_mutex_unlock(&peer.lock)
        return FULL
    is_put = put(peer, signal, target, environment, lane, place)
    pthread_mutex_unlock(&peer.lock)
    if not is_put:
        return GONE
    if is_put == 1:
        free_signal(runtime, signal)
    luna_add64(&runtime.counters[TOTAL_SENT_REMOTE], 1)
    return QUEUED


cdef int queue_bytes(Peer* peer, const char* envelope, size_t size) noexcept nogil:
    """Queue one serialized Envelope made elsewhere; 0 when the peer is down."""
    cdef char* out
    cdef size_t count
    cdef int answer = 0
    pthread_mutex_lock(&peer.lock)
    if not peer.down:
        out = make_room(&peer.lanes[LANE_CONTROL], FIELD_HEADER_MAX + size)
        if out != NULL:
            announce(peer)
            out[0] = 1 << 3 | 2
            count = 1 + write_varint(<uint8_t*>out + 1, size)
            memcpy(out + count, envelope, size)
            add_envelope(&peer.lanes[LANE_CONTROL], count + size)
            answer = 1
    pthread_mutex_unlock(&peer.lock)
    return answer


# -- out -------------------------------------------------------------------------------------

cdef void take_ready(Runtime* runtime, vector[int]* node_ids) noexcept nogil:
    """Add the nodes whose queues have become non-empty since the last call."""
    cdef Peer* peer
    cdef Peer* rest
    luna_eventfd_clear(runtime.outgoing_fd)
    pthread_mutex_lock(&runtime.peers_lock)
    rest = runtime.ready_peers
    runtime.ready_peers = NULL
    pthread_mutex_unlock(&runtime.peers_lock)
    while rest != NULL:
        peer = rest
        rest = peer.next_ready  # before it can be signalled again
        pthread_mutex_lock(&peer.lock)
        peer.signalled = 0
        if not peer.down:
            node_ids.push_back(peer.node_id)
        pthread_mutex_unlock(&peer.lock)


cdef size_t plan_frame(Peer* peer, uint64_t session, size_t limit, FramePlan* plan) noexcept nogil:
    """Bytes of the next frame, 0 for none: whole envelopes and pieces up to `limit`, at least one of them.

    Control signals first, then messages, then bulk, which has its share also when the others
    would fill the frame. The caller holds the peer's lock until take_frame has returned.
    """
    cdef size_t small = limit - limit // BULK_SHARE
    if peer.down or peer.session != session:
        return 0
    if peer.bulk.empty():
        small = limit
    plan_small(peer, small, plan)
    plan.room = limit - min(limit, plan.control + plan.data)
    plan.bulk = cut(
        peer, NULL, plan.room, peer.lanes[LANE_CONTROL].taken + plan.control_envelopes,
        peer.lanes[LANE_DATA].taken + plan.data_envelopes,
    )
    if plan.bulk == 0 and small < limit:  # it waits for what is not in this frame
        plan_small(peer, limit, plan)
    return plan.control + plan.data + plan.bulk


cdef void plan_small(Peer* peer, size_t limit, FramePlan* plan) noexcept nogil:
    cdef Lane* control = &peer.lanes[LANE_CONTROL]
    plan.control = front(control, limit, 0, &plan.control_envelopes)
    plan.data = 0
    plan.data_envelopes = 0
    if plan.control == control.size:  # messages never overtake
        plan.data = front(&peer.lanes[LANE_DATA], limit, plan.control, &plan.data_envelopes)


cdef void take_frame(Peer* peer, const FramePlan* plan, char* out, vector[Waiter]* released) noexcept nogil:
    """Move what was planned to `out`; `released` gets who is to have a turn."""
    take_front(&peer.lanes[LANE_CONTROL], out, plan.control, plan.control_envelopes)
    take_front(&peer.lanes[LANE_DATA], out + plan.control, plan.data, plan.data_envelopes)
    if plan.bulk > 0:
        cut(
            peer, out + plan.control + plan.data, plan.room,
            peer.lanes[LANE_CONTROL].taken, peer.lanes[LANE_DATA].taken,
        )
    peer.frames_out += 1
    peer.envelopes_out += <int64_t>(plan.control_envelopes + plan.data_envelopes)
    peer.bytes_out += <int64_t>(plan.control + plan.data + plan.bulk)
    release_waiters(peer, released)
