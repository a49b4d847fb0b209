"""Spawns on other nodes to and from the protobuf wire format of luna.v1.Spawn and luna.v1.SpawnReply.

Pure functions on bytes. What they read is what this node itself would write: a
field that is repeated where it may not be, text that is not UTF-8 or a value
beyond a limit is refused, and left to Python to judge. Unknown fields are skipped.
"""

from libc.string cimport memchr, memcpy, memset, strlen

from luna.scheduler._codec cimport next_field, write_varint
from luna.scheduler._guest cimport is_utf8
from luna.scheduler._namespaces cimport allow_namespace, refuse_everything
from luna.scheduler._signals cimport new_config, release_config
from luna.scheduler._types cimport *

cdef enum:            # wire types
    VARINT = 0
    FIXED64 = 1
    BYTES = 2

cdef enum:            # type bytes of the guest interface's parameter records
    TYPE_I32 = 0x7F
    TYPE_I64 = 0x7E
    TYPE_V128 = 0x7B

cdef uint32_t PARAM_BYTES = 17


# -- writing -------------------------------------------------------------------------------

cdef void put_varint(string* out, uint64_t value) noexcept nogil:
    cdef uint8_t bytes[10]
    out.append(<const char*>bytes, write_varint(bytes, value))


cdef void put_number(string* out, int field, uint64_t value) noexcept nogil:
    if value != 0:
        put_varint(out, field << 3 | VARINT)
        put_varint(out, value)


cdef void put_fixed(string* out, int field, uint64_t value) noexcept nogil:
    if value != 0:
        put_varint(out, field << 3 | FIXED64)
        out.append(<const char*>&value, 8)


cdef void put_bytes(string* out, int field, const char* data, size_t size) noexcept nogil:
    put_varint(out, field << 3 | BYTES)
    put_varint(out, size)
    out.append(data, size)


cdef void put_text(string* out, int field, const string& text) noexcept nogil:
    put_bytes(out, field, text.data(), text.size())


cdef void put_pair(string* out, int field, const pair[string, string]& texts) noexcept nogil:
    cdef string body
    if not texts.first.empty():
        put_text(&body, 1, texts.first)
    if not texts.second.empty():
        put_text(&body, 2, texts.second)
    put_text(out, field, body)


cdef void put_config(string* out, Config* config) noexcept nogil:
    """A luna.v1.ProcessConfig."""
    cdef string prefixes
    cdef size_t index
    put_number(out, 1, config.max_memory)
    put_number(out, 2, config.max_fuel)
    put_number(out, 3, config.can_compile != 0)
    put_number(out, 4, config.can_create_configs != 0)
    put_number(out, 5, config.can_spawn != 0)
    for index in range(config.preopens.size()):
        put_pair(out, 6, config.preopens[index])
    for index in range(config.arguments.size()):
        put_text(out, 7, config.arguments[index])
    for index in range(config.variables.size()):
        put_pair(out, 8, config.variables[index])
    if config.restricts:
        for index in range(config.namespaces.size()):
            put_text(&prefixes, 1, config.namespaces[index])
        put_text(out, 9, prefixes)


cdef void put_order(string* out, Order* order, const string& params, const char* module_name, Config* config) noexcept nogil:
    """A luna.v1.Spawn; `params` are those of `put_guest_params`."""
    cdef string body
    put_number(out, 1, order.reference)
    put_fixed(out, 2, order.parent)
    put_fixed(out, 3, order.environment)
    put_bytes(out, 4, <const char*>order.module, 32)
    if order.entry_size > 0:
        put_bytes(out, 5, <const char*>order.entry, order.entry_size)
    out.append(params)
    put_config(&body, config)
    put_text(out, 7, body)
    put_number(out, 8, order.link)
    put_number(out, 9, <uint64_t>order.link_tag)
    put_number(out, 10, order.monitor)
    if module_name[0] != 0:
        put_bytes(out, 11, module_name, strlen(module_name))


