"""Finding the cluster: the addresses a node was told to join, and those that discovery reports.

Owns when and how often an address is met. A target that does not answer is tried again for as long as the
node runs; one that says that this node has no place in its cluster stops it. Lives on trio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
import trio

from luna.cluster.members import MemberState, NodeInfo
from luna.cluster.peering import FATAL_REFUSALS
from luna.node.config import Address
from luna.node.peers import Peers
from luna.node.status import JoinRefusedError, SelfJoinError
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, LunaError
from luna.proto.limits import CONNECT_TIMEOUT_S

_log = structlog.get_logger(__name__)

NAME_PATIENCE_WINDOWS = 3.0
"""windows (see `Timings.window_s`) in which a taken name is asked for again: a node that crashed and was
restarted at once finds its predecessor still listed until the others' verdict."""

RETRY_S = 0.2
"""seconds between two attempts within that time, and the first delay between attempts to join."""

MAX_RETRY_S = 5.0
"""seconds between attempts to join a target that does not answer, at most, and between two looks whether it
is still a member: two halves of a cluster find each other again this way."""

MAX_FOUND = 256
"""discovered addresses waiting to be met; anyone on the network can announce as many as they like."""


class Joiner:
    """Meets addresses on behalf of one node (trio)."""

    def __init__(self, peers: Peers, fatal: Callable[[LunaError], None]) -> None:
        """`fatal(error)` stops the node."""
        self._peers = peers
        self._fatal = fatal
        found_in, found = trio.open_memory_channel[str](MAX_FOUND)
        self._found_in: trio.MemorySendChannel[str] = found_in
        self._found: trio.MemoryReceiveChannel[str] = found

    async def join_first(self, targets: Sequence[Address]) -> None:
        """One round over the targets, with a session to each that answers, for CONNECT_TIMEOUT_S.

        Raises JoinRefusedError if one turns this node away, StaleError if that is for good, InvalidError if
        one is not a node.
        """
        refusals: list[LunaError] = []

        async def one(target: Address) -> None:
            try:
                node = await self._meet(str(target))
                with trio.move_on_after(CONNECT_TIMEOUT_S):
                    await self._peers.wait_connected(node.id)
            except SelfJoinError:
                pass  # one list of addresses for all nodes is a usual thing to have
            except JoinRefusedError as error:
                refusals.append(error.as_fatal())
            except InvalidError as error:
                refusals.append(error)
            except LunaError as error:
                _log.warning(
                    "cannot join yet; this node goes on trying", target=str(target), reason=error.message
                )

        async with trio.open_nursery() as nursery:
            for target in targets:
                nursery.start_soon(one, target)
        if refusals:
            raise refusals[0]

    async def keep_joined(self, target: Address) -> None:
        """Meet `target` whenever no live member has its address. Returns only if it is this node itself."""
        delay_s, said = RETRY_S, False
        met = 0  # who answered there last: its own word for its address may be another one
        while True:
            await trio.sleep(delay_s)
            if any(
                member.node.id == met or member.node.address == str(target)
                for member in self._peers.membership.peers()
            ):
                delay_s, said = MAX_RETRY_S, False
                continue
            try:
                met = (await self._meet(str(target))).id
            except SelfJoinError:
                return
            except LunaError as error:
                self._judge(error, str(target), quietly=said)
                said = True
            delay_s = min(2 * delay_s, MAX_RETRY_S)

    def found(self, address: str, node_id: int, name: str, cluster: str) -> None:
        """Discovery reports a node (trio thread); it is met soon, unless too many wait already."""
        member = self._peers.membership.get(node_id)
        known = member is not None and member.state is not MemberState.DEAD  # who is dead may be back
        if cluster != self._peers.own.cluster or known:
            return
        try:
            self._found_in.send_nowait(address)
        except trio.WouldBlock:
            _log.debug("too many discovered nodes at once", dropped=name)

    async def meet_found(self) -> None:
        """Meet what discovery reports, one after the other. Never returns."""
        async for address in self._found:
            try:
                await self._meet(address)
            except LunaError as error:
                self._judge(error, address, quietly=False)

    async def _meet(self, address: str) -> NodeInfo:
        deadline = trio.current_time() + NAME_PATIENCE_WINDOWS * self._peers.timings.window_s
        while True:
            try:
                return await self._peers.join(address)
            except JoinRefusedError as error:
                if error.refusal != node_pb2.NAME_TAKEN or trio.current_time() >= deadline:
                    raise
            await trio.sleep(RETRY_S)

    def _judge(self, error: LunaError, address: str, *, quietly: bool) -> None:
        if isinstance(error, JoinRefusedError) and error.refusal in FATAL_REFUSALS:
            self._fatal(error.as_fatal())
            return
        log = _log.debug if quietly else _log.info
        log("could not meet a node", address=address, reason=error.message)
