from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t
from luna.scheduler._types cimport *

cdef Output* new_output(Runtime* runtime, int64_t pid, int mode, Output* leader) noexcept nogil
cdef int hold(Output* output, int64_t pid) noexcept nogil
cdef int take_held(Output* output, vector[int64_t]* released) noexcept nogil
cdef void close_output(Output* output) noexcept nogil
cdef void release_output_env(void* env) noexcept nogil
cdef ptrdiff_t write_output(Output* output, int stream, const unsigned char* data, size_t size) noexcept nogil
cdef ptrdiff_t write_stdout(void* env, const unsigned char* data, size_t size) noexcept nogil
cdef ptrdiff_t write_stderr(void* env, const unsigned char* data, size_t size) noexcept nogil
