"""Fiber stacks from one slab.

A mapping per stack would end at the kernel's limit of 65 530 mappings; here
1024 stacks share one. Owns every stack: handed out, taken back, never unmapped
while the OS process lives. Never touches the memory of a stack.
"""

from libc.stdint cimport uint8_t
from libcpp.vector cimport vector

from luna.scheduler._limits cimport FIBER_STACK_BYTES, SLAB_STACKS, WARM_STACKS
from luna.scheduler._platform cimport *
from luna.scheduler._wasmtime cimport *

cdef pthread_mutex_t slab_lock
cdef vector[uint8_t*] warm      # last used first, pages kept
cdef vector[uint8_t*] cold      # pages given back
cdef uint8_t* slab = NULL
cdef size_t slab_left = 0
cdef long in_use = 0

pthread_mutex_init(&slab_lock, NULL)


cdef uint8_t* take_stack() noexcept nogil:
    """Base of a stack, or NULL when the system has no address space left."""
    global slab, slab_left, in_use
    cdef uint8_t* base = NULL
    cdef void* mapped
    pthread_mutex_lock(&slab_lock)
    if warm.size() > 0:
        base = warm.back()
        warm.pop_back()
    elif cold.size() > 0:
        base = cold.back()
        cold.pop_back()
    else:
        if slab_left == 0:
            mapped = mmap(
                NULL, <size_t>SLAB_STACKS * FIBER_STACK_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
            )
            if mapped != MAP_FAILED:
                # A huge page would make every parked process 2 MiB.
                madvise(mapped, <size_t>SLAB_STACKS * FIBER_STACK_BYTES, MADV_NOHUGEPAGE)
                slab = <uint8_t*>mapped
                slab_left = SLAB_STACKS
        if slab_left > 0:
            base = slab
            slab += FIBER_STACK_BYTES
            slab_left -= 1
    if base != NULL:
        in_use += 1
    pthread_mutex_unlock(&slab_lock)
    return base


cdef void give_stack(void* env) noexcept nogil:
    global in_use
    cdef uint8_t* base = <uint8_t*>env
    cdef int is_cold = 0
    pthread_mutex_lock(&slab_lock)
    in_use -= 1
    if warm.size() < WARM_STACKS:
        warm.push_back(base)
    else:
        is_cold = 1
    pthread_mutex_unlock(&slab_lock)
    if is_cold:
        madvise(base, FIBER_STACK_BYTES, MADV_DONTNEED)
        pthread_mutex_lock(&slab_lock)
        cold.push_back(base)
        pthread_mutex_unlock(&slab_lock)


cdef uint8_t* stack_top(void* env, size_t* length) noexcept nogil:
    length[0] = FIBER_STACK_BYTES
    return <uint8_t*>env + FIBER_STACK_BYTES


cdef wasmtime_error_t* new_stack(void* env, size_t size, wbool zeroed, wasmtime_stack_memory_t* out) noexcept nogil:
    cdef uint8_t* base
    if size > FIBER_STACK_BYTES:
        return wasmtime_error_new(b"a fiber stack larger than the slab's was asked for")
    base = take_stack()
    if base == NULL:
        return wasmtime_error_new(b"no address space left for another fiber stack")
    out.env = base
    out.get_stack_memory = stack_top
    out.finalizer = give_stack
    return NULL


cdef void use_slab_stacks(wasm_config_t* config) noexcept nogil:
    """Make engines of `config` take their fiber stacks from the slab."""
    cdef wasmtime_stack_creator_t creator
    creator.env = NULL
    creator.new_stack = new_stack
    creator.finalizer = NULL
    wasmtime_config_async_stack_size_set(config, FIBER_STACK_BYTES)
    wasmtime_config_host_stack_creator_set(config, &creator)


cdef long stacks_in_use() noexcept nogil:
    """Stacks handed out and not given back, of all runtimes of this OS process."""
    cdef long count
    pthread_mutex_lock(&slab_lock)
    count = in_use
    pthread_mutex_unlock(&slab_lock)
    return count
