"""Networks for tests: some hosts, and a switch between them that makes faults on demand.

A host is whatever has a network namespace: one of this machine made for it (`namespace`), or that of a
container. Owns the devices between the hosts and the switch from `open_network` on to its end. Needs Linux,
root and iproute2; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import ipaddress
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File

from .switch import Path, Switch

PREFIX = "luna-test-"
DEVICE = "net"
MTU = 9000  # fewer packets: each costs the switch some ten microseconds

_TUN = File("/dev/net/tun")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace: what `ip link set netns` calls it, and what runs a command in it."""

    netns: str
    enter: tuple[str, ...]


MakePlace = Callable[[str], contextlib.AbstractContextManager[Place]]
"""Makes the place of the host it is given, and removes it with all that runs there."""


class Network:
    """Some hosts that reach each other. Made by `open_network` only."""

    def __init__(self, places: Mapping[str, Place], switch: Switch) -> None:
        self.switch = switch
        self.places = places
        self._addresses = {
            host: ipaddress.IPv4Address(f"10.0.0.{number}") for number, host in enumerate(places, start=1)
        }

    def address(self, host: str) -> str:
        """The IPv4 address of a host."""
        return str(self._addresses[host])

    def within(self, host: str) -> list[str]:
        """What to put before a command so that it runs on a host."""
        return list(self.places[host].enter)

    def cut(self, *pairs: tuple[str, str]) -> None:
        """Drop all packets between each pair of hosts, both ways."""
        for one, other in pairs:
            self.cut_one_way(one, other)
            self.cut_one_way(other, one)

    def cut_one_way(self, source: str, target: str) -> None:
        """Drop all packets from one host to another."""
        self._set(source, target, Path(cut=True))

    def split(self, some: Sequence[str], others: Sequence[str]) -> None:
        """Drop all packets between two groups of hosts."""
        self.cut(*((one, other) for one in some for other in others))

    def degrade(self, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Delay all packets, and lose a share of them, between all hosts."""
        for source in self._addresses:
            for target in self._addresses:
                if source != target:
                    self._set(source, target, Path(delay_s=delay_s, loss=loss))

    def heal(self) -> None:
        """No more faults."""
        self.switch.clear()

    def reset(self, one: str, other: str) -> int:
        """Reset the TCP connections that are open between two hosts; their number."""
        return self.switch.reset_connections(self._addresses[one].packed, self._addresses[other].packed)

    def _set(self, source: str, target: str, path: Path) -> None:
        self.switch.set_path(self._addresses[source].packed, self._addresses[target].packed, path)


@functools.cache
def why_not() -> str | None:
    """Why there can be no networks here, or None."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    if not _TUN.exists():
        return f"there is no {_TUN}"
    try:
        with open_network(["probe"]):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no namespace can be made: {getattr(error, 'stderr', '') or error}"


@contextlib.contextmanager
def namespace(host: str) -> Iterator[Place]:
    """A namespace of this machine. What earlier runs left that did not come to their end is removed first."""
    _remove_abandoned()
    name = _namespace(host)
    _ip("netns", "add", name)
    try:
        yield Place(name, ("ip", "netns", "exec", name))
    finally:
        _remove(name)


@contextlib.contextmanager
def open_network(hosts: Sequence[str], seed: int = 1, place: MakePlace = namespace) -> Iterator[Network]:
    """A network of some hosts; `seed` decides which packets get lost. All that runs on them is ended."""
    switch = Switch(seed)
    with contextlib.ExitStack() as stack:
        stack.callback(switch.close)
        network = Network({host: stack.enter_context(place(host)) for host in hosts}, switch)
        for number, host in enumerate(hosts):
            _connect(number, host, network)
        switch.start()
        yield network


def _connect(number: int, host: str, network: Network) -> None:
    place = network.places[host]
    device = f"luna{os.getpid()}-{number}"  # only until it is in the namespace
    tunnel = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tunnel, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(tunnel)
        raise
    network.switch.attach(ipaddress.IPv4Address(network.address(host)).packed, tunnel)
    _ip("link", "set", device, "netns", place.netns, "name", DEVICE)
    for command in (
        ("addr", "add", f"{network.address(host)}/24", "dev", DEVICE),
        ("link", "set", DEVICE, "mtu", str(MTU), "up"),
        ("link", "set", "lo", "up"),
    ):
        _run(*place.enter, "ip", *command)


def _namespace(host: str) -> str:
    return f"{PREFIX}{os.getpid()}-{host}"


def _remove_abandoned() -> None:
    """Remove the namespaces of test runs that are no more."""
    for line in _ip("netns", "list").splitlines():
        name = line.partition(" ")[0]
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and owner.isdigit() and not File(f"/proc/{owner}").exists():
            _remove(name)


def _remove(namespace: str) -> None:
    if not File("/run/netns", namespace).exists():
        return
    for process in _ip("netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    _ip("netns", "delete", namespace)


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
