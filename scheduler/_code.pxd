from luna.scheduler._types cimport *

cdef void retain_module(Module* module) noexcept nogil
cdef void release_module(Module* module) noexcept nogil
cdef Code* find_code(Module* module, int counts_fuel, const RowSet* refused) noexcept nogil
cdef void add_code(Module* module, int counts_fuel, const RowSet* refused, wasmtime_instance_pre_t* linked) noexcept nogil
cdef void release_code(Code* code) noexcept nogil
