from libc.stdint cimport int64_t, uint8_t, uint32_t
from luna.scheduler._types cimport *

# What a spawn says about the child besides its module and config.
cdef struct Birth:
    int64_t link_tag
    int monitor                # the parent watches it
    int early                  # its entry must be there, and may return values
    const uint8_t* name
    uint32_t name_size
    const uint8_t* params
    uint32_t params_size
    uint32_t out               # where its pid goes, or the id of an error

cdef int may_spawn(Process* process) noexcept nogil
cdef int read_birth(Process* process, wasmtime_caller_t* caller, const wasmtime_val_t* args, Birth* birth) noexcept nogil
cdef Config* child_config(Process* process, int64_t id) noexcept nogil
cdef void spawn_failed(Process* process, const char* text) noexcept nogil
cdef Config* narrowed(Process* process, Config* wanted) noexcept nogil
cdef void bear(Process* process, Module* module, Config* config, EarlyEnvironment* environment, Birth* birth) noexcept nogil
