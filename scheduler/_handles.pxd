from luna.scheduler._types cimport *

cdef class NativeModule:
    cdef Module* module
    cdef object host_table         # what the code calls

cdef class NativeOutput:
    cdef Output* output
    cdef int place                 # among its followers, -1: none
    cdef void release_held(self) noexcept

cdef class NativeRequest:
    cdef Request* request
    cdef readonly int64_t sequence
    cdef Process* lock(self) except NULL
    cdef void unlock(self) noexcept
    cdef uint8_t* memory_at(self, Process* process, uint64_t pointer, uint64_t size) noexcept
    cdef void answer(self, Signal* signal, int64_t value) noexcept

cdef NativeModule wrap_module(Module* module)
cdef NativeOutput wrap_output(Output* output)
