"""Delivery: one way for every signal, whether its target is near or far.

A signal handed to `deliver` is consumed. If the target is dead, what its sender
must learn goes back: a link dies, a monitor fires, `exists` is answered. If the
queue for the target's node has no room, its sender holds it, and waits for its turn.
"""


from luna.scheduler._chunks cimport adopt, drop_partial, take_piece
from luna.scheduler._codec cimport FIRST_PYTHON_FIELD, Wire, decode, next_field
from luna.scheduler._guest cimport is_utf8
from luna.scheduler._held cimport first_held, hold_back, let_go_of_first
from luna.scheduler._lanes cimport mark_of
from luna.scheduler._peers cimport *
from luna.scheduler._platform cimport *
from luna.scheduler._remote_spawn cimport FIELD_SPAWN, FIELD_SPAWN_REPLY, answer_late, deliver_answer, serve_order
from luna.scheduler._signals cimport append, free_signal, new_signal, release_timer, reserve
from luna.scheduler._table cimport is_alive, post
from luna.scheduler._travel cimport add_modules
from luna.scheduler._types cimport *


cdef void answer_for_dead(Runtime* runtime, Signal* signal, int64_t target, int exit) noexcept nogil:
    """Tell the sender of a signal that came too late."""
    cdef Signal* answer
    if signal.kind == SIGNAL_LINK:
        answer = new_signal(runtime, SIGNAL_LINK_DEATH, target)
        answer.tag = signal.tag
        if signal.exit == LINK_QUIETLY:
            exit = EXIT_NORMAL
    elif signal.kind == SIGNAL_MONITOR:
        answer = new_signal(runtime, SIGNAL_PROCESS_DEATH, target)
    elif signal.kind == SIGNAL_EXISTS:
        answer = new_signal(runtime, SIGNAL_EXISTS_REPLY, target)
        answer.value = signal.value
    elif signal.kind == SIGNAL_SPAWNED and signal.value != 0 and signal.sender >> NODE_SHIFT != runtime.node_id:
        answer_late(runtime, signal, target)
        return
    else:
        return
    answer.exit = <uint8_t>exit
    answer.session = signal.session
    deliver(runtime, answer, signal.sender, ANY_ENVIRONMENT, NULL)


cdef int deliver(Runtime* runtime, Signal* signal, int64_t target, uint64_t environment, Process* sender) noexcept nogil:
    """Consume a signal. 0: its target is dead; 1: on its way; 2: and the way is crowded.

    `sender`, when given, is the process whose thread this is: it has to wait when the
    queue for another node is full. What nobody can be made to wait for is queued.
    """
    cdef int answer
    cdef Signal* reply
    if target >> NODE_SHIFT == runtime.node_id:
        if signal.kind == SIGNAL_EXISTS:
            reply = new_signal(runtime, SIGNAL_EXISTS_REPLY, target)
            reply.value = signal.value
            reply.session = signal.session
            reply.tag = is_alive(runtime, target, environment)
            deliver(runtime, reply, signal.sender, ANY_ENVIRONMENT, NULL)
            free_signal(runtime, signal)
            return 1
        answer = post(runtime, target, environment, signal)
        if answer == 0:
            answer_for_dead(runtime, signal, target, EXIT_NO_PROCESS)
            free_signal(runtime, signal)
        return answer
    if sender == NULL:
        answer = queue_signal(runtime, signal, target, environment, ALWAYS)
    elif sender.held != NULL:
        answer = FULL
    else:
        answer = queue_signal(runtime, signal, target, environment, IF_ROOM)
    if answer == FULL:
        hold_back(sender, signal, target)
        return 2
    if answer == GONE:
        answer_for_dead(runtime, signal, target, EXIT_NO_CONNECTION)
        free_signal(runtime, signal)
        return 0
    return 1


# -- waiting for room ------------------------------------------------------------------------

