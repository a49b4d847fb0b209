"""Signals, mailboxes, and the reference-counted things that travel in them.

Owns their memory: whoever holds a Signal frees it or hands it on. Knows
nothing of processes, threads or guests.
"""

from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset, strlen
from libcpp.algorithm cimport sort

from luna.scheduler._code cimport release_module
from luna.scheduler._events cimport emit
from luna.scheduler._platform cimport *
from luna.scheduler._types cimport *


cdef Signal* new_signal(Runtime* runtime, int kind, int64_t sender) noexcept nogil:
    cdef Signal* signal = <Signal*>malloc(sizeof(Signal))
    signal.next = NULL
    signal.kind = kind
    signal.exit = 0
    signal.session = 0
    signal.sender = sender
    signal.tag = 0
    signal.value = 0
    signal.data = signal.inline_data
    signal.size = 0
    signal.capacity = MESSAGE_INLINE_BYTES
    signal.offset = 0
    signal.resources = NULL
    signal.resource_count = 0
    luna_add64(&runtime.counters[COUNT_SIGNALS], 1)
    return signal


cdef void free_signal(Runtime* runtime, Signal* signal) noexcept nogil:
    cdef uint32_t index
    if signal == NULL:
        return
    if signal.data != signal.inline_data:
        free(signal.data)
    for index in range(signal.resource_count):
        if signal.resources[index].kind == RESOURCE_MODULE:
            release_module(<Module*>signal.resources[index].pointer)
        elif signal.resources[index].kind == RESOURCE_HASH:
            free(signal.resources[index].pointer)
        elif signal.resources[index].kind >= RESOURCE_FOREIGN:
            emit(runtime, EVENT_DROPPED, <int64_t>signal.resources[index].pointer, 0, 0, NULL, NULL)
    free(signal.resources)
    free(signal)
    luna_add64(&runtime.counters[COUNT_SIGNALS], -1)


cdef int reserve(Signal* signal, size_t capacity) noexcept nogil:
    """Make room for `capacity` bytes in all; 0 if that is too much."""
    cdef char* data
    if capacity <= signal.capacity:
        return 1
    if capacity > MESSAGE_BYTES_MAX:
        return 0
    if signal.data == signal.inline_data:
        data = <char*>malloc(capacity)
        if data == NULL:
            return 0
        memcpy(data, signal.inline_data, signal.size)
    else:
        data = <char*>realloc(signal.data, capacity)
        if data == NULL:
            return 0
    signal.data = data
    signal.capacity = capacity
    return 1


cdef int append(Signal* signal, const char* data, size_t size) noexcept nogil:
    """Add bytes at the end; 0 if the message would be too large."""
    cdef size_t needed = signal.size + size
    cdef size_t doubled
    if needed > signal.capacity:
        doubled = signal.capacity * 2
        if doubled > MESSAGE_BYTES_MAX:
            doubled = MESSAGE_BYTES_MAX
        if not reserve(signal, needed if needed > doubled else doubled):
            return 0
    memcpy(signal.data + signal.size, data, size)
    signal.size = needed
    return 1


cdef void set_text(Signal* signal, const char* text) noexcept nogil:
    """Store `text` with its final zero."""
    cdef size_t size = strlen(text)
    if size > TEXT_MAX:
        size = TEXT_MAX
    append(signal, text, size)
    append(signal, b"\0", 1)


cdef int add_resource(Signal* signal, int kind, void* pointer) noexcept nogil:
    """Index of the new slot, or -1 when the message has too many."""
    cdef uint32_t count = signal.resource_count
    cdef Resource* grown
    if count >= MESSAGE_RESOURCES_MAX:
        return -1
    if (count & (count - 1)) == 0:  # 0, 1, 2, 4, ...: full
        grown = <Resource*>realloc(signal.resources, sizeof(Resource) * (count * 2 if count else 1))
        if grown == NULL:
            return -1
        signal.resources = grown
    signal.resources[count].kind = kind
    signal.resources[count].pointer = pointer
    signal.resource_count = count + 1
    return <int>count


