from libc.stdint cimport int32_t, int64_t
from libcpp.string cimport string
from luna.scheduler._types cimport *

cdef Config* config_of(Process* process, int64_t id) noexcept nogil
cdef wasm_trap_t* unknown_config(const char* function) noexcept nogil
cdef wasm_trap_t* read_text(Process* process, wasmtime_caller_t* caller, int32_t pointer, int32_t size, const char* function, string* out) noexcept nogil
cdef int hand_on_directory(Process* process, Config* config, const string& directory, const char* function, wasm_trap_t** wrong) noexcept nogil
