"""The links and monitors of a process, as seen by the thread that runs it.

Owns its tables of them, and of the sessions with other nodes that they are in. Three doors lead out of those
tables: the other process ended (`link_died`, `watched_died`), its node is gone (`leave_session`), or this process
ended (`tell_deaths`).
"""

from cython.operator cimport dereference as deref, preincrement
from libc.stdio cimport snprintf

from luna.scheduler._delivery cimport deliver
from luna.scheduler._peers cimport bind, current_session, unbind
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport arrive, drain, end
from luna.scheduler._signals cimport append, new_signal
from luna.scheduler._types cimport *


# -- sessions --------------------------------------------------------------------------------

cdef uint32_t bound_session(Process* process, int node_id) noexcept nogil:
    """The session with a node that this process has links or monitors in; NO_SESSION: none."""
    cdef size_t index
    if process.bound_nodes != NULL:
        for index in range(process.bound_nodes.size()):
            if process.bound_nodes.at(index).first == node_id:
                return process.bound_nodes.at(index).second
    return NO_SESSION


cdef int concerns_links(Process* process, const Signal* death) noexcept nogil:
    """Whether a death is of the session that links and monitors are in: the end of an earlier one has fired its own.

    An answer for the dead may come behind the end of the session that it is of.
    """
    cdef int node_id = <int>(death.sender >> NODE_SHIFT)
    return node_id == process.runtime.node_id or bound_session(process, node_id) == death.session


cdef uint32_t bind_to_node(Process* process, int64_t peer, uint32_t session) noexcept nogil:
    """Be told when the session with a remote process's node ends; its number, NO_SESSION if it has ended.

    `session` is the one that the other process spoke in, or CURRENT_SESSION for what this process does itself.
    All its links and monitors across to a node belong to one session: before it enters a new one, what came
    of earlier ones, their end included, is acted on. The end of a session is in the inbox before the next begins.
    """
    cdef int node_id = <int>(peer >> NODE_SHIFT)
    if node_id == process.runtime.node_id:
        return CURRENT_SESSION
    if session == CURRENT_SESSION:
        session = current_session(process.runtime, node_id)
        if session == NO_SESSION or bound_session(process, node_id) != session:
            drain(process)
    if session == NO_SESSION or bound_session(process, node_id) == session:
        return session
    if not bind(process.runtime, node_id, session, process.pid):
        return NO_SESSION
    if process.bound_nodes == NULL:
        process.bound_nodes = new vector[pair[int, uint32_t]]()
    process.bound_nodes.push_back(pair[int, uint32_t](node_id, session))
    return session


# -- links -----------------------------------------------------------------------------------

cdef uint32_t link_to(Process* process, int64_t peer, int64_t theirs, int64_t mine, uint32_t session) noexcept nogil:
    """Record a link: each side learns the other's death with its own tag. As bind_to_node; NO_SESSION: it died at once."""
    cdef LinkTags tags
    session = bind_to_node(process, peer, session)
    tags.theirs = theirs
    tags.mine = mine
    if process.links == NULL:
        process.links = new unordered_map[int64_t, LinkTags]()
    deref(process.links)[peer] = tags
    if session == NO_SESSION:
        # Now, not as a signal: behind it there may be a link of the next session with the same process.
        link_died(process, peer, mine, EXIT_NO_CONNECTION, NULL)
    return session


cdef void link_with(Process* process, int64_t target, int64_t tag, int how) noexcept nogil:
    """Link this process to another; `how`: 0 or LINK_QUIETLY."""
    cdef Signal* signal
    cdef uint32_t session = link_to(process, target, tag, tag, CURRENT_SESSION)
    if session == NO_SESSION or process.exit_kind >= 0:
        return
    signal = new_signal(process.runtime, SIGNAL_LINK, process.pid)
    signal.tag = tag
    signal.value = tag
    signal.exit = <uint8_t>how
    signal.session = session
    deliver(process.runtime, signal, target, process.environment, process)


cdef void note_exit(Signal* notice, int exit, const Signal* death) noexcept nogil:
    """Put into the notice for a guest how the other process ended; `death` is what told of it, NULL: its node is gone."""
    notice.exit = <uint8_t>exit
    if death != NULL:
        notice.value = death.value
        append(notice, death.data, death.size)


cdef void link_died(Process* process, int64_t peer, int64_t tag, int exit, const Signal* death) noexcept nogil:
    """A linked process ended; `death` as of note_exit."""
    cdef Signal* message
    cdef char text[64]
    if process.links == NULL or process.links.erase(peer) == 0:
        return
    if exit == EXIT_NORMAL:
        return
    if process.die_when_link_dies:
        snprintf(text, sizeof(text), b"a linked process died: %lld", <long long>peer)
        end(process, EXIT_LINK_DIED, 1, text)
        return
    message = new_signal(process.runtime, SIGNAL_LINK_DIED, peer)
    message.tag = tag
    note_exit(message, exit, death)
    arrive(process, message)


cdef void forget_link(Process* process, int64_t peer) noexcept nogil:
    """One of both has taken the link back."""
    if process.links != NULL:
        process.links.erase(peer)


# -- monitors --------------------------------------------------------------------------------

cdef uint32_t watch_in(Process* process, int64_t target, uint32_t session) noexcept nogil:
    """Record a monitor: exactly one notice will come, unless it is taken back. As bind_to_node; NO_SESSION: it has."""
    session = bind_to_node(process, target, session)
    if process.watching == NULL:
        process.watching = new unordered_set[int64_t]()
    process.watching.insert(target)
    if session == NO_SESSION:
        watched_died(process, target, EXIT_NO_CONNECTION, NULL)
    return session


