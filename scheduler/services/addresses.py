"""Socket addresses as guests give and get them (`lunatic::networking`).

Going in, an address is a type (4 or 6), octets in guest memory, port, flow info and scope id.
Coming out, addresses are in an iterator, a resource that `resolve_next` reads one by one.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias, final

from luna.scheduler.requests import GuestTrap, Request
from luna.scheduler.resources import ResourceKind

__all__ = ["AddressIterator", "SocketAddress", "add_addresses", "family_of", "read_address"]

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""What Python's sockets take: (host, port), or with flow info and scope id for IPv6. The host is numeric."""

V4: Final = 4
V6: Final = 6
V4_OCTETS: Final = 4
V6_OCTETS: Final = 16
FLOW_MASK: Final = 0xF_FFFF
"""the 20 bits of a flow label; Python refuses more, and Linux ignores all of them unless told to send them"""


def read_address(
    request: Request, kind: float, pointer: float, port: float, flow_info: float, scope_id: float
) -> SocketAddress:
    """An address that a guest gives. Raises GuestTrap for an unknown type and out of bounds."""
    low_port = int(port) & 0xFFFF
    if kind == V4:
        octets = request.read(int(pointer), V4_OCTETS)
        return socket.inet_ntop(socket.AF_INET, octets), low_port
    if kind == V6:
        octets = request.read(int(pointer), V6_OCTETS)
        # Guests, and Rust, keep the flow info as it is in memory: network order.
        flow = socket.ntohl(int(flow_info) & 0xFFFF_FFFF) & FLOW_MASK
        return socket.inet_ntop(socket.AF_INET6, octets), low_port, flow, int(scope_id) & 0xFFFF_FFFF
    raise GuestTrap(f"{request.full_name}: an address type is 4 or 6, not {int(kind)}")


def family_of(address: SocketAddress) -> socket.AddressFamily:
    """IPv4 or IPv6."""
    return socket.AF_INET if len(address) == 2 else socket.AF_INET6


@final
class AddressIterator:
    """Addresses on their way out; a resource of kind DNS_ITERATOR."""

    __slots__ = ("_addresses", "_next")

    def __init__(self, addresses: Sequence[SocketAddress]) -> None:
        self._addresses = addresses
        self._next = 0

    def close(self) -> None:
        """Nothing is held."""

    def next(self) -> SocketAddress | None:
        """The next address; None after the last."""
        if self._next == len(self._addresses):
            return None
        self._next += 1
        return self._addresses[self._next - 1]


def add_addresses(request: Request, *addresses: SocketAddress) -> int:
    """Give the process an iterator of addresses; its id."""
    return request.add_resource(ResourceKind.DNS_ITERATOR, AddressIterator(addresses))


def write_address(
    request: Request, address: SocketAddress, kind: int, octets: int, port: int, flow_info: int, scope_id: int
) -> None:
    """Store an address at these five places, the last two for IPv6 only. Raises GuestTrap out of bounds."""
    if len(address) == 2:
        request.write_u32(kind, V4)
        request.write(octets, socket.inet_pton(socket.AF_INET, address[0]))
        request.write(port, struct.pack("<H", address[1]))
        return
    request.write_u32(kind, V6)
    request.write(octets, socket.inet_pton(socket.AF_INET6, address[0]))
    request.write(port, struct.pack("<H", address[1]))
    request.write_u32(flow_info, socket.htonl(address[2]))
    request.write_u32(scope_id, address[3])
