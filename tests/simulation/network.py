"""A network in memory: connections that keep order, delay, stall, break and refuse as TCP's do.

Owns which hosts reach each other, and what is under way between them. A connection has two `End`s; what
arrives at one goes to its `side`. Between two hosts a path may be blocked in either direction: then what was
sent waits, as a kernel that sends again would have it, and pings go unanswered (`Timings.keepalive_*`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from luna.proto import node_pb2
from luna.proto.errors import LunaError

if TYPE_CHECKING:
    from .node import SimulatedNode
    from .world import World

PIPE_FRAMES = 4
"""frames on their way through one direction of a connection before its writer has to wait."""

SYN_RETRY_S = 1.0
"""seconds until a connection that got no answer is tried again by the kernel."""

REFUSAL_TIMEOUT_S = 0.25
"""seconds for finding out whether anybody listens at an address."""

RESET = object()
"""the last thing in a pipe whose other end is closed."""


class Side(Protocol):
    """Who has one end of a connection."""

    def received(self, item: Any) -> None:
        """Something arrived, in the order sent."""

    def broken(self, reason: str) -> None:
        """The connection is no more. Not called when this side closes it."""

    def room(self) -> None:
        """There may be room to write again."""


class Network:
    """The paths between the hosts of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.min_latency_s = 0.0005
        self.max_latency_s = 0.003
        self.slow_hosts: dict[int, float] = {}
        """seconds that a host takes to read one frame"""
        self.extra_latency_s: dict[tuple[int, int], float] = {}
        self.ends: dict[End, None] = {}  # open ones, oldest first
        self._blocked: dict[tuple[int, int], int] = {}  # by how many faults

    # --- paths ------------------------------------------------------------------------------

    def is_blocked(self, source: int, target: int) -> bool:
        """Whether nothing gets from one host to another."""
        return (source, target) in self._blocked

    def is_cut(self, a: int, b: int) -> bool:
        """Whether two hosts cannot hold a conversation."""
        return (a, b) in self._blocked or (b, a) in self._blocked

    def block(self, source: int, target: int) -> None:
        """Let nothing through from one host to another, until as many calls of `unblock`."""
        self._blocked[source, target] = self._blocked.get((source, target), 0) + 1
        self.look_at({source, target})

    def unblock(self, source: int, target: int) -> None:
        """Undo one `block`."""
        count = self._blocked.pop((source, target)) - 1
        if count:
            self._blocked[source, target] = count
        self.look_at({source, target})

    def look_at(self, hosts: set[int]) -> None:
        """Something changed about these hosts: connections may stall, or go on."""
        for end in list(self.ends):
            if end.node.host in hosts or end.remote.host in hosts:
                end.look()

    def latency_s(self, a: int, b: int) -> float:
        """Seconds for one message, drawn anew."""
        latency_s = self.min_latency_s + self.world.random.random() * (
            self.max_latency_s - self.min_latency_s
        )
        return latency_s + self.extra_latency_s.get((a, b), 0.0) if self.extra_latency_s else latency_s

    def listener(self, address: str) -> SimulatedNode | None:
        """The node that accepts connections at an address."""
        node = self.world.running.get(host_of(address))
        return None if node is None or node.stopped or node.address != address else node

    # --- connections ------------------------------------------------------------------------

    def connect(
        self, node: SimulatedNode, address: str, until_s: float, then: Callable[[SimulatedNode | None], None]
    ) -> None:
        """Connect to an address: `then` gets who listens there, None if nobody. Not after `until_s`."""
        delay_s = 2 * self.latency_s(node.host, host_of(address))
        self.world.after(delay_s, node, self._connect, node, address, until_s, then)

    def _connect(
        self, node: SimulatedNode, address: str, until_s: float, then: Callable[[SimulatedNode | None], None]
    ) -> None:
        if not self.is_cut(node.host, host_of(address)):
            then(self.listener(address))
        elif self.world.now_s + SYN_RETRY_S < until_s:
            self.world.after(SYN_RETRY_S, node, self._connect, node, address, until_s, then)

    def open(self, node: SimulatedNode, target: SimulatedNode) -> tuple[End, End]:
        """A connection between two nodes."""
        near, far = End(self, node, target), End(self, target, node)
        near.other, far.other = far, near
        self.ends |= {near: None, far: None}
        near.look()
        far.look()
        return near, far

    def reset(self, end: End) -> None:
        """Break a connection: what was written and not read is lost."""
        for side in (end, end.other):
            side.lose()

    def drop_node(self, node: SimulatedNode) -> None:
        """A node's process has ended: the kernel closes its connections."""
        for end in list(self.ends):
            if end.node is node:
                end.close()

    def lose_all(self, node: SimulatedNode) -> None:
        """The address of a node's connections is no more: both kernels give them up."""
        for end in list(self.ends):
            if end.node is node:
                self.reset(end)

    def is_refused(self, node: SimulatedNode, address: str, then: Callable[[bool], None]) -> None:
        """Find out whether the kernel at an address refuses connections."""
        delay_s = 2 * self.latency_s(node.host, host_of(address))
        if self.is_cut(node.host, host_of(address)):
            self.world.after(REFUSAL_TIMEOUT_S, node, then, False)
        else:
            self.world.after(delay_s, node, lambda: then(self.listener(address) is None))

    def meet(
        self,
        node: SimulatedNode,
        address: str,
        hello: node_pb2.Hello,
        timeout_s: float,
        then: Callable[[node_pb2.Hello | None], None],
    ) -> None:
        """Exchange Hello with whoever is at an address: `then` gets the answer, or None."""
        Meeting(self, node, address, hello, self.world.now_s + timeout_s, then)


