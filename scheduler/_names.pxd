from libc.stdint cimport int64_t, uint64_t, uint8_t
from libcpp.string cimport string
from libcpp.vector cimport vector
from luna.scheduler._types cimport *

cdef enum:
    NAME_FREE = 0
    NAME_TAKEN = 1
    NAME_HELD = 2              # Python has to be asked: a process is being spawned for it, or names are shared
    NAMES_FULL = 3

cdef struct Registered:
    int64_t node
    int64_t pid

# A name of a process of this node, for Python.
cdef struct OwnName:
    uint64_t environment
    string name
    Registered process
    int64_t stamp_ms

cdef void init_names(Runtime* runtime) noexcept nogil
cdef void clear_names(Runtime* runtime) noexcept nogil
cdef int find_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder, Registered* found) noexcept nogil
cdef int put_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder, int64_t node, int64_t pid, int64_t stamp_ms) noexcept nogil
cdef int remove_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int is_holder) noexcept nogil
cdef void hold_name(Runtime* runtime, uint64_t environment, const char* name, size_t size, int held) noexcept nogil
cdef int claim_process(Runtime* runtime, int64_t pid) noexcept nogil
cdef void share_names(Runtime* runtime, vector[OwnName]* found) noexcept nogil
cdef void unshare_names(Runtime* runtime) noexcept nogil
cdef int64_t names_of(Runtime* runtime, int64_t pid, vector[string]* found) noexcept nogil
cdef void forget_names(Process* process) noexcept nogil
