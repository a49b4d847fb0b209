from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from luna.scheduler._types cimport *

cdef struct Line:
    size_t size
    char text[TRACE_LINE_BYTES]

cdef void put(Line* line, const char* text) noexcept nogil
cdef void put_number(Line* line, int64_t number) noexcept nogil
cdef void put_unsigned(Line* line, uint32_t number) noexcept nogil
cdef void put_float(Line* line, double number) noexcept nogil
cdef void put_process(Line* line, Runtime* runtime, int64_t pid) noexcept nogil
cdef void put_text(Line* line, const char* text, size_t size) noexcept nogil
cdef void put_quoted(Line* line, const char* text, size_t size) noexcept nogil
cdef void put_message(Line* line, Runtime* runtime, Signal* message) noexcept nogil
cdef void write_line(Process* process, Line* line) noexcept nogil

cdef void trace_birth(Process* process) noexcept nogil
cdef void trace_end(Process* process) noexcept nogil
cdef void trace_signal(Process* process, Signal* signal) noexcept nogil
