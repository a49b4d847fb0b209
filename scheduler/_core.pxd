from luna.scheduler._handles cimport NativeRequest
from luna.scheduler._types cimport *

cdef class Core:
    cdef Runtime* runtime
    cdef readonly bint running
    cdef object host_table         # its rows are the runtime's
    cdef void destroy_processes(self) noexcept nogil
    cdef Config* make_config(self, config) except NULL
    cdef Output* make_output(self, bint inherit, NativeRequest asker) except NULL
