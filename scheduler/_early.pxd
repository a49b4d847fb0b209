from libc.stdint cimport int64_t, uint64_t
from luna.scheduler._types cimport *

cdef EarlyEnvironment* new_environment(Runtime* runtime, Config* config, int64_t id) noexcept nogil
cdef void release_environment(EarlyEnvironment* environment) noexcept nogil
cdef EarlyEnvironment* own_environment(Process* process) noexcept nogil
cdef void enter_environment(Process* process, EarlyEnvironment* environment) noexcept nogil
cdef int64_t hold_environment(Process* process, EarlyEnvironment* environment) noexcept nogil
cdef EarlyEnvironment* find_environment(Process* process, int64_t id) noexcept nogil
cdef int drop_environment(Process* process, int64_t id) noexcept nogil

cdef int64_t add_module_of(Process* process, Module* module, EarlyEnvironment* environment) noexcept nogil
cdef EarlyEnvironment* home_of(Process* process, int64_t module_id) noexcept nogil
cdef void forget_home(Process* process, int64_t module_id) noexcept nogil

cdef int64_t add_handle(Process* process, int64_t pid) noexcept nogil
cdef int64_t find_handle(Process* process, int64_t id) noexcept nogil
cdef int64_t remove_handle(Process* process, int64_t id) noexcept nogil

cdef void free_early(Process* process) noexcept nogil