cdef int settle(Process* process) noexcept nogil:
    """Queue what a process holds, in order; 1 while it has to wait for room."""
    cdef Runtime* runtime = process.runtime
    cdef Held* held
    cdef int answer, node_id
    if process.blocked_session != NO_SESSION:
        return 1
    held = first_held(process)
    while held != NULL and process.blocked_session == NO_SESSION:
        node_id = <int>(held.target >> NODE_SHIFT)
        answer = queue_or_wait(
            runtime, held.signal, held.target, process.environment, &process.waiter,
            process.turn_node == node_id, &process.blocked_session,
        )
        if answer == FULL:
            process.blocked_node = node_id
            break
        if answer == GONE:
            answer_for_dead(runtime, held.signal, held.target, EXIT_NO_CONNECTION)
            free_signal(runtime, held.signal)
        let_go_of_first(process)
        held = first_held(process)
    if held == NULL and process.crowded_node != 0:
        process.blocked_node = process.crowded_node
        process.blocked_session = wait_for_room(
            runtime, process.crowded_node, process.crowded_lane, &process.waiter
        )
        process.crowded_node = 0
    if process.turn_node != 0:
        pass_turn(runtime, process.turn_node)
        process.turn_node = 0
    return process.blocked_session != NO_SESSION


cdef int deliver_timer(Timer* timer, int has_turn) noexcept nogil:
    """Send what a timer holds. 0: it waits for room, and keeps the caller's reference until it has its turn."""
    cdef Runtime* runtime = timer.runtime
    cdef Signal* signal = timer.signal
    cdef uint32_t session
    cdef int answer
    if timer.target >> NODE_SHIFT == runtime.node_id:
        timer.signal = NULL
        deliver(runtime, signal, timer.target, timer.environment, NULL)
        return 1
    timer.waiter.timer = timer
    answer = queue_or_wait(runtime, signal, timer.target, timer.environment, &timer.waiter, has_turn, &session)
    if answer == FULL:
        return 0
    timer.signal = NULL
    if answer == GONE:
        free_signal(runtime, signal)
    return 1


cdef void give_turns(Peer* peer, uint32_t session, vector[Waiter]* released) noexcept nogil:
    """Let go on who was released; the turns of the dead go to the next."""
    cdef vector[Waiter] turns
    cdef size_t index
    cdef int is_wasted
    while not released.empty():
        turns.clear()
        turns.swap(released[0])
        is_wasted = 0
        for index in range(turns.size()):
            if turns[index].timer == NULL:
                is_wasted |= not tell_of(peer.runtime, SIGNAL_ROOM, turns[index].pid, peer.node_id, session)
            elif deliver_timer(turns[index].timer, 1):
                release_timer(turns[index].timer)
        if is_wasted:
            pthread_mutex_lock(&peer.lock)
            release_waiters(peer, released)
            session = peer.session_count
            pthread_mutex_unlock(&peer.lock)


cdef void pass_turn(Runtime* runtime, int node_id) noexcept nogil:
    """Whoever had a turn is done with it."""
    cdef Peer* peer = find_peer(runtime, node_id)
    cdef vector[Waiter] released
    cdef uint32_t session
    if peer == NULL:
        return
    pthread_mutex_lock(&peer.lock)
    release_waiters(peer, &released)
    session = peer.session_count
    pthread_mutex_unlock(&peer.lock)
    give_turns(peer, session, &released)


cdef void take_planned(Peer* peer, const FramePlan* plan, char* out) noexcept nogil:
    """Move a planned frame to `out`, and let go on who has room now. Gives up the peer's lock."""
    cdef vector[Waiter] released
    cdef uint32_t session = peer.session_count
    take_frame(peer, plan, out, &released)
    pthread_mutex_unlock(&peer.lock)
    give_turns(peer, session, &released)


# -- what comes from other nodes -------------------------------------------------------------

cdef void tell(Runtime* runtime, int kind, int64_t sender, int64_t target, int64_t value) noexcept nogil:
    """Deliver a signal that carries no more than a number."""
    cdef Signal* signal = new_signal(runtime, kind, sender)
    signal.value = value
    deliver(runtime, signal, target, ANY_ENVIRONMENT, NULL)


