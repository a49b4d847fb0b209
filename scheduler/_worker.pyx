"""The body of a scheduler thread: take a process, run it for a turn, repeat."""

from luna.scheduler._clock cimport keep_ticking
from luna.scheduler._execution cimport run
from luna.scheduler._platform cimport *
from luna.scheduler._runqueue cimport pick, set_current_worker, wait_for_work
from luna.scheduler._types cimport *


cdef void* run_worker(void* argument) noexcept nogil:
    """Ends when the runtime stops; processes it leaves are destroyed by the stopper."""
    cdef Worker* worker = <Worker*>argument
    cdef Runtime* runtime = worker.runtime
    cdef Process* process
    set_current_worker(worker)
    while not luna_load(&runtime.stopping):
        process = pick(worker)
        if process == NULL:
            process = wait_for_work(worker)
            if process == NULL:
                break
            keep_ticking(runtime)
        run(worker, process)
    set_current_worker(NULL)
    return NULL
