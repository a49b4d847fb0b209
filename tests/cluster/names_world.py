"""Nodes with names over sessions in memory, driven by a seed: what happens next is drawn, never timed.

Sessions keep messages in order; each side notices their begin and end on its own, and what is under way is
lost with them. `World` checks what must hold at every moment, `settle` what must hold in the end.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field
from random import Random

from luna.cluster.name_messages import (
    Answered,
    Changed,
    Effect,
    Entry,
    Kill,
    Name,
    NameMessage,
    Reserved,
    Send,
)
from luna.cluster.names import Names
from luna.proto.errors import WouldBlockError
from luna.proto.ids import make_pid, node_of

NAMES = [Name(1, "a"), Name(1, "b"), Name(2, "a")]


@dataclass(eq=False)
class Session:
    """One session of two nodes; `seen` by those that know it, `lost` by those that know its end."""

    ends: tuple[int, int]
    queues: dict[int, deque[NameMessage]]  # by receiver
    seen: set[int] = field(default_factory=set)
    broken: bool = False

    def other(self, node: int) -> int:
        return self.ends[0] if self.ends[1] == node else self.ends[1]


@dataclass(eq=False)
class Node:
    id: int
    names: Names
    sessions: dict[int, Session] = field(default_factory=dict)
    reserved: set[int] = field(default_factory=set)
    operations: dict[int, tuple[str, Name, int]] = field(default_factory=dict)
    answers: dict[int, Entry | None] = field(default_factory=dict)
    joined: bool = False  # it has met all others: until then it is a cluster of its own


class World:
    def __init__(self, seed: int, *, calm: bool) -> None:
        """`calm`: sessions end only with a node, so nobody may be killed and nothing be granted twice."""
        self.random = Random(seed)
        self.calm = calm
        self.nodes: dict[int, Node] = {}
        self.alive: set[int] = set()
        self.killed: list[int] = []
        self.pairs: dict[tuple[int, int], Session] = {}
        self.severed: set[tuple[int, int]] = set()
        self.last_node = 0
        self.serial = 0
        self.operation = 0
        self.clock = 0
        self.epochs: dict[Name, int] = dict.fromkeys(NAMES, 0)  # raised when any entry of that name changes
        self.displacing: dict[Name, int] = dict.fromkeys(NAMES, 0)  # puts and removals ever begun
        self.held: dict[Name, dict[int, Entry]] = {name: {} for name in NAMES}  # by owner

    # --- what can happen ------------------------------------------------------------------------

    def join(self) -> None:
        self.last_node += 1
        node_id = self.last_node
        self.nodes[node_id] = Node(node_id, Names(node_id, self.alive.__contains__))

    def crash(self, node: Node) -> None:
        del self.nodes[node.id]
        self.alive -= {pid for pid in self.alive if node_of(pid) == node.id}
        for name in NAMES:
            if self.held[name].pop(node.id, None):
                self.epochs[name] += 1
        for session in list(self.pairs.values()):
            if node.id in session.ends:
                session.broken = True
                session.seen.discard(node.id)

    def spawn(self, node: Node) -> int:
        self.serial += 1
        pid = make_pid(node.id, self.serial)
        self.alive.add(pid)
        return pid

    def die(self, pid: int) -> None:
        self.alive.discard(pid)
        node = self.nodes[node_of(pid)]
        self.apply(node, node.names.process_died(pid))

    def now(self) -> int:
        self.clock += self.random.randint(0, 1)
        return self.clock

    def begin(self, node: Node, kind: str, name: Name, pid: int | None = None) -> int:
        self.operation += 1
        number = self.operation
        node.operations[number] = (kind, name, self.epochs[name])
        match kind:
            case "get":
                with contextlib.suppress(WouldBlockError):
                    known = node.names.look(name)
                    assert not self.calm or known is not None or not self.held[name], f"{name} is not free"
                effects = node.names.get(number, name)
            case "put":
                self.displacing[name] += 1
                if pid is None:
                    pid = self.some_pid(node)
                effects = node.names.put(number, Entry(name, node_of(pid), pid, self.now()))
            case "remove":
                self.displacing[name] += 1
                effects = node.names.remove(number, name)
            case _:
                effects = node.names.reserve(number, name)
        self.apply(node, effects)
        return number

    def some_pid(self, node: Node) -> int:
        drawn = self.random.random()
        if drawn < 0.6:
            return self.spawn(node)
        if drawn < 0.8:
            return self.spawn(self.random.choice(list(self.nodes.values())))
        return make_pid(self.random.randint(1, self.last_node), 999_999)  # nobody

    def commit(self, node: Node, number: int) -> None:
        node.reserved.discard(number)
        node.operations.pop(number)
        if self.random.random() < 0.2:
            self.apply(node, node.names.cancel(number))
        else:
            pid = self.spawn(node)
            if self.random.random() < 0.1:
                self.alive.discard(pid)
            self.apply(node, node.names.commit(number, node.id, pid, self.now()))

    def cancel(self, node: Node, number: int) -> None:
        node.operations.pop(number)
        node.reserved.discard(number)
        self.apply(node, node.names.cancel(number))

    def open_session(self, pair: tuple[int, int]) -> None:
        self.pairs[pair] = Session(pair, {pair[0]: deque(), pair[1]: deque()})

    def notice_open(self, session: Session, node: Node) -> None:
        session.seen.add(node.id)
        node.sessions[session.other(node.id)] = session
        self.apply(node, node.names.members_changed(node.sessions))

    def notice_end(self, session: Session, node: Node) -> None:
        session.seen.discard(node.id)
        if node.sessions.get(session.other(node.id)) is session:
            del node.sessions[session.other(node.id)]
            self.apply(node, node.names.peer_lost(session.other(node.id)))
            if self.random.random() < 0.5:
                self.apply(node, node.names.members_changed(node.sessions))

    def deliver(self, session: Session, receiver: Node) -> None:
        if receiver.id not in session.seen:
            # A message may be there before the notice of its session.
            session.seen.add(receiver.id)
            receiver.sessions[session.other(receiver.id)] = session
        message = session.queues[receiver.id].popleft()
        self.apply(receiver, receiver.names.received(session.other(receiver.id), message))

    # --- the schedule ---------------------------------------------------------------------------

    def possible(self) -> list[tuple[object, ...]]:
        """What sessions and messages can do next."""
        steps: list[tuple[object, ...]] = []
        for pair, session in list(self.pairs.items()):
            if session.broken:
                seen = [node for node in session.seen if node in self.nodes]
                if not seen:
                    del self.pairs[pair]
                steps += [(self.notice_end, session, self.nodes[node]) for node in seen]
                continue
            for end in session.ends:
                if end not in session.seen:
                    steps.append((self.notice_open, session, self.nodes[end]))
                if session.queues[end]:
                    steps.append((self.deliver, session, self.nodes[end]))
        ids = sorted(self.nodes)
        for one in ids:
            for other in ids:
                if one < other and (one, other) not in self.pairs and (one, other) not in self.severed:
                    steps.append((self.open_session, (one, other)))
        return steps

    def step(self) -> None:
        """One thing happens."""
        random = self.random
        drawn = random.random()
        nodes = list(self.nodes.values())
        if drawn < 0.6 or not nodes:
            self.deliver_any()
            return
        node = random.choice(nodes)
        if drawn < 0.8:
            node.joined = node.joined or node.sessions.keys() | {node.id} == self.nodes.keys()
            if self.calm and not node.joined:
                return
            self.begin(
                node, random.choice(["get", "reserve", "reserve", "put", "remove"]), random.choice(NAMES)
            )
        elif drawn < 0.87:
            if node.reserved:
                self.commit(node, random.choice(sorted(node.reserved)))
        elif drawn < 0.89:
            if node.operations:
                self.cancel(node, random.choice(sorted(node.operations)))
        elif drawn < 0.93:
            mine = sorted(pid for pid in self.alive if node_of(pid) == node.id)
            if mine:
                self.die(random.choice(mine))
        elif drawn < 0.94:
            if len(nodes) > 1:
                self.crash(node)
        elif drawn < 0.96:
            if len(nodes) < 5:
                self.join()
        elif not self.calm:
            self.disturb()

    def disturb(self) -> None:
        random = self.random
        drawn = random.random()
        if drawn < 0.4:
            sessions = [session for session in self.pairs.values() if not session.broken]
            if sessions:
                self.break_session(random.choice(sessions))
        elif drawn < 0.7:
            half = {node for node in self.nodes if random.random() < 0.5}
            self.severed = {
                (one, other)
                for one in self.nodes
                for other in self.nodes
                if one < other and (one in half) != (other in half)
            }
            for pair in self.severed & set(self.pairs):
                self.break_session(self.pairs[pair])
        elif drawn < 0.9:
            self.severed = set()
        else:
            node = random.choice(list(self.nodes.values()))
            self.apply(node, node.names.assume_settled())

    def break_session(self, session: Session) -> None:
        session.broken = True
        for queue in session.queues.values():
            queue.clear()

    def deliver_any(self) -> bool:
        """One step of sessions and messages; False if there is none."""
        steps = self.possible()
        if steps:
            action, *arguments = self.random.choice(steps)
            action(*arguments)  # type: ignore[operator]
        return bool(steps)

    def deliver_all(self) -> None:
        """Let sessions open and end and messages arrive, until nothing is under way."""
        while self.deliver_any():
            pass

    # --- what nodes do --------------------------------------------------------------------------

    def apply(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(peer, message):
                    session = node.sessions[peer]
                    if not session.broken:
                        session.queues[peer].append(message)
                case Answered(number, entry, refused):
                    assert not refused
                    kind, name, epoch = node.operations.pop(number)
                    node.answers[number] = entry
                    if self.calm and kind == "get" and entry is None and epoch == self.epochs[name]:
                        assert not self.held[name], f"{name} was reported free, and {self.held[name]} have it"
                case Reserved(number):
                    node.reserved.add(number)
                    if self.calm:
                        self.check_reserved(node, node.operations[number][1])
                case Changed(name, entry):
                    self.epochs[name] += 1
                    before = self.held[name].pop(node.id, None)
                    if entry is not None:
                        self.held[name][node.id] = entry
                    elif before is not None:
                        assert before.pid not in self.alive or self.displacing[name] or not self.calm, (
                            "a name got lost"
                        )
                case Kill(entry, winner):
                    assert not self.calm, f"{entry} was killed for {winner} though nobody was cut off"
                    assert entry.pid in self.alive
                    assert entry.owner == node.id
                    self.killed.append(entry.pid)
                    assert len(self.killed) == len(set(self.killed))
                    self.die(entry.pid)

    def check_reserved(self, node: Node, name: Name) -> None:
        for owner, entry in self.held[name].items():
            assert entry.pid not in self.alive, f"{name} was granted to {node.id}, and {owner} has it"
        for other in self.nodes.values():
            for number in other.reserved:
                assert other is node or other.operations[number][1] != name, f"{name} was granted twice"

    # --- the end ----------------------------------------------------------------------------------

    def run_out(self) -> None:
        """Nothing new happens: sessions open, messages arrive, reservations end."""
        self.severed = set()
        while True:
            steps = self.possible()
            for node in self.nodes.values():
                steps += [(self.commit, node, number) for number in sorted(node.reserved)]
            if not steps:
                return
            action, *arguments = self.random.choice(steps)
            action(*arguments)  # type: ignore[operator]

    def settle(self) -> None:
        """Run out, and check that every request was answered and each name has one holder for all."""
        self.run_out()
        for node in self.nodes.values():
            assert node.names.settled
            assert node.operations == {}, f"never answered: {node.operations}"
            assert node.names.under_way == 0
        before = len(self.killed)
        for name in NAMES:
            holders = [entry for entry in self.held[name].values() if entry.pid in self.alive]
            assert len(holders) == len(self.held[name]) <= 1, f"{name} is held by {self.held[name]}"
            for node in self.nodes.values():
                number = self.begin(node, "get", name)
                self.run_out()
                assert node.answers[number] == (holders[0] if holders else None)
        assert len(self.killed) == before