cdef int tell_of(Runtime* runtime, int kind, int64_t target, int node_id, uint32_t session) noexcept nogil:
    """Tell a local process something about a session with a node; 0 if it is dead."""
    cdef Signal* signal = new_signal(runtime, kind, 0)
    signal.value = node_id
    signal.session = session
    return deliver(runtime, signal, target, ANY_ENVIRONMENT, NULL)


cdef int kind_of(int field) noexcept nogil:
    if field == 1:
        return SIGNAL_MESSAGE
    if field == 2:
        return SIGNAL_LINK
    if field == 3:
        return SIGNAL_UNLINK
    if field == 4:
        return SIGNAL_LINK_DEATH
    if field == 5:
        return SIGNAL_MONITOR
    if field == 6:
        return SIGNAL_STOP_MONITORING
    if field == 7:
        return SIGNAL_PROCESS_DEATH
    if field == 8:
        return SIGNAL_KILL
    if field == 9:
        return SIGNAL_EXISTS
    return SIGNAL_EXISTS_REPLY


cdef int deliver_wire(Runtime* runtime, Peer* peer, Wire* wire, Partial* partial) noexcept nogil:
    """0 when the envelope is not one this peer may send. `partial`, if any, holds its bytes, and gives up a message's."""
    cdef Signal* signal
    cdef uint64_t environment = ANY_ENVIRONMENT
    if wire.sender >> NODE_SHIFT != <uint64_t>peer.node_id or wire.target >> NODE_SHIFT != <uint64_t>runtime.node_id:
        return 0
    signal = new_signal(runtime, kind_of(wire.field), <int64_t>wire.sender)
    if wire.field == 1 or wire.field == 2 or wire.field == 5 or wire.field == 8 or wire.field == 9:
        environment = wire.environment
    signal.tag = wire.tag
    signal.session = peer.session_count
    if wire.field == 1 and wire.size > MESSAGE_BYTES_MAX:
        free_signal(runtime, signal)
        return 0
    if wire.module_count > 0:
        add_modules(runtime, signal, wire)  # before their bytes are given up
    if wire.field == 1 and partial != NULL and wire.size > MESSAGE_INLINE_BYTES:
        adopt(partial, signal, wire)
    elif wire.field == 1 and wire.size > 0:
        if not reserve(signal, wire.size) or not append(signal, <const char*>wire.data, wire.size):
            free_signal(runtime, signal)
            return 0
    if wire.field == 4 or wire.field == 7:
        signal.value = <int32_t>wire.flag
        if wire.size <= EXIT_TEXT_BYTES and is_utf8(wire.data, wire.size):
            append(signal, <const char*>wire.data, wire.size)
        signal.exit = <uint8_t>(wire.number if wire.number <= EXIT_NO_CONNECTION else EXIT_FAILURE)
    elif wire.field == 2 or wire.field >= 9:
        signal.value = <int64_t>wire.number
        if wire.field == 10:
            signal.tag = wire.flag != 0
    deliver(runtime, signal, <int64_t>wire.target, environment, NULL)
    return 1


cdef int deliver_chunk(Runtime* runtime, Peer* peer, Wire* chunk) noexcept nogil:
    """Take in a piece of an envelope, and with the last one the envelope; 0 when either is malformed."""
    cdef Partial* partial = &peer.partial
    cdef Wire wire
    cdef int taken = take_piece(partial, chunk)
    if taken != 2:
        return taken
    # Only signals are cut: what Python decodes is small.
    taken = decode(<const uint8_t*>partial.data, partial.size, &wire) and 1 <= wire.field <= 10 and \
        deliver_wire(runtime, peer, &wire, partial)
    drop_partial(partial)
    return taken


cdef int takes_no_answers(Peer* peer) noexcept nogil:
    """Whether a lane has grown far beyond its mark, by what nobody can be made to wait for."""
    cdef int lane
    for lane in range(LANES):
        if peer.lanes[lane].size > mark_of(lane) + PEER_ANSWERS_BYTES + (MESSAGE_BYTES_MAX if lane == LANE_BULK else 0):
            return 1
    return 0


