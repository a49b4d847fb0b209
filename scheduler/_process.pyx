"""A process from birth to death, as seen by the thread that runs it.

Owns what a Process holds: its signals in order of arrival, its resources. Its
links and monitors are `_links`' part, executing wasm is that of `_execution`.
"""

from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strlen

from luna.scheduler._clock cimport cancel_timer, drop_timer
from luna.scheduler._code cimport release_code, release_module, retain_module
from luna.scheduler._delivery cimport deliver, pass_turn, tell
from luna.scheduler._early cimport free_early
from luna.scheduler._events cimport abandon_request, emit
from luna.scheduler._held cimport drop_held
from luna.scheduler._links cimport *
from luna.scheduler._names cimport forget_names
from luna.scheduler._output cimport close_output
from luna.scheduler._peers cimport stop_waiting
from luna.scheduler._platform cimport *
from luna.scheduler._remote_spawn cimport answer_late
from luna.scheduler._runqueue cimport wake
from luna.scheduler._signals cimport *
from luna.scheduler._table cimport insert, lock_process, remove, take_inbox, unlock_process
from luna.scheduler._trace cimport trace_signal
from luna.scheduler._types cimport *


cdef Process* new_process(Runtime* runtime, Module* module, Config* config, uint64_t environment, Output* output, const char* entry, size_t entry_size) noexcept nogil:
    """A process that is nowhere yet; takes over the reference to `output`.

    NULL when the node holds as many processes as it may.
    """
    cdef Process* process
    if luna_add64(&runtime.counters[COUNT_PROCESSES], 1) > runtime.processes_max:
        luna_add64(&runtime.counters[COUNT_PROCESSES], -1)
        release_output(output)
        return NULL
    process = <Process*>calloc(1, sizeof(Process))
    process.runtime = runtime
    process.state = STATE_WAITING
    process.pid = runtime.node_id << NODE_SHIFT | luna_add64(&runtime.next_serial, 1)
    process.environment = environment
    process.born_ns = luna_now_ns()
    retain_config(config)
    process.config = config
    retain_module(module)
    process.module = module
    process.output = output
    output.process = process
    process.entry = copy_text(entry, entry_size)
    process.die_when_link_dies = 1
    process.exit_kind = -1
    process.waiter.pid = process.pid
    process.timer.index = -1
    process.timer.kind = TIMER_PROCESS
    process.timer.owner = process
    luna_add64(&runtime.counters[TOTAL_SPAWNED], 1)
    return process


cdef int launch(Process* process) noexcept nogil:
    """Enter a new process in the table and let it run; 0 when there is no memory."""
    cdef int64_t pid = process.pid
    cdef Runtime* runtime = process.runtime
    if not insert(runtime, process):
        return 0
    if lock_process(runtime, pid) != NULL:
        wake(runtime, process)
        unlock_process(runtime, pid)
    return 1


# -- waiting -------------------------------------------------------------------

cdef void stop_timer(Process* process) noexcept nogil:
    """After this the clock does not touch the process.

    Its index in the heap tells nothing: the clock may have taken it out and be
    about to wake the process. Only its lock does, which cancel_timer takes.
    """
    if process.timer_armed:
        process.timer_armed = 0
        cancel_timer(process.runtime, &process.timer)
        luna_store(&process.timer_fired, 0)


cdef void end_wait(Process* process, int64_t result) noexcept nogil:
    """What the process waited for is there."""
    process.wait = WAIT_DONE
    process.wait_result = result
    process.wait_sequence += 1
    if process.has_timer:
        process.has_timer = 0
        stop_timer(process)
    if process.wait_tags != NULL:
        free(process.wait_tags)
        process.wait_tags = NULL


cdef void end(Process* process, int kind, int code, const char* text) noexcept nogil:
    """Mark the process as ended; the first reason counts.

    What it has sent by itself still goes, if that takes a while; who is killed loses what it holds.
    """
    if kind == EXIT_KILLED or kind == EXIT_LINK_DIED:
        drop_held(process)
    if process.exit_kind >= 0:
        return
    process.exit_kind = kind
    process.exit_code = code
    process.exit_text = copy_text(text, strlen(text))


