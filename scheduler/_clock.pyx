"""The clock: one thread that ends time slices and fires timers.

While any scheduler thread has work it raises the epoch of every engine each
EPOCH_NS, which makes running guests yield; when all are idle it sleeps until
the next timer, so that an idle node uses no processor time. Timers are a
binary heap whose nodes know their index: setting and cancelling is O(log n).

Lock order: the clock's lock before a queue's.
"""

from libc.stdlib cimport free, realloc

from luna.scheduler._delivery cimport deliver_timer
from luna.scheduler._platform cimport *
from luna.scheduler._runqueue cimport surface_stale, wake
from luna.scheduler._signals cimport free_signal, release_timer
from luna.scheduler._table cimport unlist_timer
from luna.scheduler._types cimport *

cdef int64_t FOREVER = 0x7FFFFFFFFFFFFFFF
# nanoseconds the clock ticks on with every thread idle, so that a short rest
# does not cost two thread wake-ups
cdef int64_t LINGER_NS = 5_000_000


cdef void init_clock(Runtime* runtime) noexcept nogil:
    pthread_mutex_init(&runtime.clock_lock, NULL)
    luna_cond_init(&runtime.clock_cond)


cdef void empty_clock(Runtime* runtime) noexcept nogil:
    """Drop what timers hold. Only when no thread runs any more."""
    cdef int64_t index
    cdef Timer* timer
    for index in range(runtime.heap_count):
        runtime.heap[index].index = -1
        if runtime.heap[index].kind == TIMER_SEND:
            timer = <Timer*>runtime.heap[index].owner
            release_timer(timer)
    free(runtime.heap)
    runtime.heap = NULL
    runtime.heap_count = 0


cdef inline void place(Runtime* runtime, TimerNode* node, int64_t index) noexcept nogil:
    runtime.heap[index] = node
    node.index = index


cdef void sift_up(Runtime* runtime, TimerNode* node, int64_t index) noexcept nogil:
    cdef int64_t parent
    while index > 0:
        parent = (index - 1) // 2
        if runtime.heap[parent].deadline_ns <= node.deadline_ns:
            break
        place(runtime, runtime.heap[parent], index)
        index = parent
    place(runtime, node, index)


cdef void sift_down(Runtime* runtime, TimerNode* node, int64_t index) noexcept nogil:
    cdef int64_t child
    while True:
        child = index * 2 + 1
        if child >= runtime.heap_count:
            break
        if child + 1 < runtime.heap_count and \
                runtime.heap[child + 1].deadline_ns < runtime.heap[child].deadline_ns:
            child += 1
        if node.deadline_ns <= runtime.heap[child].deadline_ns:
            break
        place(runtime, runtime.heap[child], index)
        index = child
    place(runtime, node, index)