cdef const char* put_guest_params(string* out, const uint8_t* records, uint32_t size) noexcept nogil:
    """The parameters of a Spawn from a guest's 17-byte records; NULL or what is wrong.

    A trailing part of a record is ignored, as by Lunatic's spawn on another node.
    """
    cdef uint32_t count = size // PARAM_BYTES
    cdef uint32_t index
    cdef int32_t small
    cdef int64_t large
    cdef const uint8_t* record
    cdef string param
    if count > ENTRY_PARAMS_MAX:
        return b"at most 128 parameters"
    for index in range(count):
        record = records + index * PARAM_BYTES
        param.clear()
        # Bytes above a narrow value are ignored: some guest libraries leave garbage there. A member of
        # a oneof is written also when it is zero.
        if record[0] == TYPE_I32:
            memcpy(&small, record + 1, 4)
            put_varint(&param, 1 << 3 | VARINT)
            put_varint(&param, <uint32_t>(<uint32_t>small << 1 ^ <uint32_t>(small >> 31)))
        elif record[0] == TYPE_I64:
            memcpy(&large, record + 1, 8)
            put_varint(&param, 2 << 3 | VARINT)
            put_varint(&param, <uint64_t>large << 1 ^ <uint64_t>(large >> 63))
        elif record[0] == TYPE_V128:
            put_bytes(&param, 3, <const char*>record + 1, 16)
        else:
            return b"a parameter type is not 0x7F (i32), 0x7E (i64) or 0x7B (v128)"
        put_text(out, 6, param)
    return NULL


cdef void put_answer(string* out, Answer* answer) noexcept nogil:
    """A luna.v1.SpawnReply."""
    put_number(out, 1, answer.reference)
    put_fixed(out, 2, answer.pid)
    put_number(out, 3, <uint64_t>answer.failure)
    if answer.error_size > 0:
        put_bytes(out, 4, <const char*>answer.error, answer.error_size)
    put_fixed(out, 5, answer.to)


cdef void put_envelope(string* out, int field, const string& body) noexcept nogil:
    """A luna.v1.Envelope around the signal of that field number."""
    out.reserve(body.size() + 12)
    put_text(out, field, body)


# -- reading -------------------------------------------------------------------------------

cdef int is_text(const uint8_t* text, size_t size) noexcept nogil:
    """Whether a guest can be given it: UTF-8 without a zero byte."""
    return is_utf8(text, size) and memchr(text, 0, size) == NULL


cdef int read_order(const uint8_t* body, size_t size, Order* order) noexcept nogil:
    """Read a Spawn; 0 when it is not one that this node would write."""
    cdef const uint8_t* position = body
    cdef const uint8_t* end = body + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    cdef uint32_t seen = 0
    memset(order, 0, sizeof(Order))
    order.body = body
    order.body_size = size
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field > 11:
            continue
        if field == 6:
            if wire_type != BYTES or not read_param(bytes, number, NULL):
                return 0
            order.param_count += 1
            continue
        if seen >> field & 1:
            return 0
        seen |= <uint32_t>1 << field
        if wire_type != (FIXED64 if field == 2 or field == 3 else BYTES if field == 4 or field == 5 or field == 7 or field == 11 else VARINT):
            return 0
        if field == 1:
            order.reference = number
        elif field == 2:
            order.parent = number
        elif field == 3:
            order.environment = number
        elif field == 4:
            if number != 32:
                return 0
            order.module = bytes
        elif field == 5:
            order.entry = bytes
            order.entry_size = number
        elif field == 7:
            order.config = bytes
            order.config_size = number
        elif field == 8:
            order.link = number != 0
        elif field == 9:
            order.link_tag = <int64_t>number
        elif field == 10:
            order.monitor = number != 0
    return (
        order.module != NULL and order.param_count <= ENTRY_PARAMS_MAX and order.entry_size <= ENTRY_NAME_MAX
        and order.environment != ANY_ENVIRONMENT
        and (order.entry_size == 0 or is_text(order.entry, order.entry_size))
    )


cdef int read_param(const uint8_t* body, size_t size, wasmtime_val_t* value) noexcept nogil:
    """Read a Param, which has one field; 0 when it is none. `value` may be NULL."""
    cdef const uint8_t* position = body
    cdef const uint8_t* end = body + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    if position == end or not next_field(&position, end, &field, &wire_type, &number, &bytes) or position != end:
        return 0
    if field == 1 and wire_type == VARINT and number >> 32 == 0:
        if value != NULL:
            value.kind = <uint8_t>LUNA_WASM_I32
            value.of.i32 = <int32_t>(<uint32_t>number >> 1 ^ (0 - <uint32_t>(number & 1)))
        return 1
    if field == 2 and wire_type == VARINT:
        if value != NULL:
            value.kind = <uint8_t>LUNA_WASM_I64
            value.of.i64 = <int64_t>(number >> 1 ^ (0 - (number & 1)))
        return 1
    if field == 3 and wire_type == BYTES and number == 16:
        if value != NULL:
            value.kind = <uint8_t>LUNA_WASM_V128
            memcpy(&value.of, bytes, 16)
        return 1
    return 0


