"""A network switch in this process, with faults: what is between the namespaces of a test.

Owns the packets on their way: each (from, to) pair of addresses has a path that may drop, delay or cut
them, and TCP connections can be reset as a firewall resets them. It reads whole IPv4 packets from TUN
devices, which every kernel has, where `tc netem` is often missing.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from dataclasses import dataclass

MAX_PACKET_BYTES = 65536
MAX_DELAYED_PACKETS = 20_000
"""packets on delaying paths; further ones are dropped, as by a router whose buffer is full."""

READS_AT_ONCE = 64  # of one device before the next has its turn

_TCP = 6
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16

Flow = tuple[bytes, bytes, bytes]
"""(source, destination, both ports) of a TCP connection's packets one way."""


@dataclass(frozen=True, slots=True)
class Path:
    """How packets go from one address to another: not at all, or late, or with a share of them lost."""

    cut: bool = False
    delay_s: float = 0.0
    loss: float = 0.0


CLEAR = Path()


class Switch:
    """Carries packets between devices from `start` to `close`, in a thread of its own.

    Paths may be changed at any time, by any thread.
    """

    def __init__(self, seed: int) -> None:
        self.carried = 0
        self.dropped = 0
        self.resets = 0
        self._random = random.Random(seed)
        self._devices: dict[bytes, int] = {}
        self._paths: dict[tuple[bytes, bytes], Path] = {}
        self._flows: set[Flow] = set()  # connections that are open
        self._reset: set[Flow] = set()  # of those: to be reset
        self._late: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._poll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._stop, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)

    def attach(self, address: bytes, device: int) -> None:
        """Serve a TUN device, which it owns from now on; before `start`."""
        os.set_blocking(device, False)
        self._devices[address] = device
        self._poll.register(device, select.EPOLLIN)

    @property
    def delayed(self) -> int:
        """Packets that are on delaying paths just now."""
        return len(self._late)

    def start(self) -> None:
        """Carry packets from now on."""
        self._thread.start()

    def close(self) -> None:
        """Carry no more, and give up the devices."""
        os.eventfd_write(self._stop, 1)
        if self._thread.ident is not None:
            self._thread.join()
        self._poll.close()
        for descriptor in (self._stop, *self._devices.values()):
            os.close(descriptor)

    # --- faults -----------------------------------------------------------------------------

    def set_path(self, source: bytes, target: bytes, path: Path) -> None:
        """What happens to packets of `source` for `target` from now on."""
        self._paths[source, target] = path

    def clear(self) -> None:
        """All paths are as they were first."""
        self._paths = {}

    def reset_connections(self, one: bytes, other: bytes) -> int:
        """Reset every TCP connection that is open between two addresses; their number.

        It happens when the next packet passes. Connections made later are none of them.
        """
        ways = {(one, other), (other, one)}
        open_now = {flow for flow in self._flows.copy() if flow[:2] in ways}
        self._reset |= open_now
        return len(open_now) // 2

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll(self._until_next()):
                if descriptor == self._stop:
                    return
                self._read(descriptor)
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, _, device, packet = heapq.heappop(self._late)
                self._write(device, packet)

    def _until_next(self) -> float | None:
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else None

    def _read(self, device: int) -> None:
        for _ in range(READS_AT_ONCE):
            try:
                packet = os.read(device, MAX_PACKET_BYTES)
            except OSError:  # empty, or its namespace is gone
                return
            if packet[0] >> 4 == 4:  # the kernel also asks for IPv6 routers
                self._carry(packet)

    def _carry(self, packet: bytes) -> None:
        source, target = packet[12:16], packet[16:20]
        device = self._devices.get(target)
        if device is None:
            return
        if packet[9] == _TCP and self._must_reset(packet):
            self.resets += 1
            for address, answer in _resets(packet):
                self._write(self._devices[address], answer)
            return
        path = self._paths.get((source, target), CLEAR)
        if path.cut or (path.loss and self._random.random() < path.loss):
            self.dropped += 1
        elif not path.delay_s:
            self._write(device, packet)
        elif len(self._late) < MAX_DELAYED_PACKETS:
            due = time.monotonic() + path.delay_s
            heapq.heappush(self._late, (due, next(self._order), device, packet))
        else:
            self.dropped += 1

    def _write(self, device: int, packet: bytes) -> None:
        try:
            os.write(device, packet)
            self.carried += 1
        except OSError:  # its namespace is gone
            self.dropped += 1

    def _must_reset(self, packet: bytes) -> bool:
        """Keep record of connections; whether this packet is of one that is to be reset."""
        header = (packet[0] & 15) * 4
        flags = packet[header + 13]
        ports = packet[header : header + 4]
        there: Flow = (packet[12:16], packet[16:20], ports)
        back: Flow = (packet[16:20], packet[12:16], ports[2:] + ports[:2])
        if flags & _SYN:
            self._flows |= {there, back}
            self._reset -= {there, back}  # the ports of an earlier one
        elif flags & _RST:
            self._flows -= {there, back}
            return False
        if there in self._reset:
            self._flows -= {there, back}
            return True
        return False


def _resets(packet: bytes) -> list[tuple[bytes, bytes]]:
    """(receiver, packet): what tells both ends of the connection that a packet is of that it is reset."""
    header = (packet[0] & 15) * 4
    source, target = packet[12:16], packet[16:20]
    from_port, to_port, sequence, acknowledged = struct.unpack_from(">HHII", packet, header)
    return [
        (source, _reset_packet(target, source, to_port, from_port, acknowledged, 0)),
        (target, _reset_packet(source, target, from_port, to_port, sequence, acknowledged)),
    ]


def _reset_packet(
    source: bytes, target: bytes, from_port: int, to_port: int, sequence: int, acknowledged: int
) -> bytes:
    # Both the exact sequence number that the receiver expects next: it must ignore any other (RFC 5961).
    flags = _RST | (_ACK if acknowledged else 0)

    def tcp(checksum: int) -> bytes:
        return struct.pack(
            ">HHIIBBHHH", from_port, to_port, sequence, acknowledged, 5 << 4, flags, 0, checksum, 0
        )

    def ip(checksum: int) -> bytes:
        return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, _TCP, checksum, source, target)

    pseudo = source + target + struct.pack(">HH", _TCP, 20)
    return ip(_checksum(ip(0))) + tcp(_checksum(pseudo + tcp(0)))


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
