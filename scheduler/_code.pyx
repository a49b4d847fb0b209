"""Modules and their linked code: shared by the processes that run it.

A module is linked once for processes that may call and compute what they want.
For each set of host calls that others may not make it is linked again, with
stubs that trap in their place, so that the rule costs nothing when none of
them is called; a compute limit needs code that counts. Also finds the modules
that exist, by hash and by the number that guests use.
"""

from cython.operator cimport dereference as deref
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from luna.scheduler._platform cimport *
from luna.scheduler._types cimport *


cdef void retain_module(Module* module) noexcept nogil:
    luna_add(&module.references, 1)


cdef void release_module(Module* module) noexcept nogil:
    cdef size_t index
    if luna_add(&module.references, -1) == 0:
        unlist_module(module)
        luna_add64(&module.runtime.counters[COUNT_MODULES], -1)
        wasmtime_instance_pre_delete(module.code)
        for index in range(module.codes.size()):
            release_code(module.codes.at(index))
        del module.codes
        pthread_mutex_destroy(&module.codes_lock)
        free(module.name)
        free(module)


# -- those that exist --------------------------------------------------------------------

cdef void init_modules(Runtime* runtime) noexcept nogil:
    pthread_mutex_init(&runtime.modules_lock, NULL)
    runtime.modules = new unordered_map[int64_t, Module*]()


cdef void list_module(Module* module) noexcept nogil:
    """Let a new module be found, instead of an earlier one of the same bytes."""
    cdef Runtime* runtime = module.runtime
    pthread_mutex_lock(&runtime.modules_lock)
    deref(runtime.modules)[module.id] = module
    pthread_mutex_unlock(&runtime.modules_lock)


cdef void unlist_module(Module* module) noexcept nogil:
    cdef Runtime* runtime = module.runtime
    cdef unordered_map[int64_t, Module*].iterator found
    pthread_mutex_lock(&runtime.modules_lock)
    found = runtime.modules.find(module.id)
    if found != runtime.modules.end() and deref(found).second == module:
        runtime.modules.erase(found)
    pthread_mutex_unlock(&runtime.modules_lock)


cdef Module* find_module(Runtime* runtime, int64_t id, const uint8_t* sha256) noexcept nogil:
    """A new reference to the module of that id, NULL if there is none or, unless that is NULL, it has another hash."""
    cdef unordered_map[int64_t, Module*].iterator found
    cdef Module* module = NULL
    cdef int references
    pthread_mutex_lock(&runtime.modules_lock)
    found = runtime.modules.find(id)
    if found != runtime.modules.end():
        module = deref(found).second
        if sha256 != NULL and memcmp(module.sha256, sha256, 32) != 0:
            module = NULL
    while module != NULL:
        references = luna_load(&module.references)
        if references == 0:  # whoever let go of it waits for this lock
            module = NULL
        elif luna_cas(&module.references, references, references + 1):
            break
    pthread_mutex_unlock(&runtime.modules_lock)
    return module


cdef int64_t module_id_of(const uint8_t* sha256) noexcept nogil:
    """The number guests know a module by: the first 8 bytes of its hash, made positive."""
    cdef uint64_t id = 0
    cdef int index
    for index in range(8):
        id = id << 8 | sha256[index]
    return <int64_t>(id << 1 >> 1)


# -- linked in other ways ------------------------------------------------------------------


cdef Code* find_code(Module* module, int counts_fuel, const RowSet* refused) noexcept nogil:
    """A new reference to such code, NULL when there is none yet."""
    cdef Code* code
    cdef Code* found = NULL
    cdef size_t index
    pthread_mutex_lock(&module.codes_lock)
    for index in range(module.codes.size()):
        code = module.codes.at(index)
        if code.counts_fuel == counts_fuel and memcmp(&code.refused, refused, sizeof(RowSet)) == 0:
            luna_add(&code.references, 1)
            found = code
            if index > 0:
                module.codes.erase(module.codes.begin() + <ptrdiff_t>index)
                module.codes.insert(module.codes.begin(), code)
            break
    pthread_mutex_unlock(&module.codes_lock)
    return found


cdef void add_code(Module* module, int counts_fuel, const RowSet* refused, wasmtime_instance_pre_t* linked) noexcept nogil:
    """Keep code for `find_code`; takes `linked` over. What was used least is given up for it."""
    cdef Code* code = <Code*>malloc(sizeof(Code))
    cdef Code* last = NULL
    code.references = 1
    code.counts_fuel = counts_fuel
    code.refused = refused[0]
    code.linked = linked
    pthread_mutex_lock(&module.codes_lock)
    module.codes.insert(module.codes.begin(), code)
    if module.codes.size() > CODES_MAX:
        last = module.codes.back()
        module.codes.pop_back()
    pthread_mutex_unlock(&module.codes_lock)
    release_code(last)


cdef void release_code(Code* code) noexcept nogil:
    if code != NULL and luna_add(&code.references, -1) == 0:
        wasmtime_instance_pre_delete(code.linked)
        free(code)
