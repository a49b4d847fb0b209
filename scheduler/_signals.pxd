from libc.stdint cimport int64_t, uint64_t
from luna.scheduler._types cimport *

cdef Signal* new_signal(Runtime* runtime, int kind, int64_t sender) noexcept nogil
cdef void free_signal(Runtime* runtime, Signal* signal) noexcept nogil
cdef int reserve(Signal* signal, size_t capacity) noexcept nogil
cdef int append(Signal* signal, const char* data, size_t size) noexcept nogil
cdef void set_text(Signal* signal, const char* text) noexcept nogil
cdef int add_resource(Signal* signal, int kind, void* pointer) noexcept nogil

cdef void push(Mailbox* mailbox, Signal* signal) noexcept nogil
cdef void sort_tags(int64_t* tags, size_t count) noexcept nogil
cdef int has_tag(int64_t tag, const int64_t* tags, size_t count) noexcept nogil
cdef Signal* pop_first(Mailbox* mailbox) noexcept nogil
cdef Signal* pop_tagged(Mailbox* mailbox, const int64_t* tags, size_t count) noexcept nogil
cdef void clear(Runtime* runtime, Mailbox* mailbox) noexcept nogil

cdef void retain_config(Config* config) noexcept nogil
cdef void release_config(Runtime* runtime, Config* config) noexcept nogil
cdef Config* new_config(Runtime* runtime) noexcept nogil
cdef Config* copy_config(Runtime* runtime, Config* config) noexcept nogil

cdef void retain_output(Output* output) noexcept nogil
cdef void release_output(Output* output) noexcept nogil

cdef void release_timer(Timer* timer) noexcept nogil

cdef char* copy_text(const char* text, size_t size) noexcept nogil

cdef uint64_t table_add(IdTable* table, void* value) noexcept nogil
cdef void* table_get(IdTable* table, uint64_t id) noexcept nogil
cdef void* table_remove(IdTable* table, uint64_t id) noexcept nogil
cdef void table_free(IdTable* table) noexcept nogil
