from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp.string cimport string
from luna.scheduler._types cimport *

cdef enum:            # luna.v1.SpawnFailure
    FAILURE_MODULE_UNKNOWN = 1
    FAILURE_INSTANTIATION = 3
    FAILURE_LIMIT = 4

# A luna.v1.Spawn that was read; pointers are into the bytes it was read from.
cdef struct Order:
    uint64_t reference
    uint64_t parent
    uint64_t environment
    const uint8_t* module      # 32 bytes
    const uint8_t* entry
    size_t entry_size
    const uint8_t* config
    size_t config_size
    int link
    int64_t link_tag
    int monitor
    uint32_t param_count
    const uint8_t* body        # all of it, for read_order_params
    size_t body_size

# A luna.v1.SpawnReply.
cdef struct Answer:
    uint64_t reference
    uint64_t pid               # 0: failed
    uint64_t to                # 0: it is not for a process
    int failure
    const uint8_t* error
    size_t error_size

cdef void put_order(string* out, Order* order, const string& params, const char* module_name, Config* config) noexcept nogil
cdef const char* put_guest_params(string* out, const uint8_t* records, uint32_t size) noexcept nogil
cdef int read_order(const uint8_t* body, size_t size, Order* order) noexcept nogil
cdef void read_order_params(Order* order, wasmtime_val_t* params) noexcept nogil
cdef Config* read_config(Runtime* runtime, const uint8_t* body, size_t size) noexcept nogil
cdef void put_answer(string* out, Answer* answer) noexcept nogil
cdef int read_answer(const uint8_t* body, size_t size, Answer* answer) noexcept nogil
cdef void put_envelope(string* out, int field, const string& body) noexcept nogil
