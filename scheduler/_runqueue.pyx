"""Run queues: who runs next, on which scheduler thread.

Each thread has two queues, of processes woken by a signal and of processes
that used up their time slice, and one `next` slot for the process woken last
by what runs on the thread: a reply runs on the core where its message is still
warm. Idle threads steal. Owns the queues and the sleep of idle threads; never
looks inside a process but at its `state` and `queue_next`.

Lock order: a shard's, the clock's or a peer's lock may be held when a queue's
is taken, never the other way round.
"""

from luna.scheduler._platform cimport *
from luna.scheduler._types cimport *

cdef extern from * nogil:
    """
    static __thread void *luna_this_worker;
    static inline void *luna_get_worker(void) { return luna_this_worker; }
    static inline void luna_set_worker(void *w) { luna_this_worker = w; }
    """
    void* luna_get_worker()
    void luna_set_worker(void*)


cdef Worker* current_worker() noexcept nogil:
    """The scheduler thread this code runs on, NULL on any other thread."""
    return <Worker*>luna_get_worker()


cdef void set_current_worker(Worker* worker) noexcept nogil:
    luna_set_worker(worker)


cdef void init_queues(Runtime* runtime) noexcept nogil:
    cdef int index
    cdef Worker* worker
    pthread_mutex_init(&runtime.injector_lock, NULL)
    pthread_mutex_init(&runtime.park_lock, NULL)
    for index in range(runtime.worker_count + 1):  # the last is for a thread that borrows
        worker = &runtime.workers[index]
        worker.runtime = runtime
        worker.index = index
        worker.random = 0x9E3779B9u * (index + 1)
        pthread_mutex_init(&worker.lock, NULL)
        luna_cond_init(&worker.wake)


cdef inline void put(Queue* queue, Process* process) noexcept nogil:
    process.queue_next = NULL
    if queue.last == NULL:
        queue.first = process
    else:
        queue.last.queue_next = process
    queue.last = process
    luna_store64(&queue.count, queue.count + 1)


cdef inline int is_empty(Queue* queue) noexcept nogil:
    """A look without the lock: may be stale, and then costs one more round."""
    return luna_load64(&queue.count) == 0


cdef inline Process* peek_next(Worker* worker) noexcept nogil:
    """The same for the `next` slot."""
    return <Process*>luna_load_ptr(<void**>&worker.next)


cdef inline Process* take(Queue* queue) noexcept nogil:
    cdef Process* process = queue.first
    if process != NULL:
        queue.first = process.queue_next
        if queue.first == NULL:
            queue.last = NULL
        luna_store64(&queue.count, queue.count - 1)
        process.queue_next = NULL
    return process


cdef void wake_one_thread(Runtime* runtime) noexcept nogil:
    cdef int index
    cdef Worker* worker
    if luna_load_seq(&runtime.idle) == 0:
        return
    pthread_mutex_lock(&runtime.park_lock)
    for index in range(runtime.worker_count):
        worker = &runtime.workers[index]
        if worker.parked and not worker.waking:
            worker.waking = 1
            pthread_cond_signal(&worker.wake)
            break
    pthread_mutex_unlock(&runtime.park_lock)


cdef inline void put_counted(Runtime* runtime, Queue* queue, pthread_mutex_t* lock, Process* process) noexcept nogil:
    pthread_mutex_lock(lock)
    put(queue, process)
    pthread_mutex_unlock(lock)
    luna_add(&runtime.queued, 1)


cdef void wake(Runtime* runtime, Process* process) noexcept nogil:
    """Make a process run that has something to look at.

    The caller guarantees that the process lives on during the call: it holds
    the lock of its shard, or the clock's lock with its timer set.
    """
    cdef int state
    cdef Worker* worker
    while True:
        state = luna_load(&process.state)
        if state == STATE_WAITING:
            if luna_cas(&process.state, STATE_WAITING, STATE_QUEUED):
                break
        elif state == STATE_RUNNING:
            if luna_cas(&process.state, STATE_RUNNING, STATE_NOTIFIED):
                return
        else:
            return
    worker = <Worker*>luna_get_worker()
    if worker != NULL and worker.runtime == runtime:
        wake_from(worker, process)
    else:
        put_counted(runtime, &runtime.injector, &runtime.injector_lock, process)
        wake_one_thread(runtime)


