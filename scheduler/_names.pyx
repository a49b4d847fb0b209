"""The names of processes, one set for each environment.

A process takes its names with it when it dies. One of another node keeps them:
what becomes of it is not known here. A name that a process is being spawned for
is held, by Python (`luna.scheduler.local_names`): whoever else asks for it waits.

While names are shared with other nodes, only Python changes them: here are those of
this node's processes, which nobody takes without this node's consent, so that a
guest finds them without asking Python.

One lock guards all; it is taken before that of a shard of the process table.
"""

from libc.string cimport memcpy
from libcpp.map cimport map as ordered_map
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.unordered_set cimport unordered_set

from cython.operator cimport dereference as deref, preincrement

from luna.scheduler._events cimport emit
from luna.scheduler._platform cimport *
from luna.scheduler._table cimport is_alive, lock_process, unlock_process
from luna.scheduler._types cimport *

cdef enum:
    KEY_PREFIX = 8             # bytes of the environment, before the name
    NAMES_TOLD = 3             # NAMES_SHOWN of luna.scheduler.failures
    FORGOTTEN_AT_ONCE = 1024   # names of one process, before others have a turn

ctypedef const string* Key             # one in `entries`, where it stays
ctypedef ordered_map[int64_t, Key] Keys

cdef struct Entry:
    Registered process
    int64_t place              # in the process's own list
    int64_t stamp_ms           # wall clock of the registration


# What the names of an environment take.
cdef struct Share:
    int64_t names
    int64_t bytes


cdef cppclass Names:
    pthread_mutex_t lock
    unordered_map[string, Entry] entries
    unordered_set[string] held
    unordered_map[uint64_t, Share] shares
    unordered_map[int64_t, Keys] by_pid            # of the entries of a process, by place: the oldest first
    int64_t last_place
    int shared                 # with other nodes


cdef void init_names(Runtime* runtime) noexcept nogil:
    cdef Names* names = new Names()
    pthread_mutex_init(&names.lock, NULL)
    names.last_place = 0
    names.shared = 0
    runtime.names = names


cdef void clear_names(Runtime* runtime) noexcept nogil:
    """The runtime has stopped."""
    cdef Names* names = <Names*>runtime.names
    pthread_mutex_lock(&names.lock)
    names.by_pid.clear()
    names.entries.clear()
    names.held.clear()
    names.shares.clear()
    pthread_mutex_unlock(&names.lock)


cdef string key_of(uint64_t environment, const char* name, size_t size) noexcept nogil:
    cdef string key
    key.reserve(KEY_PREFIX + size)
    key.append(<const char*>&environment, KEY_PREFIX)
    key.append(name, size)
    return key


cdef uint64_t environment_of(const string& key) noexcept nogil:
    cdef uint64_t environment
    memcpy(&environment, key.data(), KEY_PREFIX)
    return environment


cdef void erase(Names* names, const string& key) noexcept nogil:
    """Forget an entry, if it is there."""
    cdef unordered_map[string, Entry].iterator entry = names.entries.find(key)
    cdef unordered_map[int64_t, Keys].iterator owned
    cdef uint64_t environment
    cdef Share* share
    if entry == names.entries.end():
        return
    owned = names.by_pid.find(deref(entry).second.process.pid)
    deref(owned).second.erase(deref(entry).second.place)
    if deref(owned).second.size() == 0:
        names.by_pid.erase(owned)
    environment = environment_of(key)
    share = &names.shares[environment]
    share.names -= 1
    share.bytes -= <int64_t>key.size()
    if share.names == 0:
        names.shares.erase(environment)
    names.entries.erase(entry)


cdef int add(Names* names, const string& key, const Registered& process, int64_t stamp_ms) noexcept nogil:
    """Enter a name that is not there; 0 when its environment has too many."""
    cdef uint64_t environment = environment_of(key)
    cdef unordered_map[uint64_t, Share].iterator found = names.shares.find(environment)
    cdef unordered_map[string, Entry].iterator place
    cdef Share* share
    cdef Entry entry
    if found != names.shares.end() and (
        deref(found).second.names >= NAMES_MAX
        or deref(found).second.bytes + <int64_t>key.size() > ALL_NAMES_BYTES_MAX
    ):
        return 0
    share = &names.shares[environment]
    share.names += 1
    share.bytes += <int64_t>key.size()
    names.last_place += 1
    entry.process = process
    entry.place = names.last_place
    entry.stamp_ms = stamp_ms
    names.entries[key] = entry
    place = names.entries.find(key)
    names.by_pid[process.pid][entry.place] = &deref(place).first
    return 1


cdef int was_born(Runtime* runtime, int64_t pid) noexcept nogil:
    """Whether the pid is of this node and was given to a process: guests may register any number."""
    return pid >> NODE_SHIFT == runtime.node_id and pid & ((<int64_t>1 << NODE_SHIFT) - 1) <= luna_load64(&runtime.next_serial)


cdef int is_dead(Runtime* runtime, const Registered& process) noexcept nogil:
    return was_born(runtime, process.pid) and not is_alive(runtime, process.pid, ANY_ENVIRONMENT)


cdef int mark_named(Runtime* runtime, int64_t pid) noexcept nogil:
    """Have a process forget its names when it dies; 0 when it is dead. What was not born here has not died."""
    cdef Process* process
    if not was_born(runtime, pid):
        return 1
    process = lock_process(runtime, pid)
    if process == NULL:
        return 0
    process.has_names = 1
    unlock_process(runtime, pid)
    return 1


