from luna.scheduler._types cimport *

cdef void init_queues(Runtime* runtime) noexcept nogil
cdef void wake(Runtime* runtime, Process* process) noexcept nogil
cdef void wake_from(Worker* worker, Process* process) noexcept nogil
cdef void requeue_preempted(Worker* worker, Process* process) noexcept nogil
cdef Process* take_next(Worker* worker) noexcept nogil
cdef void hand_on(Worker* worker, Process* process) noexcept nogil
cdef Process* pick(Worker* worker) noexcept nogil
cdef Process* wait_for_work(Worker* worker) noexcept nogil
cdef void surface_stale(Runtime* runtime) noexcept nogil
cdef void wake_everybody(Runtime* runtime) noexcept nogil
cdef Worker* current_worker() noexcept nogil
cdef void set_current_worker(Worker* worker) noexcept nogil
