"""Linear memories from slabs, for engines that copy a module's data at spawn.

A mapping made and unmade per process costs page faults, a lock the whole OS
process shares, and an interrupt on every other core. Here small memories are
slots of power-of-two size in large mappings. A slot that comes back is cleared:
by memset while few are kept, so that the next spawn meets no page fault, else by
giving its pages to the kernel. Larger memories have a mapping of their own.

Owns every slot; a memory belongs to one store, and only its thread touches it.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from libcpp.vector cimport vector

from luna.scheduler._limits cimport CLEARED_SLOT_MAX, MEMORY_SLAB_BYTES, SLOT_CLASSES, SLOT_MIN, WARM_MEMORIES
from luna.scheduler._platform cimport *
from luna.scheduler._wasmtime cimport *

cdef struct Memory:
    uint8_t* base
    size_t size
    size_t capacity

cdef struct Slab:
    uint8_t* next
    size_t left

cdef pthread_mutex_t slabs_lock
cdef Slab slabs[SLOT_CLASSES]
cdef vector[uint8_t*] warm[SLOT_CLASSES]
cdef vector[uint8_t*] cold[SLOT_CLASSES]

pthread_mutex_init(&slabs_lock, NULL)


cdef inline int class_of(size_t size) noexcept nogil:
    """The smallest class of slots that holds `size` bytes, SLOT_CLASSES if none does."""
    cdef int found = 0
    cdef size_t capacity = SLOT_MIN
    while capacity < size and found < SLOT_CLASSES:
        capacity *= 2
        found += 1
    return found


cdef uint8_t* map_pages(size_t size) noexcept nogil:
    cdef void* mapped = mmap(
        NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
    )
    if mapped == MAP_FAILED:
        return NULL
    madvise(mapped, size, MADV_NOHUGEPAGE)
    return <uint8_t*>mapped


cdef uint8_t* take_slot(int slot_class) noexcept nogil:
    """A zeroed slot, NULL when the system has no address space left."""
    cdef size_t capacity = <size_t>SLOT_MIN << slot_class
    cdef Slab* slab = &slabs[slot_class]
    cdef uint8_t* base = NULL
    pthread_mutex_lock(&slabs_lock)
    if warm[slot_class].size() > 0:
        base = warm[slot_class].back()
        warm[slot_class].pop_back()
    elif cold[slot_class].size() > 0:
        base = cold[slot_class].back()
        cold[slot_class].pop_back()
    else:
        if slab.left < capacity:
            slab.next = map_pages(MEMORY_SLAB_BYTES)
            slab.left = MEMORY_SLAB_BYTES if slab.next != NULL else 0
        if slab.left >= capacity:
            base = slab.next
            slab.next += capacity
            slab.left -= capacity
    pthread_mutex_unlock(&slabs_lock)
    return base


cdef void give_slot(uint8_t* base, int slot_class) noexcept nogil:
    cdef size_t capacity = <size_t>SLOT_MIN << slot_class
    cdef int is_warm
    pthread_mutex_lock(&slabs_lock)
    is_warm = capacity <= CLEARED_SLOT_MAX and warm[slot_class].size() < WARM_MEMORIES
    pthread_mutex_unlock(&slabs_lock)
    if is_warm:
        memset(base, 0, capacity)
    else:
        madvise(base, capacity, MADV_DONTNEED)
    pthread_mutex_lock(&slabs_lock)
    if is_warm:
        warm[slot_class].push_back(base)
    else:
        cold[slot_class].push_back(base)
    pthread_mutex_unlock(&slabs_lock)


cdef uint8_t* take_pages(size_t size, size_t* capacity) noexcept nogil:
    cdef int slot_class = class_of(size)
    if slot_class < SLOT_CLASSES:
        capacity[0] = <size_t>SLOT_MIN << slot_class
        return take_slot(slot_class)
    capacity[0] = size
    return map_pages(size)


cdef void give_pages(uint8_t* base, size_t capacity) noexcept nogil:
    cdef int slot_class = class_of(capacity)
    if slot_class < SLOT_CLASSES:
        give_slot(base, slot_class)
    else:
        munmap(base, capacity)


# -- what wasmtime calls ------------------------------------------------------------

cdef uint8_t* get_memory(void* env, size_t* size, size_t* capacity) noexcept nogil:
    cdef Memory* memory = <Memory*>env
    size[0] = memory.size
    capacity[0] = memory.capacity
    return memory.base


cdef wasmtime_error_t* grow_memory(void* env, size_t size) noexcept nogil:
    cdef Memory* memory = <Memory*>env
    cdef uint8_t* base
    cdef size_t capacity
    cdef size_t wanted
    if size > memory.capacity:
        # Half as much again, so that growing page by page copies each byte a few times only.
        wanted = memory.size + memory.size // 2
        base = take_pages(size if size > wanted else wanted, &capacity)
        if base == NULL:
            return wasmtime_error_new(b"no address space left to grow a memory")
        memcpy(base, memory.base, memory.size)
        give_pages(memory.base, memory.capacity)
        memory.base = base
        memory.capacity = capacity
    memory.size = size
    return NULL


cdef void free_memory(void* env) noexcept nogil:
    cdef Memory* memory = <Memory*>env
    give_pages(memory.base, memory.capacity)
    free(memory)


cdef wasmtime_error_t* new_memory(void* env, const wasm_memorytype_t* kind, size_t minimum, size_t maximum, size_t reserved, size_t guard, wasmtime_linear_memory_t* out) noexcept nogil:
    cdef Memory* memory = <Memory*>malloc(sizeof(Memory))
    memory.base = take_pages(minimum if minimum > 0 else 1, &memory.capacity)
    memory.size = minimum
    if memory.base == NULL:
        free(memory)
        return wasmtime_error_new(b"no address space left for another memory")
    out.env = memory
    out.get_memory = get_memory
    out.grow_memory = grow_memory
    out.finalizer = free_memory
    return NULL


cdef void use_slab_memories(wasm_config_t* config) noexcept nogil:
    """Make engines of `config` take their linear memories from the slabs."""
    cdef wasmtime_memory_creator_t creator
    creator.env = NULL
    creator.new_memory = new_memory
    creator.finalizer = NULL
    wasmtime_config_host_memory_creator_set(config, &creator)