cdef int claim_process(Runtime* runtime, int64_t pid) noexcept nogil:
    """Whether a process of this node lives; if so, EVENT_UNNAMED tells of its death while names are shared."""
    return was_born(runtime, pid) and mark_named(runtime, pid)


cdef void share_names(Runtime* runtime, vector[OwnName]* found) noexcept nogil:
    """Have Python asked from now on; `found` gets the names of this node's processes, the others are forgotten."""
    cdef Names* names = <Names*>runtime.names
    cdef unordered_map[string, Entry].iterator entry
    cdef vector[string] foreign
    cdef OwnName own
    cdef size_t index
    pthread_mutex_lock(&names.lock)
    names.shared = 1
    entry = names.entries.begin()
    while entry != names.entries.end():
        if was_born(runtime, deref(entry).second.process.pid):
            own.environment = environment_of(deref(entry).first)
            own.name = deref(entry).first.substr(KEY_PREFIX)
            own.process = deref(entry).second.process
            own.stamp_ms = deref(entry).second.stamp_ms
            found.push_back(own)
        else:
            foreign.push_back(deref(entry).first)
        preincrement(entry)
    for index in range(foreign.size()):
        erase(names, foreign[index])
    pthread_mutex_unlock(&names.lock)


cdef void unshare_names(Runtime* runtime) noexcept nogil:
    """Have guests' calls answered here again."""
    cdef Names* names = <Names*>runtime.names
    pthread_mutex_lock(&names.lock)
    names.shared = 0
    pthread_mutex_unlock(&names.lock)


cdef int find_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder, Registered* found) noexcept nogil:
    """NAME_TAKEN with what it stands for, NAME_FREE or NAME_HELD."""
    cdef Names* names = <Names*>runtime.names
    cdef unordered_map[string, Entry].iterator entry
    cdef string key = key_of(environment, name, size)
    cdef int state = NAME_FREE
    pthread_mutex_lock(&names.lock)
    if not is_holder and names.held.count(key):
        state = NAME_HELD
    else:
        entry = names.entries.find(key)
        # The dead are on their way out: what of them is still here is as good as gone.
        if entry != names.entries.end() and not is_dead(runtime, deref(entry).second.process):
            found[0] = deref(entry).second.process
            state = NAME_TAKEN
        elif names.shared and not is_holder:
            state = NAME_HELD
    pthread_mutex_unlock(&names.lock)
    return state


cdef int put_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder, int64_t node, int64_t pid, int64_t stamp_ms) noexcept nogil:
    """Have a name stand for a process, whatever it stood for: NAME_TAKEN, NAME_HELD or NAMES_FULL."""
    cdef Names* names = <Names*>runtime.names
    cdef string key = key_of(environment, name, size)
    cdef Registered process
    cdef int state = NAME_TAKEN
    process.node = node
    process.pid = pid
    pthread_mutex_lock(&names.lock)
    if not is_holder and (names.shared or names.held.count(key)):
        state = NAME_HELD
    else:
        erase(names, key)
        # Under the lock: a process that dies from now on finds the name when it forgets its own.
        if mark_named(runtime, pid) and not add(names, key, process, stamp_ms):
            state = NAMES_FULL
    pthread_mutex_unlock(&names.lock)
    return state


cdef int remove_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder) noexcept nogil:
    """Forget a name, if it is there: NAME_FREE or NAME_HELD."""
    cdef Names* names = <Names*>runtime.names
    cdef string key = key_of(environment, name, size)
    cdef int state = NAME_FREE
    pthread_mutex_lock(&names.lock)
    if not is_holder and (names.shared or names.held.count(key)):
        state = NAME_HELD
    else:
        erase(names, key)
    pthread_mutex_unlock(&names.lock)
    return state


cdef void hold_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int held) noexcept nogil:
    """Have guests that use the name ask Python, or no more."""
    cdef Names* names = <Names*>runtime.names
    cdef string key = key_of(environment, name, size)
    pthread_mutex_lock(&names.lock)
    if held:
        names.held.insert(key)
    else:
        names.held.erase(key)
    pthread_mutex_unlock(&names.lock)


cdef int64_t names_of(Runtime* runtime, int64_t pid, vector[string]* found) noexcept nogil:
    """How many names a process has in whatever environment; `found` gets the first, the oldest first."""
    cdef Names* names = <Names*>runtime.names
    cdef unordered_map[int64_t, Keys].iterator owned
    cdef Keys.iterator each
    cdef int64_t count = 0
    pthread_mutex_lock(&names.lock)
    owned = names.by_pid.find(pid)
    if owned != names.by_pid.end():
        count = <int64_t>deref(owned).second.size()
        each = deref(owned).second.begin()
        while each != deref(owned).second.end() and found.size() < NAMES_TOLD:
            found.push_back(deref(each).second.substr(KEY_PREFIX))
            preincrement(each)
    pthread_mutex_unlock(&names.lock)
    return count


cdef void forget_names(Process* process) noexcept nogil:
    """Forget the names of a process that has left the table: nobody gives it more."""
    cdef Names* names = <Names*>process.runtime.names
    cdef unordered_map[int64_t, Keys].iterator owned
    cdef int more = process.has_names
    cdef int count
    cdef int tell
    while more:
        more = 0
        pthread_mutex_lock(&names.lock)
        for count in range(FORGOTTEN_AT_ONCE):
            owned = names.by_pid.find(process.pid)
            more = owned != names.by_pid.end()
            if not more:
                break
            erase(names, deref(deref(deref(owned).second.begin()).second))
        tell = names.shared and not more
        pthread_mutex_unlock(&names.lock)
        if tell:
            emit(process.runtime, EVENT_UNNAMED, process.pid, 0, 0, NULL, NULL)
