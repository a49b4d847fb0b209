"""What of a message travels to another node: its data, and its modules, as hashes.

A module that the receiving node has in memory is a module in the message there
too; of any other one the hash is kept, until the guest takes it out.
"""

from libc.stdlib cimport malloc
from libc.string cimport memcpy

from luna.scheduler._code cimport find_module, module_id_of
from luna.scheduler._codec cimport Wire, next_module
from luna.scheduler._signals cimport add_resource
from luna.scheduler._types cimport *


cdef const char* untravelled(Signal* message) noexcept nogil:
    """Why a message cannot go to another node, NULL if it can."""
    cdef uint32_t index
    if message.kind != SIGNAL_MESSAGE:
        return b"only data messages can be sent to another node"
    if message.resource_count > REMOTE_MODULES_MAX:
        return b"a message to another node holds at most 64 modules"
    for index in range(message.resource_count):
        if message.resources[index].kind != RESOURCE_MODULE and message.resources[index].kind != RESOURCE_HASH \
                and message.resources[index].kind != RESOURCE_TAKEN:
            return b"of all resources, only modules can be sent to another node"
    return NULL


cdef void add_modules(Runtime* runtime, Signal* message, Wire* wire) noexcept nogil:
    """Put the modules of a decoded Message into the message made of it, each at its index."""
    cdef const uint8_t* position = wire.body
    cdef const uint8_t* end = wire.body + wire.body_size
    cdef const uint8_t* sha256 = NULL
    cdef Module* module
    cdef void* copy
    while next_module(&position, end, &sha256):
        if sha256 == NULL:
            add_resource(message, RESOURCE_TAKEN, NULL)
            continue
        module = find_module(runtime, module_id_of(sha256), sha256)
        if module != NULL:
            add_resource(message, RESOURCE_MODULE, module)
            continue
        copy = malloc(32)
        memcpy(copy, sha256, 32)
        add_resource(message, RESOURCE_HASH, copy)
