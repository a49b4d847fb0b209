"""The address at which peers reach this node, followed when the machine gets another one or none.

A lease runs out, a container is put into another network, a laptop finds one. Owns when the addresses of the
machine are looked at, and what then has to begin anew. Lives on trio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from luna.cluster._zeroconf import ZeroconfDiscovery
from luna.cluster.members import split_address
from luna.node.bridge import Bridge
from luna.node.config import Address, is_literal, is_loopback_literal, is_own_host, is_wildcard, routed_host
from luna.node.joining import Joiner
from luna.node.peers import Peers

CHECK_S: Final = 1.0
"""seconds between two looks at the machine's addresses, each two system calls: the peers of a node that lost
its network take as long to notice."""

_log = structlog.get_logger(__name__)


def next_host(current: str, is_here: bool, routed: str | None) -> str | None:
    """Where a node that is reached at `current` is reached from now on; None: nowhere, for the time being.

    `is_here`: whether the machine still has that address. `routed`: the one on its default route, if the node
    listens on all. An address that is still there is kept: routes change more often, and with a loopback
    address only because there was no route before.
    """
    if is_here and not (is_loopback_literal(current) and routed):
        return current
    return routed


async def follow_address(
    listen: str,
    peers: Peers,
    on_back: Callable[[], None],
    *,
    is_here: Callable[[str], bool] = is_own_host,
    routed: Callable[[str], str | None] = routed_host,
) -> None:
    """Have peers know where this node is reached; `on_back` is called when that is again or elsewhere.

    `listen` is the host it listens on. Never returns, unless that cannot change.
    """
    wildcard = is_wildcard(listen)
    if is_loopback_literal(listen) or not is_literal(listen):
        return  # it is always there; what a name stands for is its owner's business
    lost = False
    while True:
        await trio.sleep(CHECK_S)
        current, port = split_address(peers.own.address)
        host = next_host(current, is_here(current), routed(listen) if wildcard else None)
        if host is None:
            if not lost:
                _log.warning(
                    "this machine has lost its address: peers cannot reach this node", address=current
                )
            lost = True
            continue
        if host != current:
            peers.moved(str(Address(host, port)))
        if host != current or lost:
            on_back()
        lost = False


class Discovering:
    """Discovery for one node, which announces it where it is reached."""

    def __init__(self, bridge: Bridge, peers: Peers, joiner: Joiner) -> None:
        self._bridge = bridge
        self._peers = peers
        self._joiner = joiner
        self._round = trio.CancelScope()

    async def run(self) -> None:
        """Announce this node, and have those met that are found. Never returns."""
        while True:
            with trio.CancelScope() as self._round:
                await self._bridge.run(ZeroconfDiscovery(self._peers.own).run, self._on_found)

    def again(self) -> None:
        """The sockets that multicast goes over belong to a network that is gone: open new ones."""
        self._round.cancel()

    def _on_found(self, address: str, node_id: int, name: str, cluster: str) -> None:
        self._bridge.post_to_trio(self._joiner.found, address, node_id, name, cluster)