cdef void wake_from(Worker* worker, Process* process) noexcept nogil:
    """Queue a process (state QUEUED already) on the thread that woke it."""
    cdef Process* displaced
    cdef Runtime* runtime = worker.runtime
    pthread_mutex_lock(&worker.lock)
    displaced = worker.next
    luna_store_ptr(<void**>&worker.next, process)
    worker.next_since = luna_load64(&runtime.epoch)
    if displaced != NULL:
        put(&worker.woken, displaced)
    pthread_mutex_unlock(&worker.lock)
    if displaced != NULL:
        luna_add(&runtime.queued, 1)
        # A single one this thread comes to soon, or the next epoch offers it to others: a sleeping
        # thread woken for it would fight this one for every process it makes.
        if luna_load64(&worker.woken.count) >= WOKEN_WORTH_A_THREAD:
            wake_one_thread(runtime)


cdef void requeue_preempted(Worker* worker, Process* process) noexcept nogil:
    """Queue a process (state QUEUED already) that used up its time slice."""
    put_counted(worker.runtime, &worker.preempted, &worker.lock, process)
    if luna_load64(&worker.preempted.count) > 1:
        wake_one_thread(worker.runtime)


cdef Process* take_counted(Runtime* runtime, Queue* queue, pthread_mutex_t* lock) noexcept nogil:
    cdef Process* process
    if is_empty(queue):
        return NULL
    pthread_mutex_lock(lock)
    process = take(queue)
    pthread_mutex_unlock(lock)
    if process != NULL:
        luna_add(&runtime.queued, -1)
    return process


cdef Process* take_next(Worker* worker) noexcept nogil:
    cdef Process* process
    if peek_next(worker) == NULL:
        return NULL
    pthread_mutex_lock(&worker.lock)
    process = worker.next
    luna_store_ptr(<void**>&worker.next, NULL)
    pthread_mutex_unlock(&worker.lock)
    return process


cdef void move_injected(Worker* worker) noexcept nogil:
    """Take a fair part of what timers, Python and other nodes woke behind what is woken here."""
    cdef Runtime* runtime = worker.runtime
    cdef Queue batch
    cdef int64_t wanted
    if is_empty(&runtime.injector):
        return
    batch.first = NULL
    batch.last = NULL
    batch.count = 0
    pthread_mutex_lock(&runtime.injector_lock)
    wanted = runtime.injector.count // runtime.worker_count + 1
    while batch.count < wanted and batch.count < INJECTOR_BATCH and runtime.injector.first != NULL:
        put(&batch, take(&runtime.injector))
    pthread_mutex_unlock(&runtime.injector_lock)
    pthread_mutex_lock(&worker.lock)
    while batch.first != NULL:
        put(&worker.woken, take(&batch))
    pthread_mutex_unlock(&worker.lock)


cdef Process* steal(Worker* thief, int takes_preempted) noexcept nogil:
    """Take from another thread: half of what it has woken, or else one preempted."""
    cdef Runtime* runtime = thief.runtime
    cdef Worker* victim
    cdef Process* found
    cdef Process* process
    cdef Queue loot
    cdef int64_t wanted
    cdef int offset
    thief.random = thief.random * 1664525 + 1013904223
    for offset in range(runtime.worker_count):
        victim = &runtime.workers[((thief.random >> 16) + <uint32_t>offset) % <uint32_t>runtime.worker_count]
        if victim == thief:
            continue
        if is_empty(&victim.woken) and (not takes_preempted or is_empty(&victim.preempted)):
            continue
        loot.first = NULL
        loot.last = NULL
        loot.count = 0
        pthread_mutex_lock(&victim.lock)
        wanted = (victim.woken.count + 1) // 2
        while loot.count < wanted:
            put(&loot, take(&victim.woken))
        if loot.count == 0 and takes_preempted and victim.preempted.first != NULL:
            put(&loot, take(&victim.preempted))
        pthread_mutex_unlock(&victim.lock)
        if loot.count == 0:
            continue
        luna_add64(&runtime.counters[TOTAL_STOLEN], loot.count)
        found = take(&loot)
        luna_add(&runtime.queued, -1)
        if loot.first != NULL:
            pthread_mutex_lock(&thief.lock)
            while loot.first != NULL:
                process = take(&loot)
                put(&thief.woken, process)
            pthread_mutex_unlock(&thief.lock)
        return found
    return NULL