cdef int reserve_host_bytes(Process* process, int64_t bytes) noexcept nogil:
    """Count what the host keeps for the guest beyond its own memory; 0 when it is too much."""
    if process.host_bytes + bytes > HOST_BYTES_MAX:
        return 0
    process.host_bytes += bytes
    return 1


cdef uint64_t add_error(Process* process, const char* text, size_t size) noexcept nogil:
    """Id of a new entry in the table of errors, UINT64_MAX when there are too many."""
    cdef char* copy
    cdef uint64_t id
    if size > TEXT_MAX:
        size = TEXT_MAX
        while size > 0 and text[size] & 0xC0 == 0x80:  # guests take it for UTF-8: not in the middle of a character
            size -= 1
    if not reserve_host_bytes(process, <int64_t>size):
        return <uint64_t>-1
    copy = copy_text(text, size)
    id = table_add(&process.errors, copy)
    if id == <uint64_t>-1:
        process.host_bytes -= <int64_t>size
        free(copy)
    return id


cdef void take_as_scratch(Process* process, Signal* signal) noexcept nogil:
    free_signal(process.runtime, process.scratch)
    process.scratch = signal


cdef int matches(Process* process, Signal* signal) noexcept nogil:
    if process.wait == WAIT_NEXT:
        return 1
    if process.wait == WAIT_REPLY:
        return signal.tag != 0 and signal.tag == process.wait_tag
    if process.wait != WAIT_RECEIVE:
        return 0
    if process.wait_tag_count == 0:
        return 1
    return has_tag(signal.tag, process.wait_tags, process.wait_tag_count)


cdef void arrive(Process* process, Signal* signal) noexcept nogil:
    """A message for the guest: what it waits for, or one for the mailbox."""
    cdef int kind = signal.kind
    if process.exit_kind >= 0:
        free_signal(process.runtime, signal)
        return
    if matches(process, signal):
        kind = kind if process.wait == WAIT_RECEIVE else 0
        take_as_scratch(process, signal)
        end_wait(process, kind)
        return
    push(&process.mailbox, signal)
    if process.mailbox.bytes > MAILBOX_BYTES_MAX:
        end(process, EXIT_FAILURE, 1, b"its mailbox grew beyond 1 GiB: it must receive what it is sent")


cdef void go_on_writing(Process* process) noexcept nogil:
    process.wait = WAIT_NONE if process.wait == WAIT_ROOM else WAIT_DONE


cdef void node_down(Process* process, int node_id, uint32_t session) noexcept nogil:
    """The session with a node has ended: fire what belongs to it."""
    if process.blocked_node == node_id and process.blocked_session == session:
        process.blocked_session = NO_SESSION
    if not leave_session(process, node_id, session):
        return
    if process.wait == WAIT_RESULT and process.wait_node == node_id:
        end_wait(process, 0)  # `exists` on a node that is gone
    elif process.wait == WAIT_SPAWN and process.wait_node == node_id:
        fail_far_spawn(process, b"node %d went away", node_id, 1)


# -- signals ---------------------------------------------------------------------

cdef void fail_far_spawn(Process* process, const char* words, int node_id, int result) noexcept nogil:
    """No answer to a spawn on another node: it has an error, and the child, if there is one, will be killed."""
    cdef char text[80]
    snprintf(text, sizeof(text), words, node_id)
    process.wait_value = add_error(process, text, strlen(text))
    end_wait(process, result)


cdef void spawned(Process* process, Signal* signal) noexcept nogil:
    """Answer to this process's spawn: the child's pid, or the text of an error."""
    cdef int64_t child = signal.value
    cdef Signal* kill
    cdef int is_near = signal.sender >> NODE_SHIFT == process.runtime.node_id
    if process.wait != WAIT_SPAWN or signal.tag != process.wait_sequence:
        if child != 0 and not is_near:
            # The guest was told that it has no child.
            kill = new_signal(process.runtime, SIGNAL_KILL, process.pid)
            kill.session = signal.session
            deliver(process.runtime, kill, child, process.environment, NULL)
        return
    if child == 0:
        process.wait_value = add_error(process, signal.data, strlen(signal.data))
        end_wait(process, 1 if is_near else signal.exit)
        return
    process.wait_value = <uint64_t>child
    end_wait(process, 0)
    if is_near:
        process.newborn = child
    elif process.spawn_link_tag:
        link_to(process, child, 0, process.spawn_link_tag, signal.session)
    if process.spawn_monitors:
        watch_in(process, child, signal.session)


