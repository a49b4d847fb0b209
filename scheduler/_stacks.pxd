from luna.scheduler._wasmtime cimport wasm_config_t

cdef void use_slab_stacks(wasm_config_t* config) noexcept nogil
cdef long stacks_in_use() noexcept nogil
