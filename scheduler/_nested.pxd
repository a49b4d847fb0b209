from luna.scheduler._types cimport *

cdef NestedCall* new_nested(Process* process, wasmtime_val_t* results_out, wasm_trap_t** trap_out) noexcept nogil
cdef int find_function(Process* process, wasmtime_caller_t* caller, NestedCall* call, const char* name, size_t size) noexcept nogil
cdef void begin_nested(NestedCall* call, size_t arguments, size_t results) noexcept nogil
cdef void begin_export(NestedCall* call, size_t arguments) noexcept nogil
cdef int poll_nested(NestedCall* call) noexcept nogil
cdef int nested_failed(NestedCall* call) noexcept nogil
cdef void free_nested(void* call) noexcept nogil
cdef void begin_instance(NestedCall* call, const wasmtime_module_t* module, wasmtime_instance_t* instance) noexcept nogil
cdef void end_nested(NestedCall* call) noexcept nogil
cdef wasm_trap_t* take_trap(NestedCall* call, const char* label) noexcept nogil