# -- mailboxes ---------------------------------------------------------------

cdef inline int64_t footprint(Signal* signal) noexcept nogil:
    return <int64_t>(sizeof(Signal) + (signal.capacity if signal.data != signal.inline_data else 0))


cdef void push(Mailbox* mailbox, Signal* signal) noexcept nogil:
    signal.next = NULL
    if mailbox.last == NULL:
        mailbox.first = signal
    else:
        mailbox.last.next = signal
    mailbox.last = signal
    mailbox.bytes += footprint(signal)
    luna_store64(&mailbox.count, mailbox.count + 1)


cdef inline void unlink_after(Mailbox* mailbox, Signal* previous, Signal* signal) noexcept nogil:
    if previous == NULL:
        mailbox.first = signal.next
    else:
        previous.next = signal.next
    if mailbox.last == signal:
        mailbox.last = previous
    signal.next = NULL
    mailbox.bytes -= footprint(signal)
    luna_store64(&mailbox.count, mailbox.count - 1)


cdef void sort_tags(int64_t* tags, size_t count) noexcept nogil:
    sort(tags, tags + count)


cdef int has_tag(int64_t tag, const int64_t* tags, size_t count) noexcept nogil:
    """Whether a message's tag is among sorted ones; 0 is "no tag" and matches nothing."""
    cdef size_t low = 0
    cdef size_t high = count
    cdef size_t middle
    if tag == 0:
        return 0
    while low < high:
        middle = (low + high) // 2
        if tags[middle] < tag:
            low = middle + 1
        else:
            high = middle
    return low < count and tags[low] == tag


cdef Signal* pop_first(Mailbox* mailbox) noexcept nogil:
    cdef Signal* signal = mailbox.first
    if signal != NULL:
        unlink_after(mailbox, NULL, signal)
    return signal


cdef Signal* pop_tagged(Mailbox* mailbox, const int64_t* tags, size_t count) noexcept nogil:
    """The oldest message whose tag is among the sorted `tags`; the others keep their order."""
    cdef Signal* previous = NULL
    cdef Signal* signal = mailbox.first
    while signal != NULL:
        if has_tag(signal.tag, tags, count):
            unlink_after(mailbox, previous, signal)
            return signal
        previous = signal
        signal = signal.next
    return NULL


cdef void clear(Runtime* runtime, Mailbox* mailbox) noexcept nogil:
    cdef Signal* signal = mailbox.first
    cdef Signal* following
    while signal != NULL:
        following = signal.next
        free_signal(runtime, signal)
        signal = following
    mailbox.first = NULL
    mailbox.last = NULL
    mailbox.bytes = 0
    luna_store64(&mailbox.count, 0)


# -- shared, reference-counted -------------------------------------------------

cdef void retain_config(Config* config) noexcept nogil:
    luna_add(&config.references, 1)


cdef void release_config(Runtime* runtime, Config* config) noexcept nogil:
    if luna_add(&config.references, -1) == 0:
        luna_add64(&runtime.counters[COUNT_CONFIGS], -1)
        del config


cdef Config* new_config(Runtime* runtime) noexcept nogil:
    """A config with the defaults of `create_config`: no rights, 4 GiB of memory."""
    cdef Config* config = new Config()
    config.references = 1
    config.max_memory = 0xFFFFFFFF
    config.max_fuel = 0
    config.bytes = 0
    config.can_compile = 0
    config.can_create_configs = 0
    config.can_spawn = 0
    config.restricts = 0
    memset(&config.refused, 0, sizeof(RowSet))
    luna_add64(&runtime.counters[COUNT_CONFIGS], 1)
    return config


