from luna.scheduler._types cimport *

cdef class HostTable:
    cdef Row* rows
    cdef readonly int count
    cdef bint traces_calls
    cdef list signatures                   # of each row: (namespace, name, parameter letters, result letter, suspends)

cdef class Linker:
    cdef wasmtime_linker_t* linker
    cdef void define(self, signature, size_t address, bint suspends, Row* row) except *
