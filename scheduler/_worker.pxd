from luna.scheduler._types cimport *

cdef void* run_worker(void* argument) noexcept nogil
