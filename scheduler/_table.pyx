"""The process table: from a pid to a live process of this node.

Sharded by serial number; a shard is a hash table with linear probing. Holding
a shard's lock keeps its processes alive, so a signal is posted under it. Owns
the inbox of a process, a stack that senders push to without a lock of their own
and its owner takes whole.
"""

from libc.stdlib cimport calloc, free

from luna.scheduler._platform cimport *
from luna.scheduler._runqueue cimport wake
from luna.scheduler._types cimport *


cdef void init_table(Runtime* runtime) noexcept nogil:
    cdef int index
    for index in range(SHARDS):
        pthread_mutex_init(&runtime.shards[index].lock, NULL)


cdef Process** take_slots(Shard* shard, size_t* capacity) noexcept nogil:
    """The slots of a shard, now the caller's to free: who asks from now on finds nobody."""
    cdef Process** slots
    pthread_mutex_lock(&shard.lock)
    slots = shard.slots
    capacity[0] = shard.capacity
    shard.slots = NULL
    shard.capacity = 0
    shard.count = 0
    pthread_mutex_unlock(&shard.lock)
    return slots


cdef inline Shard* shard_of(Runtime* runtime, int64_t pid) noexcept nogil:
    return &runtime.shards[pid & (SHARDS - 1)]


cdef inline size_t slot_of(int64_t pid, size_t capacity) noexcept nogil:
    # Serials of one shard differ above its bits; a multiplication spreads them.
    return ((<uint64_t>pid >> 8) * <uint64_t>0x9E3779B97F4A7C15 >> 20) & (capacity - 1)


cdef Process* find(Shard* shard, int64_t pid) noexcept nogil:
    cdef size_t slot
    cdef Process* process
    if shard.capacity == 0:
        return NULL
    slot = slot_of(pid, shard.capacity)
    while True:
        process = shard.slots[slot]
        if process == NULL or process.pid == pid:
            return process
        slot = (slot + 1) & (shard.capacity - 1)


cdef int grow(Shard* shard) noexcept nogil:
    cdef size_t capacity = shard.capacity * 2 if shard.capacity else 16
    cdef Process** slots = <Process**>calloc(capacity, sizeof(Process*))
    cdef size_t index, slot
    if slots == NULL:
        return 0
    for index in range(shard.capacity):
        if shard.slots[index] != NULL:
            slot = slot_of(shard.slots[index].pid, capacity)
            while slots[slot] != NULL:
                slot = (slot + 1) & (capacity - 1)
            slots[slot] = shard.slots[index]
    free(shard.slots)
    shard.slots = slots
    shard.capacity = capacity
    return 1


cdef int insert(Runtime* runtime, Process* process) noexcept nogil:
    """0 when there is no memory for a larger table."""
    cdef Shard* shard = shard_of(runtime, process.pid)
    cdef size_t slot
    cdef int fits = 1
    pthread_mutex_lock(&shard.lock)
    if (shard.count + 1) * 4 > shard.capacity * 3:
        fits = grow(shard)
    if fits:
        slot = slot_of(process.pid, shard.capacity)
        while shard.slots[slot] != NULL:
            slot = (slot + 1) & (shard.capacity - 1)
        shard.slots[slot] = process
        shard.count += 1
    pthread_mutex_unlock(&shard.lock)
    return fits


cdef Timer* remove(Runtime* runtime, Process* process) noexcept nogil:
    """After this no other thread reaches the process. Gives the timers that are for it, now the caller's."""
    cdef Shard* shard = shard_of(runtime, process.pid)
    cdef Timer* timer
    cdef Timer* timers
    cdef size_t mask, slot, following, home
    pthread_mutex_lock(&shard.lock)
    mask = shard.capacity - 1
    slot = slot_of(process.pid, shard.capacity)
    while shard.slots[slot] != process:
        slot = (slot + 1) & mask
    # Close the gap, so that probing needs no tombstones.
    following = slot
    while True:
        following = (following + 1) & mask
        if shard.slots[following] == NULL:
            break
        home = slot_of(shard.slots[following].pid, shard.capacity)
        if ((following - home) & mask) >= ((following - slot) & mask):
            shard.slots[slot] = shard.slots[following]
            slot = following
    shard.slots[slot] = NULL
    shard.count -= 1
    timers = process.incoming
    process.incoming = NULL
    timer = timers
    while timer != NULL:
        timer.listed = 0
        timer = timer.listed_after
    pthread_mutex_unlock(&shard.lock)
    return timers


