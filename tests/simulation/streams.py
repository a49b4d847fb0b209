"""Streams of a simulated node: opening one, accepting one, and pumping frames between a `Link` and the core.

Stands for `node/session.py` and the stream part of `node/transport.py`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from luna.cluster.link_layer import Link
from luna.cluster.peer import Opened, Peer
from luna.proto import node_pb2
from luna.proto.errors import InvalidError

from .network import End
from .processes import Frame

if TYPE_CHECKING:
    from .node import SimulatedNode

ACK_FRAMES = 6
"""frames taken in after which they are acknowledged; fewer than real streams have, for smaller windows."""

ACK_DELAY_S = 0.05
"""seconds after which the last frames of a burst are acknowledged."""

LEFT, BROKEN, INVALID, CLOSED = "left", "broken", "invalid", "closed"
"""how a stream ended"""

GOODBYE = object()
"""the last frame of a node that leaves"""


class Dial:
    """One attempt to open a stream."""

    def __init__(self, node: SimulatedNode, peer: Peer, timeout_s: float) -> None:
        self._node = node
        self._peer = peer
        self._hello = node.peering.offer(peer)
        self._done = False
        self._end: End | None = None
        until_s = node.world.now_s + timeout_s
        node.world.at(until_s, node, self._fail)
        node.world.network.connect(node, peer.info.address, until_s, self._connected)

    def _connected(self, target: SimulatedNode | None) -> None:
        if self._done:
            return
        if target is None:
            self._fail()
            return
        self._end, far = self._node.world.network.open(self._node, target)
        self._end.side = self
        far.side = Arrival(target, far)
        self._end.write(self._hello)

    def received(self, answer: node_pb2.Hello) -> None:
        """The answer."""
        assert self._end is not None
        self._done = True
        stream = self._end.side = SimulatedStream(self._node, self._end, self._peer.id)
        self._node.world.hop(self._node, self._answered, stream, answer)

    def _answered(self, stream: SimulatedStream, answer: node_pb2.Hello) -> None:
        node, peer = self._node, self._peer
        try:
            opened = node.peering.answered(node.world.now_s, peer, answer, stream)
        except InvalidError as error:
            node.world.promises.broken(f"{node} finds the answer of {peer.id} invalid: {error}")
            return
        if opened is None:
            stream.close("turned away")
            node.peering.attempt_failed(node.world.now_s, peer, gone=False)
        else:
            stream.carry(opened)
            node.world.hop(node, stream.run)
        node.changed()

    def broken(self, reason: str) -> None:
        """No answer will come."""
        self._fail()

    def room(self) -> None:
        """Nothing is written but the Hello."""

    def _fail(self) -> None:
        if not self._done:
            self._done = True
            if self._end is not None:
                self._end.close()
            self._node.attempt_failed(self._peer)


class Arrival:
    """A connection on which the first Hello is awaited."""

    def __init__(self, node: SimulatedNode, end: End) -> None:
        self._node = node
        self._end = end

    def received(self, hello: node_pb2.Hello) -> None:
        """The Hello."""
        stream = self._end.side = SimulatedStream(self._node, self._end, hello.node.id)
        self._node.world.hop(self._node, self._node.accept, stream, hello)

    def broken(self, reason: str) -> None:
        """It was given up; nobody has heard of it yet."""

    def room(self) -> None:
        """Nothing is written."""


class SimulatedStream:
    """The pumps of one stream."""

    def __init__(self, node: SimulatedNode, end: End, peer_id: int) -> None:
        self.node = node
        self.world = node.world
        self.end = end
        self.peer_id = peer_id
        self.why = ""
        self._link: Link | None = None
        self._resend: deque[bytes] = deque()
        self._unread: deque[Any] = deque()
        self._runs = False
        self._over: str | None = None
        self._reported = False
        self._pump_planned = False
        self._acknowledge = False
        self._acknowledge_later = False
        self._goodbye = False

    def carry(self, opened: Opened) -> None:
        """What it carries from now on."""
        self._link, self._resend = opened.link, deque(opened.resend)

    def answer_and_run(self, answer: node_pb2.Hello) -> None:
        """Say that the stream is accepted, and pump it."""
        self.end.write(answer)
        self.run()

    def run(self) -> None:
        """Pump until it ends."""
        if self._over is not None:
            self._report()
            return
        self._runs = True
        self.node.running(self)
        self.room()
        while self._unread and self._over is None:
            self._take(self._unread.popleft())

    def close(self, reason: str) -> None:
        """End it from this side."""
        self._finish(CLOSED, reason)

    def say_goodbye(self) -> None:
        """Write what is queued and a Goodbye."""
        self._goodbye = True
        self.room()

    def _finish(self, how: str, why: str) -> None:
        if self._over is None:
            self._over, self.why = how, why
            self.end.close()
            self._unread.clear()
            if self._runs:
                self._report()

    def _report(self) -> None:
        if not self._reported:
            self._reported = True
            self.node.not_running(self)
            assert self._over is not None
            self.world.hop(self.node, self.node.stream_ended, self, self._over)

    # --- reading ----------------------------------------------------------------------------

    def received(self, item: Any) -> None:
        """A frame."""
        if self._over is not None:
            return
        if self._runs:
            self._take(item)
        else:
            self._unread.append(item)

    def broken(self, reason: str) -> None:
        """The connection is no more."""
        if self._unread:  # what has arrived is read first
            self._unread.append(RuntimeError(reason))
        else:
            self._finish(BROKEN, reason)

    def _take(self, frame: Any) -> None:
        if frame is GOODBYE:
            self._finish(LEFT, "goodbye")
            return
        if isinstance(frame, RuntimeError):
            self._finish(BROKEN, str(frame))
            return
        link = self._link
        assert link is not None
        had_room = link.has_room
        try:
            if link.receive(frame):
                envelopes = self.node.core.deliver(self.peer_id, link.session, frame)
                if envelopes:
                    self.node.hand_over(self.peer_id, link.session, envelopes)
        except InvalidError as error:
            self._finish(INVALID, error.message)
            return
        if link.unacknowledged_frames >= ACK_FRAMES:
            self._acknowledge_now()
        elif link.unacknowledged_frames and not self._acknowledge_later:
            self._acknowledge_later = True
            self.world.after(ACK_DELAY_S, self.node, self._acknowledge_now)
        if not had_room and link.has_room:
            self.room()

    def _acknowledge_now(self) -> None:
        self._acknowledge_later = False
        if self._over is None:
            self._acknowledge = True
            self.room()

    # --- writing ----------------------------------------------------------------------------

    def room(self) -> None:
        """There may be something to write, or room for it."""
        if not self._pump_planned and self._runs and self._over is None:
            self._pump_planned = True
            self.world.hop(self.node, self._pump)

    def _pump(self) -> None:
        self._pump_planned = False
        link, end = self._link, self.end
        if self._over is not None or link is None:
            return
        while self._resend:
            if not end.has_room():
                return
            end.write(self._resend.popleft())
        core, promises = self.node.core, self.world.promises
        while core.is_ready(self.peer_id) and link.has_room and end.has_room():
            frame = core.take_frame(self.peer_id, link.session, link.next_head())
            if frame is None:
                break
            link.sent(frame)
            promises.keeps(self.node, link)
            end.write(frame)
        if self._acknowledge:
            self._acknowledge = False
            if link.unacknowledged_frames:
                acknowledgement = Frame(link.acknowledgement())
                acknowledgement.items = []
                end.write(acknowledgement)
        if self._goodbye and link.has_room and end.has_room():
            self._goodbye = False
            end.write(GOODBYE)
