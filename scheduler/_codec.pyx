"""Signals to and from the protobuf wire format of luna.v1.Envelope.

Pure functions on bytes: no allocation, no lock, nothing read outside the given
buffer. A test holds them to the generated protobuf classes in both directions.
Source: protobuf encoding guide, https://protobuf.dev/programming-guides/encoding/
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memmove

from luna.scheduler._types cimport *

cdef enum:
    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    FIXED32 = 5
    LENGTHS_MAX = 22           # bytes of two keys with their lengths


cdef size_t write_varint(uint8_t* out, uint64_t value) noexcept nogil:
    cdef size_t count = 0
    while value >= 0x80:
        out[count] = <uint8_t>(value | 0x80)
        value >>= 7
        count += 1
    out[count] = <uint8_t>value
    return count + 1


cdef size_t varint_size(uint64_t value) noexcept nogil:
    cdef size_t count = 1
    while value >= 0x80:
        value >>= 7
        count += 1
    return count


cdef inline size_t write_fixed(uint8_t* out, int field, uint64_t value) noexcept nogil:
    out[0] = <uint8_t>(field << 3 | FIXED64)
    memcpy(out + 1, &value, 8)
    return 9


cdef inline size_t write_number(uint8_t* out, int field, uint64_t value) noexcept nogil:
    if value == 0:
        return 0
    out[0] = <uint8_t>(field << 3 | VARINT)
    return 1 + write_varint(out + 1, value)


cdef size_t write_text(uint8_t* out, int field, Signal* signal) noexcept nogil:
    """The words in the notice of a death."""
    cdef size_t count
    if signal.size == 0:
        return 0
    out[0] = <uint8_t>(field << 3 | BYTES)
    count = 1 + write_varint(out + 1, signal.size)
    memcpy(out + count, signal.data, signal.size)
    return count + signal.size


cdef size_t write_modules(uint8_t* out, Signal* signal) noexcept nogil:
    """The modules in a message, at most REMOTE_MODULES_MAX, as hashes: nothing else travels."""
    cdef uint32_t index
    cdef size_t count = 0
    cdef const Resource* resource
    for index in range(signal.resource_count):
        resource = &signal.resources[index]
        out[count] = 6 << 3 | BYTES
        out[count + 1] = 0
        count += 2
        if resource.kind != RESOURCE_TAKEN:
            out[count - 1] = 32
            memcpy(
                out + count,
                <const uint8_t*>resource.pointer if resource.kind == RESOURCE_HASH else (<Module*>resource.pointer).sha256,
                32,
            )
            count += 32
    return count


cdef int field_of(int kind) noexcept nogil:
    """Field number in luna.v1.Envelope of a signal, 0 if it never leaves a node."""
    if kind == SIGNAL_MESSAGE:
        return 1
    if kind == SIGNAL_LINK:
        return 2
    if kind == SIGNAL_UNLINK:
        return 3
    if kind == SIGNAL_LINK_DEATH:
        return 4
    if kind == SIGNAL_MONITOR:
        return 5
    if kind == SIGNAL_STOP_MONITORING:
        return 6
    if kind == SIGNAL_PROCESS_DEATH:
        return 7
    if kind == SIGNAL_KILL:
        return 8
    if kind == SIGNAL_EXISTS:
        return 9
    if kind == SIGNAL_EXISTS_REPLY:
        return 10
    return 0


cdef inline size_t write_body(uint8_t* head, int field, Signal* signal, int64_t target, uint64_t environment) noexcept nogil:
    """Write a signal's message, all but the data; bytes written."""
    cdef size_t used = write_fixed(head, 1, <uint64_t>signal.sender)
    used += write_fixed(head + used, 2, <uint64_t>target)
    if field == 1 or field == 2 or field == 5 or field == 8 or field == 9:
        used += write_fixed(head + used, 3, environment)
    if field == 1 or field == 2:
        used += write_number(head + used, 4, <uint64_t>signal.tag)
        if field == 2:
            used += write_number(head + used, 5, <uint64_t>signal.value)
    elif field == 4:
        used += write_number(head + used, 3, <uint64_t>signal.tag)
        used += write_number(head + used, 4, signal.exit)
        used += write_number(head + used, 5, <uint64_t>signal.value)
        used += write_text(head + used, 6, signal)
    elif field == 7:
        used += write_number(head + used, 3, signal.exit)
        used += write_number(head + used, 4, <uint64_t>signal.value)
        used += write_text(head + used, 5, signal)
    elif field == 9:
        used += write_number(head + used, 4, <uint64_t>signal.value)
    elif field == 10:
        used += write_number(head + used, 3, <uint64_t>signal.value)
        used += write_number(head + used, 4, <uint64_t>signal.tag)
    if field == 1 and signal.resource_count > 0:
        used += write_modules(head + used, signal)  # before the data, which ends the message
    if field == 1 and signal.size > 0:
        head[used] = 5 << 3 | BYTES
        used += 1 + write_varint(head + used + 1, signal.size)
    return used


