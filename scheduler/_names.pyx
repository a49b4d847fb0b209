"""The names of processes, one set for each environment.

A name whose process was of this node and has died is as good as free; it is
forgotten when it is next looked at. A name that a process is being spawned for
is held, by Python (`luna.scheduler.registry`): whoever else asks for it waits.

One lock guards all; it is taken before that of a shard of the process table.
"""

from libc.string cimport memcpy
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.unordered_set cimport unordered_set

from cython.operator cimport dereference as deref, preincrement

from luna.scheduler._platform cimport *
from luna.scheduler._table cimport is_alive
from luna.scheduler._types cimport *

cdef enum:
    KEY_PREFIX = 8             # bytes of the environment, before the name


cdef cppclass Names:
    pthread_mutex_t lock
    unordered_map[string, Registered] entries
    unordered_set[string] held
    unordered_map[uint64_t, int64_t] counts        # of entries, by environment
    unordered_map[int64_t, vector[string]] by_pid  # keys of the entries of a process, the oldest first
    int64_t swept_ns                               # when entries of the dead were last looked for


cdef void init_names(Runtime* runtime) noexcept nogil:
    cdef Names* names = new Names()
    pthread_mutex_init(&names.lock, NULL)
    names.swept_ns = 0
    runtime.names = names


cdef void clear_names(Runtime* runtime) noexcept nogil:
    """The runtime has stopped."""
    cdef Names* names = <Names*>runtime.names
    pthread_mutex_lock(&names.lock)
    names.entries.clear()
    names.held.clear()
    names.counts.clear()
    names.by_pid.clear()
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
    cdef unordered_map[string, Registered].iterator entry = names.entries.find(key)
    cdef unordered_map[int64_t, vector[string]].iterator owned
    cdef size_t index
    if entry == names.entries.end():
        return
    owned = names.by_pid.find(deref(entry).second.pid)
    for index in range(deref(owned).second.size()):
        if deref(owned).second[index] == key:
            deref(owned).second.erase(deref(owned).second.begin() + <ptrdiff_t>index)
            break
    if deref(owned).second.size() == 0:
        names.by_pid.erase(owned)
    names.counts[environment_of(key)] -= 1
    if names.counts[environment_of(key)] == 0:
        names.counts.erase(environment_of(key))
    names.entries.erase(entry)


cdef int is_dead(Runtime* runtime, const Registered& entry) noexcept nogil:
    return entry.pid >> NODE_SHIFT == runtime.node_id and not is_alive(runtime, entry.pid, ANY_ENVIRONMENT)


cdef void sweep(Runtime* runtime, Names* names, uint64_t environment) noexcept nogil:
    """Forget the dead of an environment that has as many names as it may; not more than once a second."""
    cdef unordered_map[string, Registered].iterator entry
    cdef vector[string] dead
    cdef size_t index
    if luna_now_ns() - names.swept_ns < SWEEP_INTERVAL_NS:
        return
    entry = names.entries.begin()
    while entry != names.entries.end():
        if environment_of(deref(entry).first) == environment and is_dead(runtime, deref(entry).second):
            dead.push_back(deref(entry).first)
        preincrement(entry)
    for index in range(dead.size()):
        erase(names, dead[index])
    names.swept_ns = luna_now_ns()


cdef int find_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder, Registered* found) noexcept nogil:
    """NAME_TAKEN with what it stands for, NAME_FREE or NAME_HELD."""
    cdef Names* names = <Names*>runtime.names
    cdef unordered_map[string, Registered].iterator entry
    cdef string key = key_of(environment, name, size)
    cdef int state = NAME_FREE
    pthread_mutex_lock(&names.lock)
    if not is_holder and names.held.count(key):
        state = NAME_HELD
    else:
        entry = names.entries.find(key)
        if entry != names.entries.end():
            if is_dead(runtime, deref(entry).second):
                erase(names, key)
            else:
                found[0] = deref(entry).second
                state = NAME_TAKEN
    pthread_mutex_unlock(&names.lock)
    return state


cdef int put_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder, int64_t node, int64_t pid) noexcept nogil:
    """Have a name stand for a process, whatever it stood for: NAME_TAKEN, NAME_HELD or NAMES_FULL."""
    cdef Names* names = <Names*>runtime.names
    cdef string key = key_of(environment, name, size)
    cdef Registered entry
    cdef int state = NAME_TAKEN
    entry.node = node
    entry.pid = pid
    pthread_mutex_lock(&names.lock)
    if not is_holder and names.held.count(key):
        state = NAME_HELD
    else:
        erase(names, key)
        if names.counts.count(environment) and names.counts[environment] >= NAMES_MAX:
            sweep(runtime, names, environment)
        if names.counts.count(environment) and names.counts[environment] >= NAMES_MAX:
            state = NAMES_FULL
        else:
            names.entries[key] = entry
            names.counts[environment] += 1
            names.by_pid[pid].push_back(key)
    pthread_mutex_unlock(&names.lock)
    return state


cdef int remove_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder) noexcept nogil:
    """Forget a name, if it is there: NAME_FREE or NAME_HELD."""
    cdef Names* names = <Names*>runtime.names
    cdef string key = key_of(environment, name, size)
    cdef int state = NAME_FREE
    pthread_mutex_lock(&names.lock)
    if not is_holder and names.held.count(key):
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


cdef void names_of(Runtime* runtime, int64_t pid, vector[string]* found) noexcept nogil:
    """The names of a process in whatever environment, the oldest first; also of one that has just ended."""
    cdef Names* names = <Names*>runtime.names
    cdef unordered_map[int64_t, vector[string]].iterator owned
    cdef size_t index
    pthread_mutex_lock(&names.lock)
    owned = names.by_pid.find(pid)
    if owned != names.by_pid.end():
        for index in range(deref(owned).second.size()):
            found.push_back(deref(owned).second[index].substr(KEY_PREFIX))
    pthread_mutex_unlock(&names.lock)
