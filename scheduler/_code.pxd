from libc.stdint cimport int64_t, uint8_t
from luna.scheduler._types cimport *

cdef void retain_module(Module* module) noexcept nogil
cdef void release_module(Module* module) noexcept nogil
cdef void init_modules(Runtime* runtime) noexcept nogil
cdef void list_module(Module* module) noexcept nogil
cdef Module* find_module(Runtime* runtime, int64_t id, const uint8_t* sha256) noexcept nogil
cdef int64_t module_id_of(const uint8_t* sha256) noexcept nogil
cdef Code* find_code(Module* module, int counts_fuel, const RowSet* refused) noexcept nogil
cdef void add_code(Module* module, int counts_fuel, const RowSet* refused, wasmtime_instance_pre_t* linked) noexcept nogil
cdef void release_code(Code* code) noexcept nogil
