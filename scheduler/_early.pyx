"""What only processes of early Lunatic have: handles of processes, and environments.

Early guests know processes by handles of their own, and an environment is what
its processes may do together with the names registered in it. Whoever holds an
environment, in its table or through a module, is charged for the texts in its
config. Lunatic's later environments, which separate processes from each other,
are another thing.
"""

from cython.operator cimport dereference as deref, preincrement
from libc.stdlib cimport calloc, free

from luna.scheduler._code cimport retain_module
from luna.scheduler._events cimport emit
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport reserve_host_bytes
from luna.scheduler._signals cimport *
from luna.scheduler._types cimport *


cdef Early* early_of(Process* process) noexcept nogil:
    if process.early == NULL:
        process.early = <Early*>calloc(1, sizeof(Early))
    return process.early


# -- environments --------------------------------------------------------------------

cdef EarlyEnvironment* new_environment(Runtime* runtime, Config* config, int64_t id) noexcept nogil:
    """An environment with one reference; the config must not change any more."""
    cdef EarlyEnvironment* environment = <EarlyEnvironment*>calloc(1, sizeof(EarlyEnvironment))
    environment.references = 1
    environment.runtime = runtime
    environment.id = id
    retain_config(config)
    environment.config = config
    luna_add64(&runtime.counters[COUNT_ENVIRONMENTS], 1)
    return environment


cdef inline EarlyEnvironment* retain_environment(EarlyEnvironment* environment) noexcept nogil:
    luna_add(&environment.references, 1)
    return environment


cdef void release_environment(EarlyEnvironment* environment) noexcept nogil:
    if environment == NULL or luna_add(&environment.references, -1) != 0:
        return
    if luna_load(&environment.has_names):
        emit(environment.runtime, EVENT_FORGOTTEN, environment.id, 0, 0, NULL, NULL)
    release_config(environment.runtime, environment.config)
    luna_add64(&environment.runtime.counters[COUNT_ENVIRONMENTS], -1)
    free(environment)


cdef inline int64_t charge(EarlyEnvironment* environment) noexcept nogil:
    """Bytes that holding an environment counts for its holder."""
    return environment.config.bytes + CONFIG_ENTRY_BYTES


cdef EarlyEnvironment* own_environment(Process* process) noexcept nogil:
    """The one a process runs in; NULL: the root one."""
    return process.early.own if process.early != NULL else NULL


cdef void enter_environment(Process* process, EarlyEnvironment* environment) noexcept nogil:
    """A new process is to run there; NULL: in the root one."""
    if environment != NULL:
        early_of(process).own = retain_environment(environment)


cdef int64_t hold_environment(Process* process, EarlyEnvironment* environment) noexcept nogil:
    """Id of a new entry in the table of environments, -1 when there are too many."""
    cdef int64_t id
    if not reserve_host_bytes(process, charge(environment)):
        return -1
    id = <int64_t>table_add(&early_of(process).environments, environment)
    if id == -1:
        process.host_bytes -= charge(environment)
    else:
        retain_environment(environment)
    return id


cdef EarlyEnvironment* find_environment(Process* process, int64_t id) noexcept nogil:
    """NULL if unknown."""
    return <EarlyEnvironment*>table_get(&early_of(process).environments, <uint64_t>id)


cdef int drop_environment(Process* process, int64_t id) noexcept nogil:
    """0 if unknown."""
    cdef EarlyEnvironment* environment = <EarlyEnvironment*>table_remove(
        &early_of(process).environments, <uint64_t>id
    )
    if environment == NULL:
        return 0
    process.host_bytes -= charge(environment)
    release_environment(environment)
    return 1


# -- modules and the environments they were added to -----------------------------------

cdef int64_t add_module_of(Process* process, Module* module, EarlyEnvironment* environment) noexcept nogil:
    """Id of a module whose processes run in that environment, -1 when there are too many."""
    cdef Early* early = early_of(process)
    cdef int64_t id
    if not reserve_host_bytes(process, charge(environment)):
        return -1
    id = <int64_t>table_add(&process.modules, module)
    if id == -1:
        process.host_bytes -= charge(environment)
        return -1
    retain_module(module)
    if early.homes == NULL:
        early.homes = new unordered_map[int64_t, EarlyEnvironment*]()
    deref(early.homes)[id] = retain_environment(environment)
    return id


cdef EarlyEnvironment* home_of(Process* process, int64_t module_id) noexcept nogil:
    """The environment a module was added to; NULL: to none, so it is that of whoever spawns."""
    cdef unordered_map[int64_t, EarlyEnvironment*].iterator found
    if process.early == NULL or process.early.homes == NULL:
        return NULL
    found = process.early.homes.find(module_id)
    if found == process.early.homes.end():
        return NULL
    return deref(found).second


cdef void forget_home(Process* process, int64_t module_id) noexcept nogil:
    """The module was dropped."""
    cdef EarlyEnvironment* environment = home_of(process, module_id)
    if environment != NULL:
        process.early.homes.erase(module_id)
        process.host_bytes -= charge(environment)
        release_environment(environment)


# -- handles of processes ----------------------------------------------------------------

cdef int64_t add_handle(Process* process, int64_t pid) noexcept nogil:
    """Id of a new handle, -1 when there are too many."""
    return <int64_t>table_add(&early_of(process).handles, <void*>pid)


cdef int64_t find_handle(Process* process, int64_t id) noexcept nogil:
    """The pid behind a handle, 0 if unknown."""
    return <int64_t>table_get(&process.early.handles, <uint64_t>id) if process.early != NULL else 0


cdef int64_t remove_handle(Process* process, int64_t id) noexcept nogil:
    """The same, and the handle is gone."""
    return <int64_t>table_remove(&process.early.handles, <uint64_t>id) if process.early != NULL else 0


cdef void free_early(Process* process) noexcept nogil:
    cdef Early* early = process.early
    cdef unordered_map[int64_t, EarlyEnvironment*].iterator home
    cdef size_t index
    if early == NULL:
        return
    process.early = NULL
    release_environment(early.own)
    table_free(&early.handles)
    for index in range(early.environments.count):
        release_environment(<EarlyEnvironment*>early.environments.values[index])
    table_free(&early.environments)
    if early.homes != NULL:
        home = early.homes.begin()
        while home != early.homes.end():
            release_environment(deref(home).second)
            preincrement(home)
        del early.homes
    free(early)
