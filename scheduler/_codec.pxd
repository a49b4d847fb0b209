from libc.stdint cimport int64_t, uint8_t, uint64_t
from luna.scheduler._types cimport Signal

cdef enum:
    # bytes of an encoded envelope besides its data: at most REMOTE_MODULES_MAX
    # hashes of 34 bytes, or EXIT_TEXT_BYTES of words
    ENVELOPE_HEADER_MAX = 80 + 34 * 64
    FIRST_PYTHON_FIELD = 16    # envelopes from this field number on are Python's

cdef struct Wire:
    int field                  # which signal of luna.v1.Envelope; 0: none
    const uint8_t* body
    size_t body_size
    uint64_t sender
    uint64_t target
    uint64_t environment
    int64_t tag
    uint64_t number            # exit kind, reference, or a chunk's total
    uint64_t flag              # whether it is alive, or exit code
    int module_count           # fields that `next_module` gives
    const uint8_t* data
    size_t size

cdef size_t encode_head(uint8_t* out, Signal* signal, int64_t target, uint64_t environment) noexcept nogil
cdef size_t encode(uint8_t* out, Signal* signal, int64_t target, uint64_t environment) noexcept nogil
cdef size_t write_varint(uint8_t* out, uint64_t value) noexcept nogil
cdef size_t varint_size(uint64_t value) noexcept nogil
cdef int next_field(const uint8_t** position, const uint8_t* end, uint64_t* field, int* wire_type, uint64_t* number, const uint8_t** bytes) noexcept nogil
cdef int next_module(const uint8_t** position, const uint8_t* end, const uint8_t** sha256) noexcept nogil
cdef int decode(const uint8_t* data, size_t size, Wire* wire) noexcept nogil