cdef Process* pick(Worker* worker) noexcept nogil:
    """The next process for this thread, NULL when there is none anywhere."""
    cdef Runtime* runtime = worker.runtime
    cdef Process* process = NULL
    cdef int64_t epoch = luna_load64(&runtime.epoch)
    worker.picks += 1
    if worker.picks % INJECTOR_INTERVAL == 0 or worker.injector_since != epoch:
        worker.injector_since = epoch
        move_injected(worker)
    if is_empty(&worker.preempted):
        worker.preempted_since = epoch
    elif epoch - worker.preempted_since >= STARVATION_EPOCHS:
        worker.preempted_since = epoch
        process = take_counted(runtime, &worker.preempted, &worker.lock)
        if process != NULL:
            return process
    if worker.streak < NEXT_STREAK or is_empty(&worker.woken):
        process = take_next(worker)
        if process != NULL:
            worker.streak += 1
            return process
    worker.streak = 0
    process = take_counted(runtime, &worker.woken, &worker.lock)
    if process == NULL:
        process = take_next(worker)
    if process == NULL:
        process = take_counted(runtime, &runtime.injector, &runtime.injector_lock)
    if process == NULL and not is_empty(&worker.preempted):
        # What another thread has woken goes before a computation here: that thread may be long about
        # something, be it that the system does not let it run.
        process = steal(worker, 0)
        if process == NULL:
            process = take_counted(runtime, &worker.preempted, &worker.lock)
            if process != NULL:
                worker.preempted_since = epoch
    if process == NULL:
        process = steal(worker, 1)
    return process


cdef void hand_on(Worker* worker, Process* process) noexcept nogil:
    """Give a process (state QUEUED already, or NULL) and all that is queued on this thread to the others."""
    cdef Runtime* runtime = worker.runtime
    cdef Process* next = take_next(worker)
    cdef int index
    if process != NULL:
        put_counted(runtime, &runtime.injector, &runtime.injector_lock, process)
    while True:
        process = take_counted(runtime, &worker.woken, &worker.lock)
        if process == NULL:
            process = next
            next = NULL
        if process == NULL:
            process = take_counted(runtime, &worker.preempted, &worker.lock)
        if process == NULL:
            break
        put_counted(runtime, &runtime.injector, &runtime.injector_lock, process)
    for index in range(min(luna_load_seq(&runtime.queued), runtime.worker_count)):
        wake_one_thread(runtime)


cdef Process* wait_for_work(Worker* worker) noexcept nogil:
    """Sleep until there is a process to run; NULL when the runtime stops."""
    cdef Runtime* runtime = worker.runtime
    cdef Process* process
    cdef int64_t look_until = luna_now_ns() + SPIN_NS
    while not luna_load(&runtime.stopping):
        process = pick(worker)
        if process != NULL:
            return process
        if luna_now_ns() < look_until:
            luna_pause()
            continue
        pthread_mutex_lock(&runtime.park_lock)
        # Sequentially consistent with put_counted then wake_one_thread: either
        # the waker sees this thread idle or this thread sees the work.
        luna_add(&runtime.idle, 1)
        if luna_load_seq(&runtime.queued) <= 0 and not luna_load(&runtime.stopping):
            worker.parked = 1
            while not worker.waking and not luna_load(&runtime.stopping):
                pthread_cond_wait(&worker.wake, &runtime.park_lock)
            worker.parked = 0
            worker.waking = 0
        luna_add(&runtime.idle, -1)
        pthread_mutex_unlock(&runtime.park_lock)
    return NULL


cdef void surface_stale(Runtime* runtime) noexcept nogil:
    """Offer to other threads what has waited in a `next` slot for a time slice.

    Called at every epoch: a process that was sent to by a long computation must
    not wait for its end while another thread is idle.
    """
    cdef int index
    cdef Worker* worker
    cdef Process* process
    for index in range(runtime.worker_count):
        worker = &runtime.workers[index]
        if peek_next(worker) == NULL:
            continue
        process = NULL
        pthread_mutex_lock(&worker.lock)
        if worker.next != NULL and worker.next_since < luna_load64(&runtime.epoch):
            process = worker.next
            luna_store_ptr(<void**>&worker.next, NULL)
            put(&worker.woken, process)
        pthread_mutex_unlock(&worker.lock)
        if process != NULL:
            luna_add(&runtime.queued, 1)
    if luna_load_seq(&runtime.queued) > 0:
        wake_one_thread(runtime)


cdef void wake_everybody(Runtime* runtime) noexcept nogil:
    cdef int index
    pthread_mutex_lock(&runtime.park_lock)
    for index in range(runtime.worker_count):
        pthread_cond_signal(&runtime.workers[index].wake)
    pthread_mutex_unlock(&runtime.park_lock)
