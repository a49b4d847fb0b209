from luna.scheduler._wasmtime cimport wasm_config_t

cdef void use_slab_memories(wasm_config_t* config) noexcept nogil
