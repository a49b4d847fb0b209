"""A model of the native core: processes with links and monitors, and one queue for each session with a peer.

It does what `scheduler/_process.pyx`, `_delivery.pyx` and `_peers.pyx` do with signals, and no more: the
rules for links, monitors and dead targets, in the smallest form. Its gateway has the methods that streams use
of `luna.scheduler.peers.PeerGateway`. Every signal from another node carries the session it came in, and a
link or monitor belongs to one session.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from luna.proto import node_pb2

from .services import Parcel
from .world import TURN_S

if TYPE_CHECKING:
    from .node import SimulatedNode

MESSAGE, LINK, UNLINK, LINK_DEATH, MONITOR, STOP_MONITORING, DEATH, KILL, EXISTS, EXISTS_REPLY = range(1, 11)
NODE_DOWN, ROOM = 20, 21

NO_CONNECTION = "no connection"
NO_PROCESS = "no process"

Signal = tuple[int, int, int, Any, int]
"""kind, sender, target, value, and the session it came in (0: from this node)."""

OwnEnvelope = node_pb2.Envelope | Parcel
"""what a node itself sends, and not one of its processes"""

HIGH_WATER = 40
"""signals queued for a peer, above which whoever sends messages is suspended."""

LOW_WATER = 10
"""signals queued, below which the suspended go on."""

FRAME_SIGNALS = 12
"""signals in one frame."""

SIGNAL_BYTES = 40


class Frame(bytes):
    """A frame whose body stands for signals and envelopes."""

    items: list[Signal | OwnEnvelope]


class PeerQueue:
    """What is queued in one session with one peer, and whom its end concerns."""

    __slots__ = ("blocked", "bound", "control", "session", "signals")

    def __init__(self, session: int) -> None:
        self.session = session
        self.control: deque[OwnEnvelope] = deque()
        self.signals: deque[Signal] = deque()
        self.bound: dict[int, None] = {}
        self.blocked: list[int] = []


class Core:
    """The processes of one node, and its gateway to others."""

    def __init__(self, node: SimulatedNode) -> None:
        self.node = node
        self.node_id = node.id
        self.world = node.world
        self.promises = node.world.promises
        self.processes: dict[int, Process] = {}
        self.peers: dict[int, PeerQueue] = {}
        self._serial = 0

    def spawn(self, *, survives: bool) -> Process:
        """A new process; `survives`: the death of a linked one is a message to it."""
        self._serial += 1
        process = Process(self, self.node_id << 40 | self._serial, survives)
        self.processes[process.pid] = process
        return process

    def session_with(self, node_id: int) -> int:
        """The current session with a node; 0: none."""
        queue = self.peers.get(node_id)
        return 0 if queue is None else queue.session

    # --- delivery ---------------------------------------------------------------------------

    def send(self, signal: Signal, session: int = 0) -> int:
        """0: the target is dead; 1: on its way; 2: and the way is crowded. Only in `session`, if given."""
        kind, sender, target, value, _ = signal
        node_id = target >> 40
        if node_id == self.node_id:
            if kind == EXISTS:
                alive = target in self.processes
                self.send((EXISTS_REPLY, target, sender, (value, alive), 0), signal[4])
                return 1
            process = self.processes.get(target)
            if process is None:
                self.answer_for_dead(signal, NO_PROCESS)
                return 0
            process.post(signal)
            return 1
        queue = self.peers.get(node_id)
        if queue is None or (session and queue.session != session):
            self.answer_for_dead(signal, NO_CONNECTION)
            return 0
        was_empty = not queue.signals and not queue.control
        queue.signals.append(signal)
        if was_empty:
            self.node.frames_ready(node_id)
        return 2 if len(queue.signals) > HIGH_WATER else 1

    def answer_for_dead(self, signal: Signal, reason: str) -> None:
        """Tell the sender of a signal that came too late."""
        kind, sender, target, value, session = signal
        if kind == LINK:
            self.send((LINK_DEATH, target, sender, reason, 0), session)
        elif kind == MONITOR:
            self.send((DEATH, target, sender, reason, 0), session)
        elif kind == EXISTS:
            self.send((EXISTS_REPLY, target, sender, (value, False), 0), session)

    # --- the gateway ------------------------------------------------------------------------

    def add_peer(self, node_id: int, session: int) -> None:
        """Signals are taken from now on, for this session."""
        self.remove_peer(node_id)
        self.peers[node_id] = PeerQueue(session)

    def remove_peer(self, node_id: int) -> None:
        """The session is over: whoever has links and monitors across is told."""
        queue = self.peers.pop(node_id, None)
        if queue is None:
            return
        for pid in {**queue.bound, **dict.fromkeys(queue.blocked)}:
            process = self.processes.get(pid)
            if process is not None:
                process.post((NODE_DOWN, 0, pid, node_id, queue.session))

    def send_envelope(self, node_id: int, envelope: OwnEnvelope) -> bool:
        """Queue an envelope of the node itself."""
        queue = self.peers.get(node_id)
        if queue is None:
            return False
        queue.control.append(envelope)
        self.node.frames_ready(node_id)
        return True

    def is_ready(self, node_id: int) -> bool:
        """Whether something is queued for a peer."""
        queue = self.peers.get(node_id)
        return queue is not None and bool(queue.signals or queue.control)

    def take_frame(self, node_id: int, session: int, head: bytes) -> Frame | None:
        """The next frame of a session."""
        queue = self.peers.get(node_id)
        if queue is None or queue.session != session:
            return None
        items: list[Signal | OwnEnvelope] = list(queue.control)
        queue.control.clear()
        signals = queue.signals
        items += [signals.popleft() for _ in range(min(FRAME_SIGNALS, len(signals)))]
        if not items:
            return None
        frame = Frame(head + bytes(SIGNAL_BYTES * len(items)))
        frame.items = items
        if queue.blocked and len(signals) < LOW_WATER:
            for pid in queue.blocked:
                process = self.processes.get(pid)
                if process is not None:
                    process.post((ROOM, 0, pid, node_id, session))
            queue.blocked = []
        return frame

    def deliver(self, node_id: int, session: int, frame: Frame) -> list[OwnEnvelope]:
        """Deliver a frame; returns the envelopes for the node itself."""
        queue = self.peers.get(node_id)
        if queue is None or queue.session != session:
            return []
        envelopes: list[OwnEnvelope] = []
        for item in frame.items:
            if isinstance(item, tuple):
                self.send((*item[:4], session))
            else:
                envelopes.append(item)
        return envelopes


class Process:
    """One process: it runs some time after something arrived for it."""

    __slots__ = (
        "_core", "_inbox", "_over", "_scheduled", "alive", "bound", "exit", "links", "pid", "survives",
        "waits_for", "watchers", "watching",
    )  # fmt: skip

    def __init__(self, core: Core, pid: int, survives: bool) -> None:
        self.pid = pid
        self.survives = survives
        self.alive = True
        self.exit: str | None = None
        self.links: dict[int, None] = {}
        self.watching: dict[int, None] = {}
        self.watchers: dict[int, None] = {}
        self.bound: dict[int, int] = {}
        self.waits_for: tuple[str, int, int] | None = None
        """what it is suspended for: "room" or "exists", of which node, in which session"""
        self._core = core
        self._inbox: deque[Signal] = deque()
        self._scheduled = False
        self._over: set[int] = set()  # sessions whose end it was told

    # --- what a guest does ------------------------------------------------------------------

    def send_message(self, target: int) -> None:
        """Send the next numbered message."""
        core = self._core
        node_id = target >> 40
        session = -1 if node_id == core.node_id else core.session_with(node_id)
        number = core.promises.sent(self.pid, target, session)
        if core.send((MESSAGE, self.pid, target, (number, session), 0)) == 2:
            self.waits_for = ("room", node_id, session)
            core.peers[node_id].blocked.append(self.pid)

    def link(self, target: int) -> None:
        """Die with another process, or learn of its death."""
        session = self._bind(target, 0)
        self.links[target] = None
        if session is None:
            self.post((LINK_DEATH, target, self.pid, NO_CONNECTION, 0))
        elif self.exit is None:
            self._core.send((LINK, self.pid, target, None, 0), session)
        self._settle()

    def unlink(self, target: int) -> None:
        """Undo a link."""
        if self.links.pop(target, self) is not self:
            self._core.send((UNLINK, self.pid, target, None, 0))

    def monitor(self, target: int) -> None:
        """Learn of another process's death."""
        session = self._bind(target, 0)
        self.watching[target] = None
        if session is None:
            self._watched_died(target, NO_CONNECTION)
        else:
            self._core.send((MONITOR, self.pid, target, None, 0), session)
        self._settle()

    def stop_monitoring(self, target: int) -> None:
        """Undo a monitor."""
        if self.watching.pop(target, self) is not self:
            self._core.send((STOP_MONITORING, self.pid, target, None, 0))

    def ask_exists(self, target: int) -> None:
        """Wait for the answer whether a process lives."""
        session = self._bind(target, 0)
        if session is not None:
            self.waits_for = ("exists", target >> 40, session)
            self._core.send((EXISTS, self.pid, target, None, 0), session)
        self._settle()

    def kill(self, target: int) -> None:
        """Have another process end."""
        self._core.send((KILL, self.pid, target, None, 0))

    def die(self, reason: str) -> None:
        """End."""
        if self.alive:
            self.exit = self.exit or reason
            self._bury()

    # --- signals ----------------------------------------------------------------------------

    def post(self, signal: Signal) -> None:
        """Something for this process; it acts on it when it runs next."""
        self._inbox.append(signal)
        if not self._scheduled:
            self._scheduled = True
            world = self._core.world
            world.after(world.random.random() * TURN_S, self._core.node, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self.alive:
            self._drain()
            self._settle()

    def _settle(self) -> None:
        if self.exit is not None and self.alive:
            self._bury()

    def _drain(self) -> None:
        while self._inbox and self.exit is None:
            self._handle(self._inbox.popleft())

    def _handle(self, signal: Signal) -> None:
        kind, sender, _, value, session = signal
        if session in self._over and kind != NODE_DOWN:
            self._core.promises.broken(f"{self.pid} got a signal of session {session} after its end")
        if kind == MESSAGE:
            number, sent_in = value
            self._core.promises.delivered(sender, self.pid, number, sent_in, session or -1)
        elif kind == LINK:
            self.links[sender] = None
            if self._bind(sender, session) is None:
                self.post((LINK_DEATH, sender, self.pid, NO_CONNECTION, 0))
        elif kind == UNLINK:
            self.links.pop(sender, None)
        elif kind == LINK_DEATH:
            self._link_died(sender, value)
        elif kind == MONITOR:
            if self._bind(sender, session) is not None:
                self.watchers[sender] = None
        elif kind == STOP_MONITORING:
            self.watchers.pop(sender, None)
        elif kind == DEATH:
            self._watched_died(sender, value)
        elif kind == KILL:
            self.exit = "killed"
        elif kind == EXISTS_REPLY:
            if self.waits_for == ("exists", sender >> 40, session or -1):
                self.waits_for = None
                if not value[1]:
                    self._core.promises.told_dead(self.pid, sender, NO_PROCESS)
        elif kind == NODE_DOWN:
            self._node_down(value, session)
        elif kind == ROOM and self.waits_for == ("room", value, session):
            self.waits_for = None

    def _bind(self, peer: int, session: int) -> int | None:
        """Be told when a session with a remote process's node ends; which one, None if it has ended.

        `session`: the one that the other process spoke in, 0 for the current one.
        """
        core = self._core
        node_id = peer >> 40
        if node_id == core.node_id:
            return -1
        current = core.session_with(node_id)
        if session == 0:
            if current and self.bound.get(node_id) not in (None, current):
                self._drain()  # the end of the earlier session is among it
            session = current
        if session == 0 or session != current:
            return None
        if self.bound.get(node_id) not in (None, session):
            self._core.promises.broken(f"process {self.pid} enters a session before the end of the last")
        self.bound[node_id] = session
        core.peers[node_id].bound[self.pid] = None
        return session

    def _link_died(self, peer: int, reason: object) -> None:
        if self.links.pop(peer, self) is self:
            return
        self._core.promises.told_dead(self.pid, peer, reason)
        if reason != "normal" and not self.survives:
            self.exit = "a linked process died"

    def _watched_died(self, target: int, reason: object) -> None:
        if self.watching.pop(target, self) is not self:
            self._core.promises.told_dead(self.pid, target, reason)

    def _node_down(self, node_id: int, session: int) -> None:
        if self.waits_for is not None and self.waits_for[1:] == (node_id, session):
            self.waits_for = None
        if self.bound.get(node_id) != session:
            return
        del self.bound[node_id]
        self._over.add(session)
        for peer in [peer for peer in self.links if peer >> 40 == node_id]:
            self._link_died(peer, NO_CONNECTION)
        for peer in [peer for peer in self.watching if peer >> 40 == node_id]:
            self._watched_died(peer, NO_CONNECTION)
        for peer in [peer for peer in self.watchers if peer >> 40 == node_id]:
            del self.watchers[peer]

    def _bury(self) -> None:
        core = self._core
        self.alive = False
        del core.processes[self.pid]
        core.promises.died(self.pid)
        if core.node.services:
            core.world.hop(core.node, core.node.process_died, self.pid)
        for signal in self._inbox:
            core.answer_for_dead(signal, NO_PROCESS)
        self._inbox.clear()
        for kind, concerned in ((LINK_DEATH, self.links), (DEATH, self.watchers)):
            for peer in concerned:
                node_id = peer >> 40
                session = 0 if node_id == core.node_id else self.bound.get(node_id)
                if session is not None:
                    core.send((kind, self.pid, peer, self.exit, 0), session)
        for node_id, session in self.bound.items():
            queue = core.peers.get(node_id)
            if queue is not None and queue.session == session:
                queue.bound.pop(self.pid, None)
