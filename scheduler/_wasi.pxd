from luna.scheduler._types cimport *

cdef int give_wasi(Process* process) noexcept nogil
cdef wasm_trap_t* open_files(Process* process) noexcept nogil