cdef int deliver_frame(Runtime* runtime, Peer* peer, uint64_t session, const uint8_t* data, size_t size, vector[pair[size_t, size_t]]* for_python) noexcept nogil:
    """Deliver the envelopes of a Frame in order; 0 at the first malformed one, 2 if it takes no answers.

    Nothing is done with a frame of a session that is not the current one. `for_python` gets offset and size of each envelope that is not the core's.
    """
    cdef const uint8_t* position = data
    cdef const uint8_t* end = data + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    cdef Wire wire
    cdef pair[size_t, size_t] extent
    cdef int64_t envelopes = 0
    cdef int64_t chunks = 0
    cdef int good = 1
    cdef int is_for_python
    pthread_mutex_lock(&peer.inbound_lock)
    if peer.down or peer.session != session:
        pthread_mutex_unlock(&peer.inbound_lock)
        return 1
    while good and position < end:
        good = next_field(&position, end, &field, &wire_type, &number, &bytes)
        if not good or field != 1:
            continue
        good = wire_type == 2 and decode(bytes, number, &wire)
        if not good:
            continue
        if wire.field == CHUNK_FIELD:
            chunks += 1
            good = deliver_chunk(runtime, peer, &wire)
            envelopes += peer.partial.total == 0
            continue
        envelopes += 1
        if 1 <= wire.field <= 10:
            good = deliver_wire(runtime, peer, &wire, NULL)
        elif wire.field >= FIRST_PYTHON_FIELD:
            if wire.field == FIELD_SPAWN and serve_order(runtime, peer, wire.body, wire.body_size):
                continue
            if wire.field == FIELD_SPAWN_REPLY:
                good = deliver_answer(runtime, peer, wire.body, wire.body_size, &is_for_python)
                if not good or not is_for_python:
                    continue
            extent.first = <size_t>(bytes - data)
            extent.second = number
            for_python.push_back(extent)
            good = for_python.size() <= PYTHON_ENVELOPES_MAX
    pthread_mutex_unlock(&peer.inbound_lock)
    pthread_mutex_lock(&peer.lock)
    peer.frames_in += 1
    peer.envelopes_in += envelopes
    peer.chunks_in += chunks
    peer.bytes_in += <int64_t>size
    if good and takes_no_answers(peer):
        good = 2
    pthread_mutex_unlock(&peer.lock)
    return good


cdef void end_session(Peer* peer) noexcept nogil:
    """Have each link and monitor across fire once. The inbound lock is the caller's.

    So a frame being delivered is delivered whole, and before the end is told; and
    the end is told before the next session begins.
    """
    cdef vector[int64_t] told
    cdef vector[Waiter] timers
    cdef size_t index
    if peer.down:
        return
    take_down(peer, &told, &timers)
    for index in range(timers.size()):
        deliver_timer(timers[index].timer, 0)  # to the dead
        release_timer(timers[index].timer)
    for index in range(told.size()):
        tell_of(peer.runtime, SIGNAL_NODE_DOWN, told[index], peer.node_id, peer.session_count)


cdef void bring_peer_up(Runtime* runtime, int node_id, uint64_t session) noexcept nogil:
    """Begin a session with a node; ends the one there is, if it is another."""
    cdef Peer* peer = make_peer(runtime, node_id)
    pthread_mutex_lock(&peer.inbound_lock)
    if peer.down or peer.session != session:
        end_session(peer)
        bring_up(peer, session)
    pthread_mutex_unlock(&peer.inbound_lock)


cdef void take_peer_down(Runtime* runtime, int node_id) noexcept nogil:
    """End the session with a node, if there is one."""
    cdef Peer* peer = find_peer(runtime, node_id)
    if peer == NULL:
        return
    pthread_mutex_lock(&peer.inbound_lock)
    end_session(peer)
    pthread_mutex_unlock(&peer.inbound_lock)
