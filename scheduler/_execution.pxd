from luna.scheduler._types cimport *

cdef void run(Worker* worker, Process* process) noexcept nogil
cdef void destroy(Process* process) noexcept nogil