cdef void remove_node(Runtime* runtime, TimerNode* node) noexcept nogil:
    cdef int64_t index = node.index
    cdef TimerNode* last
    runtime.heap_count -= 1
    last = runtime.heap[runtime.heap_count]
    node.index = -1
    if last == node:
        return
    if index > 0 and last.deadline_ns < runtime.heap[(index - 1) // 2].deadline_ns:
        sift_up(runtime, last, index)
    else:
        sift_down(runtime, last, index)


cdef int set_timer(Runtime* runtime, TimerNode* node, int64_t deadline_ns) noexcept nogil:
    """Start a timer that is not running; 0 when there is no memory for it."""
    cdef TimerNode** grown
    cdef int64_t capacity
    pthread_mutex_lock(&runtime.clock_lock)
    if runtime.heap_count == runtime.heap_capacity:
        capacity = runtime.heap_capacity * 2 if runtime.heap_capacity else 64
        grown = <TimerNode**>realloc(runtime.heap, <size_t>capacity * sizeof(TimerNode*))
        if grown == NULL:
            pthread_mutex_unlock(&runtime.clock_lock)
            return 0
        runtime.heap = grown
        runtime.heap_capacity = capacity
    node.deadline_ns = deadline_ns
    runtime.heap_count += 1
    sift_up(runtime, node, runtime.heap_count - 1)
    if deadline_ns < runtime.clock_deadline_ns:
        pthread_cond_signal(&runtime.clock_cond)
    pthread_mutex_unlock(&runtime.clock_lock)
    return 1


cdef int cancel_timer(Runtime* runtime, TimerNode* node) noexcept nogil:
    """Whether the timer was still running. It will not fire after this returns."""
    cdef int running
    pthread_mutex_lock(&runtime.clock_lock)
    running = node.index >= 0
    if running:
        remove_node(runtime, node)
    pthread_mutex_unlock(&runtime.clock_lock)
    return running


cdef void keep_ticking(Runtime* runtime) noexcept nogil:
    """Called by a scheduler thread that finds work: epochs must advance."""
    if luna_load_seq(&runtime.clock_sleeping):
        pthread_mutex_lock(&runtime.clock_lock)
        pthread_cond_signal(&runtime.clock_cond)
        pthread_mutex_unlock(&runtime.clock_lock)


cdef Timer* fire_due(Runtime* runtime, int64_t now) noexcept nogil:
    """Fire some of what is due; a TIMER_SEND is returned, to be delivered without the lock."""
    cdef TimerNode* node
    cdef Process* process
    cdef int fired = 0
    while fired < TIMERS_AT_ONCE and runtime.heap_count > 0 and runtime.heap[0].deadline_ns <= now:
        fired += 1
        node = runtime.heap[0]
        remove_node(runtime, node)
        if node.kind == TIMER_SEND:
            return <Timer*>node.owner
        process = <Process*>node.owner
        luna_store(&process.timer_fired, 1)
        wake(runtime, process)
    return NULL


cdef void drop_timer(Timer* timer) noexcept nogil:
    """Give up a timer whose target is dead, and what that would have been sent, unless it has just fired."""
    if cancel_timer(timer.runtime, &timer.node):
        free_signal(timer.runtime, timer.signal)
        timer.signal = NULL
        luna_store(&timer.dropped, 1)
        release_timer(timer)


cdef void send_due(Timer* timer) noexcept nogil:
    if unlist_timer(timer):
        release_timer(timer)
    if deliver_timer(timer, 0):
        release_timer(timer)


cdef void tick(Runtime* runtime) noexcept nogil:
    cdef int index
    luna_store64(&runtime.epoch, runtime.epoch + 1)
    for index in range(luna_load(&runtime.engine_count)):
        wasmtime_engine_increment_epoch(runtime.engines[index])
    surface_stale(runtime)


cdef void* run_clock(void* argument) noexcept nogil:
    """Body of the clock thread; ends when every scheduler thread has."""
    cdef Runtime* runtime = <Runtime*>argument
    cdef int64_t now, next_tick, idle_since, deadline
    cdef Timer* timer
    cdef int busy
    next_tick = luna_now_ns() + EPOCH_NS
    idle_since = luna_now_ns()
    pthread_mutex_lock(&runtime.clock_lock)
    while not luna_load(&runtime.clock_ends):
        now = luna_now_ns()
        timer = fire_due(runtime, now)
        if timer != NULL:
            pthread_mutex_unlock(&runtime.clock_lock)
            send_due(timer)
            pthread_mutex_lock(&runtime.clock_lock)
            continue
        busy = luna_load_seq(&runtime.idle) < runtime.worker_count
        if busy:
            idle_since = now
        if now >= next_tick:
            pthread_mutex_unlock(&runtime.clock_lock)
            tick(runtime)
            pthread_mutex_lock(&runtime.clock_lock)
            next_tick = now + EPOCH_NS
            continue
        deadline = runtime.heap[0].deadline_ns if runtime.heap_count > 0 else FOREVER
        if now - idle_since < LINGER_NS:
            if next_tick < deadline:
                deadline = next_tick
        else:
            luna_exchange(&runtime.clock_sleeping, 1)
            # Either a thread that starts now sees the flag or it is seen here.
            if luna_load_seq(&runtime.idle) < runtime.worker_count:
                luna_exchange(&runtime.clock_sleeping, 0)
                continue
        runtime.clock_deadline_ns = deadline
        if deadline == FOREVER:
            pthread_cond_wait(&runtime.clock_cond, &runtime.clock_lock)
        else:
            luna_cond_wait_until(&runtime.clock_cond, &runtime.clock_lock, deadline)
        runtime.clock_deadline_ns = 0
        luna_exchange(&runtime.clock_sleeping, 0)
    pthread_mutex_unlock(&runtime.clock_lock)
    return NULL