cdef Config* copy_config(Runtime* runtime, Config* config) noexcept nogil:
    cdef Config* copy = new_config(runtime)
    copy.max_memory = config.max_memory
    copy.max_fuel = config.max_fuel
    copy.can_compile = config.can_compile
    copy.can_create_configs = config.can_create_configs
    copy.can_spawn = config.can_spawn
    copy.restricts = config.restricts
    copy.refused = config.refused
    copy.namespaces = config.namespaces
    copy.preopens = config.preopens
    copy.arguments = config.arguments
    copy.variables = config.variables
    copy.bytes = config.bytes
    return copy


cdef void retain_output(Output* output) noexcept nogil:
    luna_add(&output.references, 1)


cdef void release_output(Output* output) noexcept nogil:
    cdef Output* leader
    while output != NULL and luna_add(&output.references, -1) == 0:
        leader = output.leader
        luna_add64(&output.runtime.counters[COUNT_OUTPUTS], -1)
        pthread_mutex_destroy(&output.lock)
        if output.held != NULL:
            del output.held
        free(output.data)
        free(output)
        output = leader


cdef void release_timer(Timer* timer) noexcept nogil:
    """Give up one reference: the owner's table, the heap or a line for room, and the target hold one each."""
    if luna_add(&timer.references, -1) == 0:
        free_signal(timer.runtime, timer.signal)
        luna_add64(&timer.runtime.counters[COUNT_TIMERS], -1)
        free(timer)


cdef char* copy_text(const char* text, size_t size) noexcept nogil:
    """A zero-terminated copy of at most TEXT_MAX bytes, to be freed by the caller."""
    cdef char* copy
    if size > TEXT_MAX:
        size = TEXT_MAX
    copy = <char*>malloc(size + 1)
    memcpy(copy, text, size)
    copy[size] = 0
    return copy


# -- tables of ids -------------------------------------------------------------

cdef inline int64_t find(IdTable* table, uint64_t id) noexcept nogil:
    cdef size_t low = 0
    cdef size_t high = table.count
    cdef size_t middle
    while low < high:
        middle = (low + high) // 2
        if table.ids[middle] < id:
            low = middle + 1
        else:
            high = middle
    if low < table.count and table.ids[low] == id and table.values[low] != NULL:
        return <int64_t>low
    return -1


cdef uint64_t table_add(IdTable* table, void* value) noexcept nogil:
    """Id of the new entry, or UINT64_MAX when the table is full."""
    cdef uint64_t id
    cdef size_t kept, index
    if table.count - table.removed >= RESOURCES_MAX:
        return <uint64_t>-1
    if table.count == table.capacity:
        if table.removed * 2 > table.count:
            kept = 0
            for index in range(table.count):
                if table.values[index] != NULL:
                    table.ids[kept] = table.ids[index]
                    table.values[kept] = table.values[index]
                    kept += 1
            table.count = kept
            table.removed = 0
        else:
            table.capacity = table.capacity * 2 if table.capacity else 4
            table.ids = <uint64_t*>realloc(table.ids, table.capacity * sizeof(uint64_t))
            table.values = <void**>realloc(table.values, table.capacity * sizeof(void*))
    id = table.next_id
    table.next_id += 1
    table.ids[table.count] = id
    table.values[table.count] = value
    table.count += 1
    return id


cdef void* table_get(IdTable* table, uint64_t id) noexcept nogil:
    cdef int64_t index = find(table, id)
    return table.values[index] if index >= 0 else NULL


cdef void* table_remove(IdTable* table, uint64_t id) noexcept nogil:
    cdef int64_t index = find(table, id)
    cdef void* value
    if index < 0:
        return NULL
    value = table.values[index]
    table.values[index] = NULL
    table.removed += 1
    return value


cdef void table_free(IdTable* table) noexcept nogil:
    """Free the table, not what it points to."""
    free(table.ids)
    free(table.values)
    table.ids = NULL
    table.values = NULL
    table.count = 0
    table.capacity = 0
