"""What the cluster package talks about: nodes, members, their states, and events.

Owns the value types and the check that a node's description keeps to the limits. Knows no rule of
how states change (`membership`) and no wire format (`wire`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from types import MappingProxyType

from luna.proto.errors import InvalidError
from luna.proto.ids import MAX_NODE_ID, check_name, is_node_id
from luna.proto.limits import (
    MAX_ADDRESS_LENGTH,
    MAX_LABEL_KEY_LENGTH,
    MAX_LABEL_VALUE_LENGTH,
    MAX_LABELS,
)

MAX_INCARNATION = 2**32 - 1
"""A node that refutes ten times a second gets here in 13 years. A bound keeps a hostile rumour from
pushing a node to where the 64-bit wire field ends."""

MAX_STARTED_MS = 2**53
"""milliseconds since 1970, 285 000 years: any clock, and exact in JSON."""

MAX_SUCCESSION = 2**32 - 1
"""A bound for the same reason."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%A-Za-z_-]+\]|[^\s:\[\]/@]+):(?P<port>[0-9]{1,5})\Z")
_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?\Z")


class MemberState(IntEnum):
    """What a member is taken for. The numbers are those of the wire format."""

    ALIVE = 1
    SUSPECT = 2
    DEAD = 3
    LEFT = 4


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node as it describes itself.

    `id`: 1 .. 2**23-1, drawn anew at every start. `name`: unique among live members. `address`:
    `HOST:PORT` that peers dial. `started_ms`: wall clock of the start in milliseconds. `succession`: which
    holder of its name it is, of those it has heard were declared dead and itself; 0 until it has met
    anybody. With those two and the id it is decided between two nodes of one name (`naming`). `labels` are
    copied and read-only.
    """

    id: int
    name: str
    cluster: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    started_ms: int = 0
    succession: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))

    @property
    def identity(self) -> tuple[int, str, str, int]:
        """What never changes in the life of one node; two descriptions that differ here are two nodes."""
        return (self.id, self.name, self.cluster, self.started_ms)


@dataclass(frozen=True, slots=True)
class Member:
    """A node and what it is taken for; also the rumour that says so.

    `incarnation` is raised by the node itself alone: to refute a suspicion, or to publish a change.
    """

    node: NodeInfo
    state: MemberState = MemberState.ALIVE
    incarnation: int = 0

    @property
    def live(self) -> bool:
        """Alive or suspect: still part of the cluster."""
        return self.state <= MemberState.SUSPECT


class EventKind(Enum):
    """What a change of the membership table means to whoever acts on it."""

    JOINED = "joined"
    """A live member that was not known before, or one that was declared dead and is not. A SUSPECTED follows
    if it is a suspect."""
    SUSPECTED = "suspected"
    """A live member does not answer somebody; its time to refute begins, anew if it was a suspect already."""
    RECOVERED = "recovered"
    """A suspect refuted the suspicion."""
    UPDATED = "updated"
    """A newer record of an alive member, to be spread: another address, other labels, or just a refutation
    of a suspicion not heard of here. If `other` has another identity, two nodes drew one id, and the one
    in `member` keeps it."""
    DIED = "died"
    """A live member was declared dead. It may refute that, and then joins again."""
    LEFT = "left"
    """A live member left on purpose. Final."""
    NAME_CONFLICT = "name_conflict"
    """Two alive members have one name; `member` must go, `other` stays. If `member` is this node, stop it."""
    ID_CONFLICT = "id_conflict"
    """Another node has the id of this one and keeps it: stop this node."""
    DECLARED_GONE = "declared_gone"
    """The cluster says that this node left, which is final: stop it; it may come back with a new id."""
    REFUTED = "refuted"
    """This node raised its incarnation against a suspicion or a verdict; spread `member`."""
    REFUSED = "refused"
    """A rumour that was not taken in: the table is full, or the node is of another cluster."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change; `member` as it is now. `other` is the second node of a conflict, or what `member` was."""

    kind: EventKind
    member: Member
    other: Member | None = None


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT`; an IPv6 host stands in brackets, which are taken off.

    Raises InvalidError.
    """
    match = _ADDRESS.match(address) if len(address) <= MAX_ADDRESS_LENGTH else None
    port = int(match["port"]) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise InvalidError(
            f"{address[:MAX_ADDRESS_LENGTH]!r} is not an address",
            hint="write HOST:PORT, for example 127.0.0.1:4710 or [::1]:4710",
        )
    return match["host"].strip("[]"), port


def join_address(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_label(text: str) -> tuple[str, str]:
    """(key, value) of a label written as `KEY=VALUE`. Raises InvalidError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidError(f"{text!r} is not a label", hint="write KEY=VALUE, for example zone=a")
    check_labels({key: value})
    return key, value


def check_labels(labels: Mapping[str, str]) -> None:
    """Check count, keys and values of a node's labels. Raises InvalidError."""
    if len(labels) > MAX_LABELS:
        raise InvalidError(f"{len(labels)} labels are more than the limit of {MAX_LABELS}")
    for key, value in labels.items():
        if len(key) > MAX_LABEL_KEY_LENGTH or not _LABEL_KEY.match(key):
            raise InvalidError(
                f"{key[:MAX_LABEL_KEY_LENGTH]!r} is not a label key",
                hint=f"use 1 to {MAX_LABEL_KEY_LENGTH} letters, digits, and - _ . / inside",
            )
        if len(value) > MAX_LABEL_VALUE_LENGTH or not value.isprintable():
            raise InvalidError(
                f"the value of label {key} is not valid",
                hint=f"use at most {MAX_LABEL_VALUE_LENGTH} printable characters",
            )


def check_node(node: NodeInfo) -> NodeInfo:
    """`node` itself if its description keeps to the limits and forms. Raises InvalidError."""
    if not is_node_id(node.id):
        raise InvalidError(f"node id {node.id} is not in 1..{MAX_NODE_ID}")
    check_name(node.name, "node name")
    check_name(node.cluster, "cluster name")
    split_address(node.address)
    check_labels(node.labels)
    if not 0 <= node.started_ms <= MAX_STARTED_MS:
        raise InvalidError(f"start time {node.started_ms} ms is not in 0..{MAX_STARTED_MS}")
    if not 0 <= node.succession <= MAX_SUCCESSION:
        raise InvalidError(f"succession {node.succession} is not in 0..{MAX_SUCCESSION}")
    return node