cdef inline size_t write_heads(uint8_t* out, int field, Signal* signal, int64_t target, uint64_t environment, int framed) noexcept nogil:
    """Write an Envelope, all but the message's data that ends it; `framed`: as one `envelopes` field of a Frame."""
    # The lengths, which come first, are known last.
    cdef size_t used = write_body(out + LENGTHS_MAX, field, signal, target, environment)
    cdef size_t body = used + (signal.size if field == 1 else 0)
    cdef size_t count = 0
    if framed:
        out[0] = 1 << 3 | BYTES
        count = 1 + write_varint(out + 1, 1 + varint_size(body) + body)
    out[count] = <uint8_t>(field << 3 | BYTES)
    count += 1 + write_varint(out + count + 1, body)
    memmove(out + count, out + LENGTHS_MAX, used)
    return count + used


cdef size_t encode_head(uint8_t* out, Signal* signal, int64_t target, uint64_t environment) noexcept nogil:
    """Write an Envelope, all but the message's data that ends it; `out` has ENVELOPE_HEADER_MAX bytes of room."""
    return write_heads(out, field_of(signal.kind), signal, target, environment, 0)


cdef size_t encode(uint8_t* out, Signal* signal, int64_t target, uint64_t environment) noexcept nogil:
    """Write one `envelopes` field of a Frame; bytes written, 0 for a local signal.

    `out` has ENVELOPE_HEADER_MAX + signal.size bytes of room.
    """
    cdef int field = field_of(signal.kind)
    cdef size_t count
    if field == 0:
        return 0
    count = write_heads(out, field, signal, target, environment, 1)
    if field != 1 or signal.size == 0:
        return count
    memcpy(out + count, signal.data, signal.size)
    return count + signal.size


cdef int read_varint(const uint8_t** position, const uint8_t* end, uint64_t* value) noexcept nogil:
    cdef uint64_t result = 0
    cdef int shift = 0
    cdef uint8_t byte
    while position[0] < end and shift < 70:
        byte = position[0][0]
        position[0] += 1
        if shift < 64:
            result |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = result
            return 1
        shift += 7
    return 0


cdef int next_field(const uint8_t** position, const uint8_t* end, uint64_t* field, int* wire_type, uint64_t* number, const uint8_t** bytes) noexcept nogil:
    """Read one field and step over it; 0 when the bytes are malformed.

    `number` gets the value, or the size of a length-delimited field whose
    bytes start at `bytes`.
    """
    cdef uint64_t key
    cdef uint32_t small
    if not read_varint(position, end, &key):
        return 0
    field[0] = key >> 3
    wire_type[0] = <int>(key & 7)
    if field[0] == 0:
        return 0
    if wire_type[0] == VARINT:
        return read_varint(position, end, number)
    if wire_type[0] == FIXED64:
        if end - position[0] < 8:
            return 0
        memcpy(number, position[0], 8)
        position[0] += 8
        return 1
    if wire_type[0] == BYTES:
        if not read_varint(position, end, number) or number[0] > <uint64_t>(end - position[0]):
            return 0
        bytes[0] = position[0]
        position[0] += number[0]
        return 1
    if wire_type[0] == FIXED32:
        if end - position[0] < 4:
            return 0
        memcpy(&small, position[0], 4)
        number[0] = small
        position[0] += 4
        return 1
    return 0