class Meeting:
    """One call of Meet."""

    def __init__(
        self,
        network: Network,
        node: SimulatedNode,
        address: str,
        hello: node_pb2.Hello,
        until_s: float,
        then: Callable[[node_pb2.Hello | None], None],
    ) -> None:
        self._network = network
        self._node = node
        self._hello = hello
        self._until_s = until_s
        self._then = then
        self._done = False
        network.world.at(until_s, node, self._finish, None)
        network.connect(node, address, until_s, self._connected)

    def _connected(self, target: SimulatedNode | None) -> None:
        if target is None:
            self._finish(None)
            return
        network = self._network
        network.world.after(network.latency_s(self._node.host, target.host), target, self._arrived, target)

    def _arrived(self, target: SimulatedNode) -> None:
        network = self._network
        if network.is_blocked(self._node.host, target.host):
            return  # it may arrive when the path is whole again, but nobody waits for it then
        try:
            answer = target.met(self._hello)
        except LunaError:
            answer = None
        network.world.after(
            network.latency_s(target.host, self._node.host), self._node, self._answered, target, answer
        )

    def _answered(self, target: SimulatedNode, answer: node_pb2.Hello | None) -> None:
        if self._network.is_blocked(target.host, self._node.host):
            if self._network.world.now_s + SYN_RETRY_S < self._until_s:
                self._network.world.after(SYN_RETRY_S, self._node, self._answered, target, answer)
            return
        self._finish(answer)

    def _finish(self, answer: node_pb2.Hello | None) -> None:
        if not self._done:
            self._done = True
            self._then(answer)


class End:
    """One end of a connection: what is on its way to it, and whether the other one still answers."""

    def __init__(self, network: Network, node: SimulatedNode, remote: SimulatedNode) -> None:
        self.network = network
        self.node = node
        self.remote = remote
        self.side: Side
        self.other: End
        self.closed = False
        self.queue: deque[Any] = deque()
        self._scheduled = False
        self._free_at_s = 0.0
        self._stalled_at_s: float | None = None
        self._writer_waits = False

    # --- writing ----------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether a frame can be written now; if not, `Side.room` will be called."""
        if len(self.other.queue) < PIPE_FRAMES:
            return True
        self._writer_waits = True
        return False

    def write(self, item: Any) -> None:
        """Send something; nothing comes of it if the connection is broken."""
        if not self.closed:
            self.other._push(item)

    def close(self) -> None:
        """Close this end: the other one gets what is on its way, or not, and then the end."""
        if self.closed:
            return
        self._forget()
        if not self.other.closed:
            if self.network.world.random.random() < 0.5:
                self.other.queue.clear()
            self.other._push(RESET)

    def lose(self) -> None:
        """The connection is broken from outside."""
        if not self.closed:
            self.queue.clear()
            self._push(RESET)

    def _forget(self) -> None:
        self.closed = True
        self.queue.clear()
        self.network.ends.pop(self, None)

    # --- arriving ---------------------------------------------------------------------------

    def _push(self, item: Any) -> None:
        if self.closed:
            return
        self.queue.append(item)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        network = self.network
        self._scheduled = True
        at_s = network.world.now_s + network.latency_s(self.remote.host, self.node.host)
        if at_s < self._free_at_s:
            at_s = self._free_at_s
        self._free_at_s = at_s + network.slow_hosts.get(self.node.host, 0.0)
        network.world.at(at_s, self.node, self._arrive)

    def _arrive(self) -> None:
        self._scheduled = False
        if self.closed or not self.queue or self.network.is_blocked(self.remote.host, self.node.host):
            return
        item = self.queue.popleft()
        if item is RESET:
            self._forget()
            self.side.broken("the other side closed it")
            return
        if self.queue:
            self._schedule()
        self.side.received(item)
        other = self.other
        if other._writer_waits and not other.closed and len(self.queue) < PIPE_FRAMES:
            other._writer_waits = False
            other.side.room()

    # --- pings ------------------------------------------------------------------------------

    def look(self) -> None:
        """Whether the other end answers pings has perhaps changed."""
        if self.closed:
            return
        network = self.network
        if network.is_cut(self.node.host, self.remote.host) or self.remote.frozen:
            if self._stalled_at_s is None:
                world = network.world
                self._stalled_at_s = world.now_s
                timings = world.timings
                delay_s = timings.keepalive_timeout_s + world.random.random() * timings.keepalive_interval_s
                world.after(delay_s, self.node, self._give_up, world.now_s)
        else:
            self._stalled_at_s = None
        if self.queue and not self._scheduled:
            self._schedule()

    def _give_up(self, stalled_at_s: float) -> None:
        if not self.closed and self._stalled_at_s == stalled_at_s:
            self.close()
            self.side.broken("no answer to pings")


def address_of(host: int, moves: int = 0) -> str:
    """Where the node of a host listens, after so many moves."""
    return f"host{host}:{4710 + moves}"


def host_of(address: str) -> int:
    """The host of an address."""
    return int(address[4 : address.index(":")])