cdef void handle(Process* process, Signal* signal) noexcept nogil:
    """Act on one signal and consume it."""
    cdef Runtime* runtime = process.runtime
    if runtime.trace & TRACE_SIGNALS:
        trace_signal(process, signal)
    if signal.kind <= SIGNAL_PROCESS_DIED:
        arrive(process, signal)
        return
    if signal.kind == SIGNAL_KILL:
        end(process, EXIT_KILLED, 1, b"killed")
    elif signal.kind == SIGNAL_LINK:
        link_to(process, signal.sender, signal.tag, signal.value, signal.session)
    elif signal.kind == SIGNAL_UNLINK:
        forget_link(process, signal.sender)
    elif signal.kind == SIGNAL_LINK_DEATH:
        if concerns_links(process, signal):
            link_died(process, signal.sender, signal.tag, signal.exit, signal)
    elif signal.kind == SIGNAL_MONITOR:
        be_watched(process, signal.sender, signal.session)
    elif signal.kind == SIGNAL_STOP_MONITORING:
        forget_watcher(process, signal.sender)
    elif signal.kind == SIGNAL_PROCESS_DEATH:
        if concerns_links(process, signal):
            watched_died(process, signal.sender, signal.exit, signal)
    elif signal.kind == SIGNAL_DIE_WHEN_LINK_DIES:
        process.die_when_link_dies = signal.value != 0
    elif signal.kind == SIGNAL_SPAWNED:
        spawned(process, signal)
    elif signal.kind == SIGNAL_START:
        if process.wait == WAIT_START:
            process.wait = WAIT_NONE
    elif signal.kind == SIGNAL_CODE:
        if process.wait == WAIT_CODE:
            process.wait = WAIT_NONE
            if signal.size > 0:
                end(process, EXIT_FAILURE, 1, signal.data)
    elif signal.kind == SIGNAL_RESULT:
        if process.wait == WAIT_RESULT and process.request != NULL and signal.tag == process.wait_sequence:
            abandon_request(process)
            end_wait(process, signal.value)
            if signal.exit == ANSWER_TRAP:
                process.wait_trap = copy_text(signal.data, strlen(signal.data))
            elif signal.exit >= ANSWER_DATA:
                process.wait_data = signal
                return
    elif signal.kind == SIGNAL_EXISTS_REPLY:
        if process.wait == WAIT_RESULT and process.wait_node == signal.sender >> NODE_SHIFT and \
                signal.value == process.wait_sequence:
            end_wait(process, signal.tag)
    elif signal.kind == SIGNAL_NODE_DOWN:
        node_down(process, <int>signal.value, signal.session)
    elif signal.kind == SIGNAL_ROOM and signal.session != NO_SESSION:
        if process.blocked_node == signal.value and process.blocked_session == signal.session:
            process.blocked_session = NO_SESSION
            process.turn_node = process.blocked_node
    elif signal.kind == SIGNAL_ROOM:
        if process.wait >= WAIT_ROOM:
            go_on_writing(process)
    free_signal(runtime, signal)


cdef void drain(Process* process) noexcept nogil:
    """Act on everything that has arrived, in order."""
    cdef Signal* signal = take_inbox(process)
    cdef Signal* following
    while signal != NULL:
        following = signal.next
        handle(process, signal)
        signal = following
    if luna_load(&process.timer_fired):
        luna_store(&process.timer_fired, 0)
        if process.has_timer and process.wait > WAIT_DONE:
            if process.wait == WAIT_SPAWN:
                fail_far_spawn(process, b"node %d did not answer in 60 s", process.wait_node, TIMED_OUT)
            else:
                end_wait(process, 0 if process.wait == WAIT_SLEEP else TIMED_OUT)


# -- death -------------------------------------------------------------------------

