"""Discovery: how a node learns addresses of others without being told.

Owns the interface and what a found node is checked for. Discovery yields addresses and hints, never
trust: who somebody really is comes out when the two nodes meet. The implementations are
`_zeroconf.ZeroconfDiscovery` and the in-memory one of the tests; tests/cluster/test_discovery.py holds
both to one suite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from luna.cluster.members import join_address
from luna.proto.errors import InvalidError
from luna.proto.ids import MAX_NODE_ID, check_name, is_node_id

MAX_TXT_BYTES = 1024
"""bytes of TXT of one service; ours has under 200, and RFC 6763 advises at most 400."""

MAX_SERVICES = 4096
"""services remembered, so that each is reported once; the least recently found is forgotten, and would
be reported again. As many as a cluster may have members."""

OnFound = Callable[[str, int, str, str], None]
"""Called with (address `HOST:PORT`, node id, node name, cluster name) in the thread of `run`.

Must not block, and bounds what it starts: anyone on the network can announce as many nodes as they like.
"""


class Discovery(Protocol):
    """Announces this node and finds others of its cluster."""

    async def run(self, on_found: OnFound) -> None:
        """Announce and browse until cancelled; the announcement is withdrawn before this returns.

        `on_found` is called once for each node of this cluster but this one, and again if its address
        changed or it came back after it was withdrawn. A node may be reported that is already gone.
        What others announce never makes this raise; nor does a network on which it cannot work.
        Runs in an asyncio event loop.
        """
        ...


@dataclass(frozen=True, slots=True)
class FoundNode:
    """What an announcement says of a node, checked for form alone."""

    address: str
    node_id: int
    name: str
    cluster: str


def announcement(node_id: int, name: str, cluster: str, api: int) -> dict[str, str]:
    """The TXT properties of a node. `api`, the newest protocol it speaks, is only for people to read."""
    return {"cluster": cluster, "name": name, "id": str(node_id), "api": str(api)}


def parse_announcement(properties: Mapping[bytes, bytes | None], host: str, port: int) -> FoundNode:
    """The node behind TXT `properties` at `host` and `port`. Raises InvalidError if it is not well-formed."""
    id_text = _text(properties, b"id")
    if not (id_text.isascii() and id_text.isdigit() and len(id_text) <= len(str(MAX_NODE_ID))):
        raise InvalidError("the announced node id is not a number")
    node_id = int(id_text)
    if not is_node_id(node_id):
        raise InvalidError(f"the announced node id {node_id} is out of range")
    if not 1 <= port <= 65535:
        raise InvalidError(f"the announced port {port} is out of range")
    name = check_name(_text(properties, b"name"))
    cluster = check_name(_text(properties, b"cluster"), "cluster name")
    return FoundNode(join_address(host, port), node_id, name, cluster)


def _text(properties: Mapping[bytes, bytes | None], key: bytes) -> str:
    value = properties.get(key)
    if value is None:
        raise InvalidError(f"the announcement has no {key.decode()}")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidError(f"the announced {key.decode()} is not text") from None
