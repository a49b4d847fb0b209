from libc.stdint cimport int32_t, uint8_t
from luna.scheduler._types cimport *

cdef class Linker:
    cdef wasmtime_linker_t* linker
    cdef Row* rows
    cdef void define(self, str namespace, str name, str parameters, str result, size_t address, bint suspends, Row* row) except *