cdef int decode_body(Wire* wire) noexcept nogil:
    cdef const uint8_t* position = wire.body
    cdef const uint8_t* end = wire.body + wire.body_size
    cdef const uint8_t* bytes
    cdef uint64_t field, number
    cdef int wire_type
    cdef int kind = wire.field
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field <= 2 or (field == 3 and (kind == 1 or kind == 2 or kind == 5 or kind == 8 or kind == 9)):
            if wire_type != FIXED64:
                return 0
            if field == 1:
                wire.sender = number
            elif field == 2:
                wire.target = number
            else:
                wire.environment = number
        elif kind == 1 and field == 5:
            if wire_type != BYTES:
                return 0
            wire.data = bytes
            wire.size = number
        elif kind == 1 and field == 6:
            wire.module_count += 1
            if wire_type != BYTES or (number != 0 and number != 32) or wire.module_count > REMOTE_MODULES_MAX:
                return 0
        elif (kind == 4 and field == 6) or (kind == 7 and field == 5):
            if wire_type != BYTES:
                return 0
            wire.data = bytes
            wire.size = number
        elif (kind == 4 and field == 5) or (kind == 7 and field == 4):
            if wire_type != VARINT:
                return 0
            wire.flag = number
        elif kind != 3 and kind != 5 and kind != 6 and kind != 8 and (field <= 4 or (field == 5 and kind == 2)):
            if wire_type != VARINT:
                return 0
            if (field == 4 and kind <= 2) or (field == 3 and kind == 4):
                wire.tag = <int64_t>number
            elif field == 5:
                wire.number = number
            elif (field == 4 and (kind == 4 or kind == 9)) or (field == 3 and (kind == 7 or kind == 10)):
                wire.number = number
            elif field == 4 and kind == 10:
                wire.flag = number
    return 1


cdef int next_module(const uint8_t** position, const uint8_t* end, const uint8_t** sha256) noexcept nogil:
    """Step to the next module of a Message that was decoded; NULL is one that was taken. 0: there is none."""
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    while position[0] < end:
        if not next_field(position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field == 6:
            sha256[0] = bytes if number else NULL
            return 1
    return 0


cdef int decode_chunk(Wire* wire) noexcept nogil:
    cdef const uint8_t* position = wire.body
    cdef const uint8_t* end = wire.body + wire.body_size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field == 1:
            if wire_type != FIXED64:
                return 0
            wire.number = number
        elif field == 2:
            if wire_type != BYTES:
                return 0
            wire.data = bytes
            wire.size = number
    return 1


cdef int decode(const uint8_t* data, size_t size, Wire* wire) noexcept nogil:
    """Read one Envelope; 0 when it is malformed.

    Like protobuf itself: of several signals the last counts, unknown fields
    are skipped. Envelopes meant for Python are left undecoded in `body`.
    """
    cdef const uint8_t* position = data
    cdef const uint8_t* end = data + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    wire.field = 0
    wire.body = NULL
    wire.body_size = 0
    wire.sender = 0
    wire.target = 0
    wire.environment = 0
    wire.tag = 0
    wire.number = 0
    wire.flag = 0
    wire.module_count = 0
    wire.data = NULL
    wire.size = 0
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if wire_type == BYTES and field < 1000:
            wire.field = <int>field
            wire.body = bytes
            wire.body_size = number
    if 1 <= wire.field <= 10:
        return decode_body(wire)
    if wire.field == CHUNK_FIELD:
        return decode_chunk(wire)
    return 1
