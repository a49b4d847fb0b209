"""What a node is told when it is started, checked: names, addresses, labels.

Owns `NodeOptions` and the rules for its values. Reads no files and opens no sockets; the one thing it
asks of the system is what a host name resolves to.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from luna.cluster.members import check_labels, parse_label
from luna.proto.errors import InvalidError, RefusedError
from luna.proto.ids import check_name, name_from_host
from luna.proto.limits import (
    FROZEN_PEER_TIMEOUT_S,
    MAX_NODE_TIMEOUT_S,
    MAX_THREADS,
    MIN_NODE_TIMEOUT_S,
    PROCESSES_CEILING,
)

if TYPE_CHECKING:
    from luna.scheduler.tracing import Trace

DEFAULT_CLUSTER = "luna"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7010
DEFAULT_PORT_TRIES = 100
"""ports tried from DEFAULT_PORT on when no --listen was given, so that several nodes start on one machine
without a word; more than that many nodes on one machine are no accident and can name their ports."""


class Address(NamedTuple):
    """A HOST:PORT pair; `str()` gives the text form, with brackets round an IPv6 host."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """How to start a node. `None` means: choose (see the fields' defaults in `luna-node start --help`).

    `threads` is the number of scheduler threads, `max_processes` that of processes alive at once;
    `module_cache_bytes` is how much its module store keeps on disk, `node_timeout_s` how many seconds a peer
    may be silent. `insecure` allows plain text beyond this machine; `metrics` is where to serve them, nowhere
    by default.
    `trace` is what is written of what processes do.
    """

    name: str | None = None
    listen: Address | None = None
    join: tuple[Address, ...] = ()
    state: Path | None = None
    cluster: str = DEFAULT_CLUSTER
    labels: Mapping[str, str] = field(default_factory=dict)
    discovery: bool = True
    insecure: bool = False
    threads: int | None = None
    max_processes: int | None = None
    node_timeout_s: float = FROZEN_PEER_TIMEOUT_S
    module_cache_bytes: int | None = None
    metrics: Address | None = None
    trace: Trace | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the system.

        Raises InvalidError for a bad name, label, thread count, process limit or timeout.
        """
        if self.name is not None:
            check_name(self.name)
        check_name(self.cluster, "cluster name")
        check_labels(self.labels)
        _check_count(self.threads, MAX_THREADS, "scheduler threads")
        _check_count(self.max_processes, PROCESSES_CEILING, "processes at most")
        if not MIN_NODE_TIMEOUT_S <= self.node_timeout_s <= MAX_NODE_TIMEOUT_S:
            raise InvalidError(
                f"a node timeout of {self.node_timeout_s:g} s is not possible",
                hint=f"use {MIN_NODE_TIMEOUT_S:g} to {MAX_NODE_TIMEOUT_S:g} seconds",
            )

    def host_name(self) -> str:
        """The name to start from: the one given, or one made of the machine's host name."""
        return self.name if self.name is not None else name_from_host(socket.gethostname())


def _check_count(count: int | None, most: int, what: str) -> None:
    if count is not None and not 1 <= count <= most:
        raise InvalidError(
            f"a node cannot be started with {count} {what}", hint=f"use 1 to {most}, or leave it out"
        )


def parse_address(text: str) -> Address:
    """The Address written as HOST:PORT or [IPV6]:PORT, port 0..65535.

    Raises InvalidError for anything else.
    """
    host, colon, port_text = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""  # an IPv6 address without brackets: where its port begins is a guess
    if not colon or not host or not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise InvalidError(f"{text!r} is not an address", hint="write HOST:PORT, for example 127.0.0.1:7010")
    return Address(host, int(port_text))


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels written as KEY=VALUE. Raises InvalidError for a malformed, repeated or oversized one."""
    labels: dict[str, str] = {}
    for text in texts:
        key, value = parse_label(text)
        if key in labels:
            raise InvalidError(f"label {key!r} is given twice")
        labels[key] = value
    check_labels(labels)
    return labels


def is_loopback(host: str) -> bool:
    """Whether every address of `host` is on the loopback interface; False if it resolves to none."""
    if is_loopback_literal(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label of the name is too long
        return False
    return bool(found) and all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)


def is_loopback_literal(host: str) -> bool:
    """Whether `host` is written as a loopback address or `localhost`; asks nobody, so it never blocks."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_reach(address: Address, *, insecure: bool, purpose: str) -> None:
    """Raises RefusedError if plain text to `address` would leave this machine and was not asked for.

    `purpose` says what was to be done there: "listen on", "join".
    """
    if not insecure and not is_loopback(address.host):
        raise RefusedError(
            f"cannot {purpose} {address}: traffic between nodes is not encrypted yet, and stays on loopback",
            hint="use a 127.0.0.1 address, or --insecure where nobody else can listen or connect",
        )


def candidate_ports(listen: Address | None) -> tuple[str, range]:
    """The host to listen on and the ports to try there, in order; port 0 lets the system choose."""
    if listen is not None:
        return listen.host, range(listen.port, listen.port + 1)
    return DEFAULT_HOST, range(DEFAULT_PORT, DEFAULT_PORT + DEFAULT_PORT_TRIES)


def is_literal(host: str) -> bool:
    """Whether `host` is written as an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Whether `host` stands for all addresses of this machine."""
    return is_literal(host) and ipaddress.ip_address(host).is_unspecified


def advertised_host(host: str) -> str:
    """The host that peers dial for a node that listens on `host`: itself, or for a wildcard this machine's
    address on its default route (loopback if it has none)."""
    if not is_wildcard(host):
        return host
    return routed_host(host) or ("127.0.0.1" if ipaddress.ip_address(host).version == 4 else "::1")


def routed_host(wildcard: str) -> str | None:
    """This machine's address on its default route, of the version of a wildcard; None if it has no route."""
    family, probe = (
        (socket.AF_INET, "192.0.2.1")
        if ipaddress.ip_address(wildcard).version == 4
        else (socket.AF_INET6, "2001:db8::1")
    )
    # Connecting a datagram socket sends nothing: it only makes the kernel choose a source address.
    with socket.socket(family, socket.SOCK_DGRAM) as probe_socket:
        try:
            probe_socket.connect((probe, 9))
        except OSError:
            return None
        return str(probe_socket.getsockname()[0])


def is_own_host(host: str) -> bool:
    """Whether an IP address is one of this machine's."""
    family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe_socket:
        try:
            probe_socket.bind((host, 0))
        except OSError:
            return False
        return True


def default_state_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory that holds one state directory per node: ${XDG_STATE_HOME:-~/.local/state}/luna."""
    base = environment.get("XDG_STATE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "luna"