cdef void watch(Process* process, int64_t target, uint64_t environment) noexcept nogil:
    """Monitor a process."""
    cdef Signal* signal
    cdef uint32_t session = watch_in(process, target, CURRENT_SESSION)
    if session == NO_SESSION:
        return
    signal = new_signal(process.runtime, SIGNAL_MONITOR, process.pid)
    signal.session = session
    deliver(process.runtime, signal, target, environment, process)


cdef void watched_died(Process* process, int64_t target, int exit, const Signal* death) noexcept nogil:
    """A monitored process ended; `death` as of note_exit."""
    cdef Signal* message
    if process.watching == NULL or process.watching.erase(target) == 0:
        return
    message = new_signal(process.runtime, SIGNAL_PROCESS_DIED, target)
    note_exit(message, exit, death)
    arrive(process, message)


cdef void be_watched(Process* process, int64_t watcher, uint32_t session) noexcept nogil:
    """Tell that process when this one ends; `session` as of bind_to_node."""
    if process.watchers == NULL:
        process.watchers = new unordered_set[int64_t]()
    if bind_to_node(process, watcher, session) != NO_SESSION:
        process.watchers.insert(watcher)


cdef void forget_watched(Process* process, int64_t target) noexcept nogil:
    """This process has taken its monitor back."""
    if process.watching != NULL:
        process.watching.erase(target)


cdef void forget_watcher(Process* process, int64_t watcher) noexcept nogil:
    """The other one has taken its monitor back."""
    if process.watchers != NULL:
        process.watchers.erase(watcher)


# -- ends ------------------------------------------------------------------------------------

cdef int leave_session(Process* process, int node_id, uint32_t session) noexcept nogil:
    """Fire the links and monitors in a session that has ended; 0 if this process was not bound to it."""
    cdef vector[pair[int64_t, int64_t]] links
    cdef vector[int64_t] watching
    cdef unordered_map[int64_t, LinkTags].iterator link
    cdef unordered_set[int64_t].iterator each
    cdef size_t index
    if bound_session(process, node_id) != session:
        return 0
    for index in range(process.bound_nodes.size()):
        if process.bound_nodes.at(index).first == node_id:
            process.bound_nodes.erase(process.bound_nodes.begin() + <ptrdiff_t>index)
            break
    if process.links != NULL:
        link = process.links.begin()
        while link != process.links.end():
            if deref(link).first >> NODE_SHIFT == node_id:
                links.push_back(pair[int64_t, int64_t](deref(link).first, deref(link).second.mine))
            preincrement(link)
        for index in range(links.size()):
            link_died(process, links[index].first, links[index].second, EXIT_NO_CONNECTION, NULL)
    if process.watching != NULL:
        each = process.watching.begin()
        while each != process.watching.end():
            if deref(each) >> NODE_SHIFT == node_id:
                watching.push_back(deref(each))
            preincrement(each)
        for index in range(watching.size()):
            watched_died(process, watching[index], EXIT_NO_CONNECTION, NULL)
    if process.watchers != NULL:
        watching.clear()
        each = process.watchers.begin()
        while each != process.watchers.end():
            if deref(each) >> NODE_SHIFT == node_id:
                watching.push_back(deref(each))
            preincrement(each)
        for index in range(watching.size()):
            process.watchers.erase(watching[index])
    return 1


cdef size_t first_line(const char* text) noexcept nogil:
    """Bytes of a text's first line, or as many whole characters of it as a notice takes."""
    cdef size_t size = 0
    while size < EXIT_TEXT_BYTES and text[size] != 0 and text[size] != b"\n":
        size += 1
    while size > 0 and text[size] & 0xC0 == 0x80:
        size -= 1
    return size


cdef void tell_death(Process* process, int kind, int64_t target, int64_t tag) noexcept nogil:
    cdef Signal* signal
    cdef int node_id = <int>(target >> NODE_SHIFT)
    cdef uint32_t session = NO_SESSION
    if node_id != process.runtime.node_id:
        session = bound_session(process, node_id)
        if session == NO_SESSION:
            return  # a link into a session that had ended: the other side never knew of it
    signal = new_signal(process.runtime, kind, process.pid)
    signal.tag = tag
    signal.exit = <uint8_t>process.exit_kind
    signal.value = process.exit_code
    if process.exit_kind != EXIT_NORMAL:
        append(signal, process.exit_text, first_line(process.exit_text))
    signal.session = session
    deliver(process.runtime, signal, target, ANY_ENVIRONMENT, NULL)


cdef void tell_deaths(Process* process) noexcept nogil:
    """This process has ended: tell all who are linked to it or watch it."""
    cdef Runtime* runtime = process.runtime
    cdef unordered_map[int64_t, LinkTags].iterator link
    cdef unordered_set[int64_t].iterator each
    cdef size_t index
    if process.links != NULL:
        link = process.links.begin()
        while link != process.links.end():
            tell_death(process, SIGNAL_LINK_DEATH, deref(link).first, deref(link).second.theirs)
            preincrement(link)
    if process.watchers != NULL:
        each = process.watchers.begin()
        while each != process.watchers.end():
            tell_death(process, SIGNAL_PROCESS_DEATH, deref(each), 0)
            preincrement(each)
    if process.bound_nodes != NULL:
        for index in range(process.bound_nodes.size()):
            unbind(runtime, process.bound_nodes.at(index).first, process.pid)


cdef void free_links(Process* process) noexcept nogil:
    """Free the tables; nobody is told."""
    if process.links != NULL:
        del process.links
    if process.watchers != NULL:
        del process.watchers
    if process.watching != NULL:
        del process.watching
    if process.bound_nodes != NULL:
        del process.bound_nodes
