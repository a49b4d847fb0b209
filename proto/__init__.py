"""What every part of Luna shares: the wire format, errors, identity, limits. Imports nothing else of Luna.

The generated stubs are imported by their module (`from luna.proto import node_pb2`) and never from
here, so that the command line can use errors and ids without loading protobuf or gRPC.
"""

from luna.proto.errors import (
    BrokenError,
    BusyError,
    ClosedError,
    InternalError,
    InvalidError,
    LunaError,
    NotFoundError,
    RefusedError,
    StaleError,
    WouldBlockError,
)
from luna.proto.ids import (
    NODE_ID_BITS,
    SERIAL_BITS,
    check_name,
    draw_node_id,
    format_pid,
    make_pid,
    node_of,
    parse_pid,
    serial_of,
)

__all__ = [
    "NODE_ID_BITS",
    "SERIAL_BITS",
    "BrokenError",
    "BusyError",
    "ClosedError",
    "InternalError",
    "InvalidError",
    "LunaError",
    "NotFoundError",
    "RefusedError",
    "StaleError",
    "WouldBlockError",
    "check_name",
    "draw_node_id",
    "format_pid",
    "make_pid",
    "node_of",
    "parse_pid",
    "serial_of",
]