cdef void read_order_params(Order* order, wasmtime_val_t* params) noexcept nogil:
    """The `param_count` parameters of a Spawn that was read."""
    cdef const uint8_t* position = order.body
    cdef const uint8_t* end = order.body + order.body_size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    cdef uint32_t count = 0
    while position < end and next_field(&position, end, &field, &wire_type, &number, &bytes):
        if field == 6:
            read_param(bytes, number, &params[count])
            count += 1


cdef int read_pair(const uint8_t* body, size_t size, pair[string, string]* texts) noexcept nogil:
    """Read a Preopen or a Variable."""
    cdef const uint8_t* position = body
    cdef const uint8_t* end = body + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    texts.first.clear()
    texts.second.clear()
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field > 2:
            continue
        if wire_type != BYTES or number > CONFIG_TEXT_MAX or not is_text(bytes, number):
            return 0
        if field == 1:
            texts.first.assign(<const char*>bytes, number)
        else:
            texts.second.assign(<const char*>bytes, number)
    return 1


cdef int read_namespaces(Runtime* runtime, Config* config, const uint8_t* body, size_t size) noexcept nogil:
    cdef const uint8_t* position = body
    cdef const uint8_t* end = body + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    cdef string prefix
    refuse_everything(runtime, config)
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field > 1:
            continue
        if wire_type != BYTES or number > CONFIG_TEXT_MAX or not is_text(bytes, number):
            return 0
        prefix.assign(<const char*>bytes, number)
        if not allow_namespace(runtime, config, prefix):
            return 0
    return 1


cdef int fill_config(Runtime* runtime, Config* config, const uint8_t* body, size_t size) noexcept nogil:
    cdef const uint8_t* position = body
    cdef const uint8_t* end = body + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    cdef pair[string, string] texts
    cdef string text
    cdef size_t argument_bytes = 0
    cdef size_t variable_bytes = 0
    config.max_memory = 0
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field > 9:
            continue
        if wire_type != (VARINT if field <= 5 else BYTES):
            return 0
        if field == 1:
            config.max_memory = number
        elif field == 2:
            config.max_fuel = number
        elif field == 3:
            config.can_compile = number != 0
        elif field == 4:
            config.can_create_configs = number != 0
        elif field == 5:
            config.can_spawn = number != 0
        elif field == 6:
            if not read_pair(bytes, number, &texts) or config.preopens.size() >= PREOPENS_MAX:
                return 0
            config.preopens.push_back(texts)
        elif field == 7:
            argument_bytes += number
            if number > CONFIG_TEXT_MAX or argument_bytes > CONFIG_BYTES_MAX or \
                    config.arguments.size() >= CONFIG_ENTRIES_MAX or not is_text(bytes, number):
                return 0
            text.assign(<const char*>bytes, number)
            config.arguments.push_back(text)
        elif field == 8:
            if not read_pair(bytes, number, &texts):
                return 0
            number = texts.first.size() + 1 + texts.second.size()  # as KEY=VALUE
            variable_bytes += number
            if number > CONFIG_TEXT_MAX or variable_bytes > CONFIG_BYTES_MAX or \
                    config.variables.size() >= CONFIG_ENTRIES_MAX:
                return 0
            config.variables.push_back(texts)
        elif config.restricts or not read_namespaces(runtime, config, bytes, number):
            return 0
    return 1


cdef Config* read_config(Runtime* runtime, const uint8_t* body, size_t size) noexcept nogil:
    """A new config from a ProcessConfig; NULL when it is none, or breaks a limit."""
    cdef Config* config = new_config(runtime)
    if not fill_config(runtime, config, body, size):
        release_config(runtime, config)
        return NULL
    return config


cdef int read_answer(const uint8_t* body, size_t size, Answer* answer) noexcept nogil:
    """Read a SpawnReply; 0 when it is malformed. As in protobuf, of a repeated field the last counts."""
    cdef const uint8_t* position = body
    cdef const uint8_t* end = body + size
    cdef const uint8_t* bytes = NULL
    cdef uint64_t field, number
    cdef int wire_type
    memset(answer, 0, sizeof(Answer))
    while position < end:
        if not next_field(&position, end, &field, &wire_type, &number, &bytes):
            return 0
        if field > 5:
            continue
        if wire_type != (FIXED64 if field == 2 or field == 5 else BYTES if field == 4 else VARINT):
            return 0
        if field == 1:
            answer.reference = number
        elif field == 2:
            answer.pid = number
        elif field == 3:
            answer.failure = <int>(number & 0x7FFFFFFF)
        elif field == 4:
            answer.error = bytes
            answer.error_size = number
        else:
            answer.to = number
    return 1
