from libc.stdint cimport int64_t
from luna.scheduler._types cimport *

cdef void hold_back(Process* process, Signal* signal, int64_t target) noexcept nogil
cdef Held* first_held(Process* process) noexcept nogil
cdef void let_go_of_first(Process* process) noexcept nogil
cdef void drop_held(Process* process) noexcept nogil