cdef void refuse(Process* process, Signal* signal) noexcept nogil:
    """A signal that came after the end: nobody may be left waiting for an answer."""
    cdef Signal* answer
    cdef Runtime* runtime = process.runtime
    if signal.kind == SIGNAL_LINK and signal.sender != process.pid:
        answer = new_signal(runtime, SIGNAL_LINK_DEATH, process.pid)
        answer.tag = signal.tag
        answer.exit = EXIT_NORMAL if signal.exit == LINK_QUIETLY else EXIT_NO_PROCESS
        answer.session = signal.session
        deliver(runtime, answer, signal.sender, ANY_ENVIRONMENT, NULL)
    elif signal.kind == SIGNAL_MONITOR:
        answer = new_signal(runtime, SIGNAL_PROCESS_DEATH, process.pid)
        answer.exit = EXIT_NO_PROCESS
        answer.session = signal.session
        deliver(runtime, answer, signal.sender, ANY_ENVIRONMENT, NULL)
    elif signal.kind == SIGNAL_SPAWNED and signal.value != 0:
        if signal.sender >> NODE_SHIFT != runtime.node_id:
            answer_late(runtime, signal, process.pid)
        else:
            tell(runtime, SIGNAL_START, process.pid, signal.value, 0)
    elif signal.kind == SIGNAL_ROOM and signal.session != NO_SESSION:
        pass_turn(runtime, <int>signal.value)
    free_signal(runtime, signal)


cdef void bury(Process* process) noexcept nogil:
    """Take an ended process out of the table and tell everyone concerned."""
    cdef Runtime* runtime = process.runtime
    cdef Signal* signal
    cdef Signal* following
    cdef Timer* timer = remove(runtime, process)
    cdef Timer* later
    while timer != NULL:
        later = timer.listed_after
        drop_timer(timer)
        release_timer(timer)
        timer = later
    forget_names(process)
    if process.turn_node != 0:
        pass_turn(runtime, process.turn_node)
    if process.newborn:
        tell(runtime, SIGNAL_START, process.pid, process.newborn, 0)
        process.newborn = 0
    signal = take_inbox(process)
    while signal != NULL:
        following = signal.next
        refuse(process, signal)
        signal = following
    tell_deaths(process)
    luna_add64(&runtime.counters[TOTAL_EXITED], 1)


cdef void free_tables(Process* process) noexcept nogil:
    cdef size_t index
    cdef Timer* timer
    while process.incoming != NULL:  # when its runtime ends: else they went with it
        timer = process.incoming
        process.incoming = timer.listed_after
        release_timer(timer)
    for index in range(process.errors.count):
        free(process.errors.values[index])
    table_free(&process.errors)
    for index in range(process.configs.count):
        if process.configs.values[index] != NULL:
            release_config(process.runtime, <Config*>process.configs.values[index])
    table_free(&process.configs)
    for index in range(process.modules.count):
        if process.modules.values[index] != NULL:
            release_module(<Module*>process.modules.values[index])
    table_free(&process.modules)
    for index in range(process.timers.count):
        if process.timers.values[index] != NULL:
            release_timer(<Timer*>process.timers.values[index])
    table_free(&process.timers)
    free_early(process)


cdef void free_process(Process* process) noexcept nogil:
    """Free an ended process. Its future must be gone, its store goes here."""
    cdef Runtime* runtime = process.runtime
    cdef Signal* signal
    cdef Signal* following
    cdef size_t index
    stop_timer(process)
    if process.blocked_session != NO_SESSION:
        stop_waiting(runtime, process.blocked_node, &process.waiter)
    drop_held(process)
    abandon_request(process)
    for index in range(process.result_count):
        wasmtime_val_unroot(&process.results[index])  # there may be references among them
    if process.store != NULL:
        wasmtime_store_delete(process.store)
        luna_add64(&runtime.counters[COUNT_STORES], -1)
    if process.trap != NULL:
        wasm_trap_delete(process.trap)
    if process.error != NULL:
        wasmtime_error_delete(process.error)
    signal = take_inbox(process)
    while signal != NULL:
        following = signal.next
        free_signal(runtime, signal)
        signal = following
    clear(runtime, &process.mailbox)
    free_signal(runtime, process.scratch)
    free_signal(runtime, process.wait_data)
    free_tables(process)
    free_links(process)
    close_output(process.output)
    release_output(process.output)
    release_config(runtime, process.config)
    release_code(process.code)
    release_module(process.module)
    free(process.params)
    free(process.results)
    free(process.entry)
    free(process.exit_text)
    free(process.wait_tags)
    free(process.wait_trap)
    free(process)
    luna_add64(&runtime.counters[COUNT_PROCESSES], -1)
