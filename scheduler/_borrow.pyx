"""Running what a frame has woken on the thread that brought the frame.

When every scheduler thread sleeps, waking one takes longer than most guests need to answer a message. So the
thread that delivers a small frame then runs the processes it wakes itself, as one more scheduler thread, for a
few turns of at most a time slice; what is left over goes to the others. That thread carries all traffic with
other nodes, so it does not run a process that may do blocking file I/O or whose end takes long, and it lets
the others work for a while after a turn that was long.
"""

from luna.scheduler._clock cimport keep_ticking
from luna.scheduler._execution cimport run
from luna.scheduler._platform cimport *
from luna.scheduler._runqueue cimport current_worker, hand_on, set_current_worker, take_next
from luna.scheduler._types cimport *


cdef int begin_borrowing(Runtime* runtime) noexcept nogil:
    """Whether this thread is a scheduler thread until `end_borrowing`: what it wakes waits for it."""
    if luna_load_seq(&runtime.idle) < runtime.worker_count or runtime.trace or current_worker() != NULL:
        return 0
    if luna_now_ns() < luna_load64(&runtime.borrow_not_before_ns) or not luna_cas(&runtime.borrowed, 0, 1):
        return 0
    # The stopper raises `stopping` and then looks at `borrowed`; here it is the other way round.
    if luna_load_seq(&runtime.stopping):
        luna_store(&runtime.borrowed, 0)
        return 0
    # One thread less is idle: the clock ticks, so that a guest that computes lets go.
    runtime.borrowed_since_ns = luna_now_ns()
    luna_add(&runtime.idle, -1)
    set_current_worker(&runtime.workers[runtime.worker_count])
    return 1


cdef inline int may_hold_up(Process* process) noexcept nogil:
    return process.config.preopens.size() > 0 or luna_load64(&process.memory_bytes) > BORROWED_MEMORY_BYTES


cdef void end_borrowing(Runtime* runtime) noexcept nogil:
    """Run what was woken, for a few turns, and hand the rest on."""
    cdef Worker* worker = &runtime.workers[runtime.worker_count]
    cdef int64_t epoch = luna_load64(&runtime.epoch)
    cdef Process* process
    cdef int64_t now
    cdef int turns = 0
    while turns < BORROWED_TURNS and luna_load64(&runtime.epoch) == epoch and luna_load64(&worker.woken.count) == 0:
        process = take_next(worker)
        if process == NULL:
            break
        if may_hold_up(process):
            hand_on(worker, process)
            break
        if turns == 0:
            keep_ticking(runtime)
            epoch = luna_load64(&runtime.epoch)
        run(worker, process)
        turns += 1
    set_current_worker(NULL)
    now = luna_now_ns()
    if now - runtime.borrowed_since_ns > BORROWED_LONG_NS:
        luna_store64(&runtime.borrow_not_before_ns, now + BORROW_REST * (now - runtime.borrowed_since_ns))
    luna_add(&runtime.idle, 1)
    hand_on(worker, NULL)
    luna_store(&runtime.borrowed, 0)


cdef void await_borrower(Runtime* runtime) noexcept nogil:
    """Wait until no thread borrows; none begins to while the runtime is stopping."""
    while luna_load_seq(&runtime.borrowed):
        luna_pause()
