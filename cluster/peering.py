"""One node among its peers: whom it takes as a member, which sessions stand, and how they end. Pure.

Owns the membership table, and for each live peer a `Keeper` and at most one session (`Link`). It is told what
happens, with the time in seconds of any one clock, decides, and has the decisions carried out by `Actions`,
whose methods return at once. `luna.node.peers` does that over gRPC; the simulations in tests/ do it in
memory, on a clock of their own.

How two nodes agree. A stream carries one session, and its first frames say which: the side that dials names
the session it has, or proposes an id for a new one, the same until it is answered. If the other side has
that session, it is resumed; if it has another one or none, then a verdict has ended one there, and the new
one begins on both sides. So each of the two ends the old session exactly once, at its own verdict or when it
hears of the other's, and before the first signal of the new one.

A verdict that nobody reaches a member is told to all. Who has an open stream to it does not heed that, but
passes it on to the member, which raises its incarnation: it is a member again wherever it was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from luna.cluster.keeping import DEFAULT_TIMINGS, Keeper, Step, Timings
from luna.cluster.link_layer import Link
from luna.cluster.members import Event, EventKind, Member, MemberState, NodeInfo
from luna.cluster.membership import Membership
from luna.cluster.naming import Refused, judge_hello, must_go
from luna.cluster.peer import Actions, Opened, Peer, PeeringStatistics, Stream
from luna.cluster.reunion import Reunion
from luna.cluster.wire import gossip_to_proto, make_hello, member_to_proto, members_from_proto, sender_of
from luna.proto import node_pb2
from luna.proto.errors import InvalidError, RefusedError
from luna.proto.limits import MAX_GOSSIP_MEMBERS, MAX_MEMBERS
from luna.proto.version import PROTOCOL_MAX

FATAL_REFUSALS = frozenset({node_pb2.NAME_TAKEN, node_pb2.ID_TAKEN, node_pb2.EXPELLED})
"""refusals that are about the node that is turned away, and not about the one that does it: it stops."""

PROBERS = 3
"""members asked whether they reach a peer that this node does not, so that one bad path is not taken for a
dead node."""

GOSSIP_FANOUT = 8
"""peers that hear what this node has heard of members; all hear what it has found out, or says of itself. Who
has no stream to the one that tells all is missed by everybody with a chance of e**-8, and learns it from the
next Hello. Telling all would be the square of the members in messages for every piece of news."""

MAX_PROBING = 64
"""probes done for one peer at a time, further ones go unanswered: each is a task and a connection. A correct
peer asks about those it has just lost."""

_GONE = "nobody listens at its address any more"
_UNREACHED = "nobody reaches it any more"


class Peering:
    """The peers of one node."""

    def __init__(
        self,
        membership: Membership,
        actions: Actions,
        random: Random,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        self.membership = membership
        self._actions = actions
        self._random = random
        self._timings = timings
        self._peers: dict[int, Peer] = {}
        self._expelled: dict[int, str] = {}  # ids that sent what no correct node sends, and what it was
        self._reunion = Reunion()
        self._references = 0
        self._statistics = PeeringStatistics()
        self.leaving = False

    # --- looking ----------------------------------------------------------------------------

    @property
    def own(self) -> NodeInfo:
        """This node as the others see it."""
        return self.membership.own.node

    def peer(self, node_id: int) -> Peer | None:
        """A live peer."""
        return self._peers.get(node_id)

    def peers(self) -> list[Peer]:
        """All live peers."""
        return list(self._peers.values())

    def dials(self, peer: Peer) -> bool:
        """Whether this side dials; the other one waits. Two streams at once would be one too many."""
        return self.own.id < peer.id

    def statistics(self) -> PeeringStatistics:
        """A copy of the totals."""
        return replace(self._statistics)

    def deadline_s(self) -> float:
        """When to call `tick` next; infinite: not before something happens."""
        if self.leaving:
            return math.inf
        return min([self._reunion.deadline_s, *(peer.keeper.deadline_s for peer in self._peers.values())])

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        if self.leaving:
            return
        for peer in self.peers():
            self._do(now_s, peer, peer.keeper.tick(now_s))
        back = self._reunion.tick(now_s, self.membership, self._expelled)
        if back is not None:
            self._actions.reunite(back)

    # --- meeting ----------------------------------------------------------------------------

    def hello(self, to: int = 0) -> node_pb2.Hello:
        """What this node says first; what it holds of node `to` is said in any case."""
        members = self.membership.snapshot()
        known = self.membership.get(to)
        return make_hello(self.membership.own, members if known is None else [known, *members])

    def offer(self, peer: Peer) -> node_pb2.Hello:
        """The Hello that opens a stream to `peer`."""
        hello = self.hello(peer.id)
        if not peer.proposed:
            peer.proposed = self._random.randrange(1, 2**63)
        hello.session.proposed = peer.proposed
        if peer.link is not None:
            hello.session.session, hello.session.received = peer.link.session, peer.link.received
        return hello

    def met(self, now_s: float, hello: node_pb2.Hello) -> node_pb2.Hello:
        """Somebody says `hello`: the answer. Raises InvalidError if it is malformed."""
        refused = self._judge(hello)
        if refused is not None:
            self._statistics.hellos_refused += 1
            answer = make_hello(self.membership.own)  # who is turned away learns nothing of the members
            answer.refusal, answer.detail, answer.incarnation = (
                refused.refusal, refused.detail, refused.incarnation,
            )  # fmt: skip
            holder = self.membership.find(hello.node.name)
            if refused.refusal == node_pb2.NAME_TAKEN and holder is not None:
                answer.members.append(member_to_proto(holder))  # it may not know that it was replaced
            return answer
        self._learn(now_s, hello)
        return self.hello(hello.node.id)

    def welcomes(self, hello: node_pb2.Hello) -> bool:
        """Whether `accept` would open a stream, as far as the Hello tells. Raises InvalidError as that."""
        return hello.node.id < self.own.id and bool(hello.session.proposed) and self._judge(hello) is None

    def accept(
        self, now_s: float, hello: node_pb2.Hello, stream: Stream
    ) -> tuple[node_pb2.Hello, Opened | None]:
        """A peer opens a stream: the answer, and None if it is turned away.

        Raises InvalidError if it is malformed or should not have dialed, RefusedError if there is no room.
        """
        if hello.node.id >= self.own.id:
            raise InvalidError("the node with the lower id dials; this one must wait")
        offer = hello.session
        if not offer.proposed:
            raise InvalidError("it proposes no session")
        answer = self.met(now_s, hello)
        if answer.refusal:
            return answer, None
        peer = self._peers.get(hello.node.id)
        if peer is None:
            raise RefusedError("this node takes no more peers")
        if peer.link is not None and peer.link.session not in (offer.session, offer.proposed):
            self._end_session(now_s, peer, "the other side has ended the session")
        received = offer.received if peer.link is not None and peer.link.session == offer.session else 0
        opened = self._open(peer, stream, hello, offer.proposed, received)
        answer.session.session, answer.session.received = opened.link.session, opened.link.received
        return answer, opened

    def answered(self, now_s: float, peer: Peer, answer: node_pb2.Hello, stream: Stream) -> Opened | None:
        """What the peer answered to an offer; None if the stream is not to be used.

        Raises InvalidError if it is malformed.
        """
        if self._peers.get(peer.id) is not peer or not self.heard(now_s, peer, answer):
            return None
        said = answer.session
        if peer.link is not None and said.session != peer.link.session:
            self._end_session(now_s, peer, "the other side has ended the session")
        if peer.link is None and said.session != peer.proposed:
            return None  # it goes on with a session that has ended here meanwhile
        return self._open(peer, stream, answer, peer.proposed, said.received)

    def heard(self, now_s: float, peer: Peer, answer: node_pb2.Hello) -> bool:
        """Judge what answered at a peer's address, and learn from it; False if it is of no use.

        Raises InvalidError if it is malformed.
        """
        if self.leaving:
            return False
        if answer.node.id != peer.id:
            self._declare_dead(now_s, peer, "another node answers at its address")
            return False
        if (
            answer.refusal == node_pb2.NAME_TAKEN
            and self.membership.find(self.own.name) is self.membership.own
        ):
            self._hear_of_heir(now_s, answer)
            return False  # else by a predecessor, probably, of whose end that node has not heard yet
        if answer.refusal in FATAL_REFUSALS:
            self._actions.fatal(answer.refusal, answer.detail)
            return False
        return self.take_answer(now_s, answer) is None and self._peers.get(peer.id) is peer

    def take_answer(self, now_s: float, answer: node_pb2.Hello) -> Refused | None:
        """Take in the cluster of a node that answered; why not, if one of the two turns the other away.

        Raises InvalidError if it is malformed.
        """
        if answer.refusal:
            if answer.refusal == node_pb2.DECLARED_DEAD:
                self._declared_dead(now_s, answer)
            elif answer.refusal == node_pb2.NAME_TAKEN:
                self._hear_of_heir(now_s, answer)
            return Refused(answer.refusal, answer.detail)
        refused = self._judge(answer)
        if refused is None:
            self._learn(now_s, answer)
        return refused

    def _declared_dead(self, now_s: float, answer: node_pb2.Hello) -> None:
        """A node took this one for dead: what was between the two is over, and may begin anew."""
        if self.membership.own.incarnation > answer.incarnation:
            return  # an old answer: this node has refuted that meanwhile
        peer = self._peers.get(answer.node.id)
        if peer is not None:
            self._end_session(now_s, peer, "it declared this node dead")
        self._act(now_s, self.membership.refute(answer.incarnation), "it was declared dead")
        if peer is not None and self.membership.own.incarnation > answer.incarnation:
            peer.keeper.retry(now_s)

    def _hear_of_heir(self, now_s: float, answer: node_pb2.Hello) -> None:
        """A node that had a place of its own is told who took it meanwhile, if anybody did: it goes."""
        for member in members_from_proto(answer.members):
            is_namesake = member.live and member.node.name == self.own.name
            if is_namesake and self.own.succession and must_go(self.own, member.node):
                self._act(now_s, self.membership.merge(member), "it has the name of this node")

    def _judge(self, hello: node_pb2.Hello) -> Refused | None:
        expelled = self._expelled.get(hello.node.id)
        if expelled is not None:
            return Refused(node_pb2.EXPELLED, expelled)
        return judge_hello(self.membership, hello)

    def _learn(self, now_s: float, hello: node_pb2.Hello) -> None:
        sender, members = sender_of(hello), members_from_proto(hello.members)
        self._act(now_s, self.membership.merge(sender), "it said so itself")
        peer = self._peers.get(sender.node.id)
        if peer is not None:
            peer.keeper.reached(now_s)
        self.gossip(now_s, members)

    # --- streams ----------------------------------------------------------------------------

    def _open(
        self, peer: Peer, stream: Stream, hello: node_pb2.Hello, proposed: int, received: int
    ) -> Opened:
        begins, link = peer.link is None, peer.link or Link(proposed)
        resend = link.resume(received)  # raises before anything has changed
        peer.link, peer.proposed = link, 0
        peer.protocol = min(hello.protocol_max, PROTOCOL_MAX)
        previous, peer.stream = peer.stream, stream
        if previous is not None:
            self._actions.close(previous, "replaced by a new stream")
        if begins:
            self._statistics.sessions_begun += 1
            self._actions.begin_session(peer)
        else:
            self._statistics.streams_resumed += 1
        peer.keeper.opened()
        return Opened(link, resend)

    def ended(self, now_s: float, peer: Peer, stream: Stream) -> None:
        """The stream broke, or the peer closed it without a word: the session may go on."""
        if self._peers.get(peer.id) is peer and peer.stream is stream:
            peer.stream = None
            self._do(now_s, peer, peer.keeper.broken(now_s))

    def said_goodbye(self, now_s: float, peer: Peer, stream: Stream, reason: str) -> None:
        """The peer leaves the cluster."""
        if self._peers.get(peer.id) is peer and peer.stream is stream:
            self._act(now_s, self.membership.mark_left(peer.id), reason)

    def expel(self, now_s: float, peer: Peer, reason: str) -> None:
        """The peer sent what no correct node sends: it is none any more, whatever it says from now on."""
        if self._peers.get(peer.id) is not peer:
            return
        self._statistics.nodes_expelled += 1
        if len(self._expelled) >= MAX_MEMBERS:
            del self._expelled[next(iter(self._expelled))]
        self._expelled[peer.id] = f"it was expelled: {reason}"
        self._declare_dead(now_s, peer, reason)

    def attempt_failed(self, now_s: float, peer: Peer, *, gone: bool) -> None:
        """An attempt to reach the peer brought no stream. `gone`: nobody listens at its address."""
        if self._peers.get(peer.id) is peer:
            steps = peer.keeper.attempt_failed(now_s, gone=gone)
            self._do(now_s, peer, steps, _GONE if gone else _UNREACHED)

    def gone(self, now_s: float, peer: Peer) -> None:
        """Nobody listens at the peer's address any more."""
        if self._peers.get(peer.id) is peer:
            self._do(now_s, peer, peer.keeper.gone(), _GONE)

    def _do(self, now_s: float, peer: Peer, steps: Iterable[Step], death: str = _UNREACHED) -> None:
        if self.leaving:
            return
        for step in steps:
            match step:
                case Step.ATTEMPT:
                    self._actions.attempt(peer)
                case Step.CHECK:
                    self._actions.check(peer)
                case Step.ASK:
                    self._ask(peer)
                case Step.END_SESSION:
                    self._end_session(now_s, peer, "this node does not reach it, though others do")
                case Step.DECLARE_DEAD:
                    self._declare_dead(now_s, peer, death)

    # --- verdicts ---------------------------------------------------------------------------

    def _end_session(self, now_s: float, peer: Peer, reason: str) -> None:
        self._cut_off(peer, reason)
        peer.keeper.session_ended(now_s)

    def _cut_off(self, peer: Peer, reason: str) -> None:
        stream, peer.stream = peer.stream, None
        if stream is not None:
            self._actions.close(stream, reason)
        link, peer.link = peer.link, None
        if link is not None:
            self._statistics.sessions_ended += 1
            self._actions.end_session(peer, reason)

    def _declare_dead(self, now_s: float, peer: Peer, reason: str) -> None:
        self._act(now_s, self.membership.declare_dead(peer.id), reason)

    # --- second opinions --------------------------------------------------------------------

    def _ask(self, peer: Peer) -> None:
        others = [other for other in self._peers.values() if other.link is not None and other is not peer]
        self._random.shuffle(others)
        others.sort(key=lambda other: other.stream is None)  # a stream that just broke may be back in time
        self._references += 1
        peer.question = self._references
        for other in others[:PROBERS]:
            probe = node_pb2.Probe(reference=self._references, node=peer.id)
            self._actions.send(other, node_pb2.Envelope(probe=probe))

    def probe(self, asker: Peer, probe: node_pb2.Probe) -> None:
        """A peer asks whether this node reaches a member."""
        target = self.membership.get(probe.node)
        if self.leaving or target is None or not target.live or probe.node == self.own.id:
            return
        if asker.probing < MAX_PROBING:
            asker.probing += 1
            self._actions.probe(asker, probe.reference, target.node)

    def probed(self, asker: Peer, reference: int, reached: bool) -> None:
        """The answer to a probe that this node did for a peer."""
        asker.probing -= 1
        if self._peers.get(asker.id) is asker and asker.link is not None:
            reply = node_pb2.ProbeReply(reference=reference, reached=reached)
            self._actions.send(asker, node_pb2.Envelope(probe_reply=reply))

    def probe_replied(self, now_s: float, reply: node_pb2.ProbeReply) -> None:
        """A member says whether it reaches one that this node asked about."""
        for peer in self._peers.values():
            if reply.reached and reply.reference == peer.question:
                peer.keeper.reached(now_s)

    # --- members ----------------------------------------------------------------------------

    def gossip(self, now_s: float, rumours: Iterable[Member]) -> None:
        """Take in what a peer says of members."""
        news: list[Event] = []
        may_succeed = not self.own.succession  # by now it has met somebody
        for rumour in rumours:
            may_succeed |= rumour.state is MemberState.DEAD and rumour.node.name == self.own.name
            peer = self._peers.get(rumour.node.id)
            if rumour.state is MemberState.DEAD and peer is not None and peer.stream is not None:
                known = self.membership.get(peer.id)
                if known is not None and rumour.incarnation >= known.incarnation:
                    self._tell(peer, [rumour])  # it knows best
                continue
            news += self.membership.merge(rumour)
        if may_succeed:
            news += self.membership.succeed()
        own = any(event.member.node.id == self.own.id for event in news)
        self._act(now_s, news, "another node says so", to=math.inf if own else GOSSIP_FANOUT)

    def doubtful(self, now_s: float, node_id: int) -> None:
        """Nobody listens at the address of one that was declared dead: it is tried less often."""
        self._reunion.doubt(now_s, node_id)

    def replaced(self, node_id: int) -> None:
        """Another node answers at the address of one that was declared dead: it will not come back."""
        self._reunion.forget(node_id)

    def moved(self, now_s: float, address: str) -> None:
        """Peers reach this node at another address from now on. Raises InvalidError if it is malformed."""
        if self.leaving:
            return
        before = self.membership.own
        now = self.membership.update_own(address=address)
        self._act(now_s, [Event(EventKind.UPDATED, now, before)], "it has moved")
        for peer in self._peers.values():
            peer.keeper.retry(now_s)  # those that cannot dial here hear of it this way

    def leave(self) -> None:
        """This node leaves: nobody is dialed, judged or obeyed any more."""
        self.leaving = True
        self.membership.leave()

    def _act(self, now_s: float, events: Sequence[Event], reason: str, *, to: float = math.inf) -> None:
        """Do what a change of the table asks for, and pass it on `to` so many peers."""
        for event in events:
            self._actions.tell(event, reason)
            node = event.member.node
            match event.kind:
                case EventKind.UPDATED | EventKind.RECOVERED if node.id in self._peers:
                    self._update(now_s, self._peers[node.id], node)
                case EventKind.JOINED:
                    self._reunion.forget(node.id)
                    self._add(now_s, node)
                case EventKind.LEFT:
                    self._drop(node.id, "it left")
                case EventKind.DIED:
                    self._drop(node.id, "it was declared dead")
                    self._reunion.remember(now_s, node.id)
                    if node.name == self.own.name:
                        self._act(now_s, self.membership.succeed(), "it takes the place of its predecessor")
                case EventKind.NAME_CONFLICT:
                    if node.id == self.own.id and event.other is not None:
                        self._resolve_name(now_s, event.other.node)
                case EventKind.ID_CONFLICT:
                    self._actions.fatal(node_pb2.ID_TAKEN, f"node id {node.id} is taken")
                case EventKind.DECLARED_GONE:
                    self._actions.fatal(node_pb2.EXPELLED, "the cluster says that this node has left it")
                case _:
                    pass
        news = [event.member for event in events if event.kind in _NEWS]
        if not news:
            return
        peers = [peer for peer in self._peers.values() if peer.stream is not None]
        for peer in peers if len(peers) <= to else self._random.sample(peers, int(to)):
            self._tell(peer, news)

    def _resolve_name(self, now_s: float, holder: NodeInfo) -> None:
        if holder.address == self.own.address:
            # It listens there no more: it was this node's predecessor, and its end has not gone round yet.
            events = self.membership.declare_dead(holder.id)
            self._act(now_s, events, "another node listens at its address")
            return
        self._actions.fatal(
            node_pb2.NAME_TAKEN, f"the name {holder.name} is taken by node {holder.id} at {holder.address}"
        )

    def _tell(self, peer: Peer, members: Sequence[Member]) -> None:
        for start in range(0, len(members), MAX_GOSSIP_MEMBERS):
            gossip = gossip_to_proto(members[start : start + MAX_GOSSIP_MEMBERS])
            self._actions.send(peer, node_pb2.Envelope(gossip=gossip))

    def _add(self, now_s: float, node: NodeInfo) -> None:
        if self.leaving or node.id in self._peers or node.id in self._expelled:
            return
        keeper = Keeper(now_s, dials=self.own.id < node.id, timings=self._timings)
        peer = self._peers[node.id] = Peer(node, keeper)
        self._do(now_s, peer, keeper.tick(now_s))

    def _update(self, now_s: float, peer: Peer, node: NodeInfo) -> None:
        has_moved, peer.info = peer.info.address != node.address, node
        if has_moved:
            peer.keeper.retry(now_s)

    def _drop(self, node_id: int, reason: str) -> None:
        peer = self._peers.pop(node_id, None)
        if peer is not None:
            self._cut_off(peer, reason)


_NEWS = {
    EventKind.JOINED,
    EventKind.UPDATED,
    EventKind.SUSPECTED,
    EventKind.RECOVERED,
    EventKind.DIED,
    EventKind.LEFT,
    EventKind.REFUTED,
}
