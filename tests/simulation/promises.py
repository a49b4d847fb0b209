"""What the distribution promises, as invariants: checked while a simulation runs, and when it is at rest.

Sees everything in all nodes at once, which no node does. A broken promise is a `Violation` that says which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from luna.cluster import link_layer
from luna.cluster.link_layer import Link
from luna.cluster.members import EventKind
from luna.proto import node_pb2

if TYPE_CHECKING:
    from .node import SimulatedNode
    from .processes import Process
    from .world import World

MAX_FRAME_BYTES = 4096
"""bytes of the largest frame in a simulation: by so much the window may be exceeded."""

MAX_ATTEMPTS_PER_S = 30
"""attempts of one node at one peer in one second: the first follow each other at once, then pauses double."""

MAX_GOSSIP_PER_S = 6
"""gossip envelopes of one node to one peer in one second, for each member there is."""


class Violation(AssertionError):
    """A promise was broken."""


class _Session:
    """What is known of one session: who began and ended it, and the first message of each pair in it."""

    __slots__ = ("began", "ended", "first")

    def __init__(self) -> None:
        self.began: set[int] = set()
        self.ended: set[int] = set()
        self.first: dict[tuple[int, int], int] = {}


class Promises:
    """The ledger of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[int, _Session] = {-1: _Session()}  # -1: within one node
        self._open: dict[tuple[int, int], int] = {}  # (node, peer) -> session
        self._sent: dict[tuple[int, int], int] = {}
        self._received: dict[tuple[int, int], int] = {}
        self._dead: set[int] = set()
        self._second = 0
        self._rates: dict[tuple[str, int, int], int] = {}
        self.events: Counter[EventKind] = Counter()
        """what all nodes together were told about members"""
        self.counts: Counter[str] = Counter()
        """attempts and gossip of all nodes"""
        self.messages = 0
        self.notices = 0
        self.sessions_ended = 0
        self.may_end: Callable[[int, int], bool] = lambda host, peer_host: True
        """whether the faults are such that a session between two hosts need not survive them"""

    def broken(self, what: str) -> None:
        """Raise a Violation."""
        raise Violation(f"at {self._world.now_s:.4f} s: {what}")

    # --- messages ---------------------------------------------------------------------------

    def sent(self, sender: int, target: int, session: int) -> int:
        """The number of the next message of one process to another, in a session; 0: there is none."""
        pair = (sender, target)
        number = self._sent[pair] = self._sent.get(pair, 0) + 1
        if session:
            self._sessions[session].first.setdefault(pair, number)
        return number

    def delivered(self, sender: int, target: int, number: int, sent_in: int, session: int) -> None:
        """A message reached its target: the next one, of those sent in its session."""
        self.messages += 1
        pair = (sender, target)
        last = self._received.get(pair, 0)
        if sent_in != session:
            self.broken(
                f"message {number} of {name(sender)} was sent in session {sent_in}, came in {session}"
            )
        if number <= last:
            self.broken(f"message {number} of {name(sender)} to {name(target)} came after message {last}")
        expected = max(last + 1, self._sessions[session].first[pair])
        if number != expected:
            self.broken(
                f"messages {expected}..{number - 1} of {name(sender)} to {name(target)} were lost silently"
            )
        self._received[pair] = number

    # --- processes --------------------------------------------------------------------------

    def died(self, pid: int) -> None:
        """A process has ended."""
        self._dead.add(pid)

    def told_dead(self, pid: int, target: int, reason: object) -> None:
        """A process is told of the death of another one."""
        self.notices += 1
        if reason != "no connection" and target not in self._dead and self._world.node_of(target) is not None:
            self.broken(f"{name(pid)} was told that {name(target)} died ({reason}), and it lives")

    # --- sessions ---------------------------------------------------------------------------

    def session_began(self, node: SimulatedNode, peer_id: int, session: int) -> None:
        """A node begins a session with a peer."""
        known = self._sessions.setdefault(session, _Session())
        if (node.id, peer_id) in self._open:
            self.broken(f"{node} begins a session with {peer_id} within another one")
        if node.id in known.ended:
            if peer_id in known.began:
                self.broken(f"{node} resumes session {session} with {peer_id}, which it had ended")
            known.first.clear()  # its first life was never heard of over there
        known.began.add(node.id)
        known.ended.discard(node.id)
        self._open[node.id, peer_id] = session

    def session_ended(self, node: SimulatedNode, peer_id: int, reason: str) -> None:
        """A node ends a session with a peer."""
        session = self._open.pop((node.id, peer_id), None)
        if session is None:
            self.broken(f"{node} ends a session with {peer_id} that it does not have")
            return
        self.sessions_ended += 1
        self._sessions[session].ended.add(node.id)
        if not self.may_end(node.host, self._world.host_of_id(peer_id)):
            self.broken(f"{node} ended a session with {peer_id} without need: {reason}")

    def fatal(self, node: SimulatedNode, refusal: node_pb2.Refusal, detail: str) -> None:
        """A node has to stop: only ever because another one was started under its name."""
        if refusal != node_pb2.NAME_TAKEN or self._world.names_given[node.name] < 2:
            self.broken(f"{node} has to stop: {detail}")

    def keeps(self, node: SimulatedNode, link: Link) -> None:
        """A node has sent a frame."""
        kept_bytes, kept_frames = link._kept_bytes, len(link._kept)  # statistics would cost too much here
        if kept_bytes > link_layer.WINDOW_BYTES + MAX_FRAME_BYTES or kept_frames > link_layer.WINDOW_FRAMES:
            self.broken(f"{node} keeps {kept_bytes} bytes in {kept_frames} frames of a session")

    # --- rates ------------------------------------------------------------------------------

    def count(self, what: str, node: SimulatedNode, peer_id: int) -> None:
        """A node attempts to reach a peer, or gossips with it."""
        self.counts[what] += 1
        second = int(self._world.now_s)
        if second != self._second:
            self._second = second
            self._rates.clear()
        key = (what, node.id, peer_id)
        count = self._rates[key] = self._rates.get(key, 0) + 1
        most = MAX_ATTEMPTS_PER_S if what == "attempt" else MAX_GOSSIP_PER_S * max(2, self._world.started)
        if count > most:
            self.broken(f"livelock: {count} times {what} of {node} with {peer_id} in one second")

    # --- at rest ----------------------------------------------------------------------------

    def is_converged(self) -> bool:
        """Whether all running nodes are members for each other, with one session for each pair."""
        return self.difference() is None

    def difference(self) -> str | None:
        """What is missing to that; None if nothing is."""
        nodes = {node.id: node for node in self._world.nodes()}
        for node in nodes.values():
            live = {member.node.id for member in node.membership.live()}
            if live != nodes.keys():
                missing = [str(nodes[node_id]) for node_id in nodes.keys() - live]
                return f"{node} misses {missing}, and has {list(live - nodes.keys())}"
            for other in nodes.values():
                if other is node:
                    continue
                peer, back = node.peering.peer(other.id), other.peering.peer(node.id)
                if peer is None or back is None or peer.link is None or back.link is None:
                    return f"{node} has no session with {other}"
                if peer.link.session != back.link.session:
                    return f"{node} is in session {peer.link.session} with {other}, it in {back.link.session}"
                if peer.stream is None:
                    return f"{node} has no stream to {other}"
        return None

    def check_at_rest(self) -> None:
        """What holds when all faults are over, nothing is under way and the cluster has converged."""
        nodes = {node.id: node for node in self._world.nodes()}
        for node in nodes.values():
            for peer in node.peering.peers():
                if peer.link is None or not peer.link.is_settled:
                    self.broken(f"{node} still waits for acknowledgements of {peer.id}")
            for queue in node.core.peers.values():
                if queue.signals or queue.control:
                    self.broken(f"{node} still has something queued")
            for process in node.core.processes.values():
                if process.waits_for is not None:
                    self.broken(f"{name(process.pid)} waits for {process.waits_for} for ever")
                for peer_pid in process.links:
                    other = process_of(nodes, peer_pid)
                    if other is None or process.pid not in other.links:
                        self.broken(
                            f"{name(process.pid)} is linked to {name(peer_pid)}, and would not hear it die"
                        )
                for peer_pid in process.watching:
                    other = process_of(nodes, peer_pid)
                    if other is None or process.pid not in other.watchers:
                        self.broken(
                            f"{name(process.pid)} monitors {name(peer_pid)}, and would not hear it die"
                        )
        self._check_messages(nodes)
        for (node_id, peer_id), session in self._open.items():
            if node_id in nodes and (peer_id not in nodes or peer_id in self._sessions[session].ended):
                self.broken(f"node {node_id} holds a session that {peer_id} has ended")

    def _check_messages(self, nodes: dict[int, SimulatedNode]) -> None:
        for pair, number in self._sent.items():
            sender, target = pair
            node = nodes.get(sender >> 40)
            if node is None or process_of(nodes, target) is None:
                continue
            first = self._sessions[node.core.session_with(target >> 40) or -1].first.get(pair)
            if first is not None and self._received.get(pair) != number:
                got = self._received.get(pair)
                self.broken(f"{name(sender)} sent message {number} to {name(target)}, which has {got}")


def process_of(nodes: dict[int, SimulatedNode], pid: int) -> Process | None:
    """The live process of that id."""
    node = nodes.get(pid >> 40)
    return None if node is None else node.core.processes.get(pid)


def name(pid: int) -> str:
    """A process id as people write it."""
    return f"{pid & (1 << 40) - 1}@{pid >> 40}"