cdef int list_timer(Timer* timer) noexcept nogil:
    """Have a timer end with its target, which holds a reference; 0 when that process is dead."""
    cdef Shard* shard = shard_of(timer.runtime, timer.target)
    cdef Process* process
    pthread_mutex_lock(&shard.lock)
    process = find(shard, timer.target)
    if process != NULL and process.environment != timer.environment:
        process = NULL
    if process != NULL:
        luna_add(&timer.references, 1)
        timer.listed = 1
        timer.listed_after = process.incoming
        if process.incoming != NULL:
            process.incoming.listed_before = timer
        process.incoming = timer
    pthread_mutex_unlock(&shard.lock)
    return process != NULL


cdef int unlist_timer(Timer* timer) noexcept nogil:
    """Whether its target held it until now: then that reference is the caller's."""
    cdef Shard* shard = shard_of(timer.runtime, timer.target)
    cdef Process* process
    cdef int listed
    pthread_mutex_lock(&shard.lock)
    process = find(shard, timer.target)
    # When the runtime ends, processes are out of the table and let go of their timers themselves.
    listed = timer.listed and process != NULL
    if listed:
        timer.listed = 0
        if timer.listed_before != NULL:
            timer.listed_before.listed_after = timer.listed_after
        else:
            process.incoming = timer.listed_after
        if timer.listed_after != NULL:
            timer.listed_after.listed_before = timer.listed_before
    pthread_mutex_unlock(&shard.lock)
    return listed


cdef int is_listed(Timer* timer) noexcept nogil:
    cdef Shard* shard = shard_of(timer.runtime, timer.target)
    cdef int listed
    pthread_mutex_lock(&shard.lock)
    listed = timer.listed
    pthread_mutex_unlock(&shard.lock)
    return listed


cdef void push_inbox(Process* process, Signal* signal) noexcept nogil:
    cdef void* head
    while True:
        head = luna_load_ptr(&process.inbox)
        signal.next = <Signal*>head
        if luna_cas_ptr(&process.inbox, head, signal):
            return


cdef Signal* take_inbox(Process* process) noexcept nogil:
    """All signals that came since the last call, oldest first."""
    cdef Signal* signal
    cdef Signal* previous = NULL
    cdef Signal* following
    if luna_load_ptr(&process.inbox) == NULL:
        return NULL
    signal = <Signal*>luna_exchange_ptr(&process.inbox, NULL)
    while signal != NULL:
        following = signal.next
        signal.next = previous
        previous = signal
        signal = following
    return previous


cdef int post(Runtime* runtime, int64_t pid, uint64_t environment, Signal* signal) noexcept nogil:
    """Hand a signal to a live process of this node.

    Returns how crowded its mailbox is (1: not, 2: very), or 0 when there is no
    such process in the environment (UINT64_MAX: in any); then the signal stays
    with the caller.
    """
    cdef Shard* shard = shard_of(runtime, pid)
    cdef Process* process
    cdef int answer = 0
    pthread_mutex_lock(&shard.lock)
    process = find(shard, pid)
    if process != NULL and (environment == ANY_ENVIRONMENT or process.environment == environment):
        push_inbox(process, signal)
        wake(runtime, process)
        answer = 2 if luna_load64(&process.mailbox.count) > MAILBOX_CROWDED else 1
    pthread_mutex_unlock(&shard.lock)
    return answer


cdef int is_alive(Runtime* runtime, int64_t pid, uint64_t environment) noexcept nogil:
    cdef Shard* shard = shard_of(runtime, pid)
    cdef Process* process
    cdef int alive
    pthread_mutex_lock(&shard.lock)
    process = find(shard, pid)
    alive = process != NULL and (environment == ANY_ENVIRONMENT or process.environment == environment)
    pthread_mutex_unlock(&shard.lock)
    return alive


cdef Process* lock_process(Runtime* runtime, int64_t pid) noexcept nogil:
    """The process, its shard locked until unlock_process; NULL (and unlocked) if dead."""
    cdef Shard* shard = shard_of(runtime, pid)
    cdef Process* process
    pthread_mutex_lock(&shard.lock)
    process = find(shard, pid)
    if process == NULL:
        pthread_mutex_unlock(&shard.lock)
    return process


cdef void unlock_process(Runtime* runtime, int64_t pid) noexcept nogil:
    pthread_mutex_unlock(&shard_of(runtime, pid).lock)
