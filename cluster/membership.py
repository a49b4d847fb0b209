"""The membership table: who is in the cluster, by the rules of SWIM. No clock, no I/O, no randomness.

One `Membership` is one node's view. Rumours come in (`merge`), and so do this node's own verdicts
(`suspect`, `declare_dead`); events come out, and whoever calls acts on them.

The rules. For each node id the table keeps the greatest record it ever heard, by one total order
(`_rank`): so merging is idempotent, commutative and associative, and two nodes that heard the same
rumours, in any order and number, agree. In that order

- of two nodes that drew one id, the one that started first keeps it;
- a higher incarnation is greater than a lower one, and at the same incarnation dead is greater than suspect,
  and suspect than alive: only the node itself, by raising its incarnation, refutes a suspicion or its death.
  Who comes back so is a member again, and joins as a new one does: what the verdict ended (its sessions,
  links and monitors) stays ended;
- left is greater than everything. It is the node's own word, and final: ids are drawn anew at every start.

What is not part of the order: the caps (`max_members`, `max_departed`), which drop records, and the
conflict of names, which is reported and resolved by the loser leaving.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from luna.cluster.members import (
    MAX_INCARNATION,
    MAX_SUCCESSION,
    Event,
    EventKind,
    Member,
    MemberState,
    NodeInfo,
    check_node,
)
from luna.cluster.naming import must_go, standing
from luna.proto.errors import ClosedError
from luna.proto.limits import MAX_DEPARTED, MAX_MEMBERS

__all__ = ["Event", "EventKind", "Member", "MemberState", "Membership", "MembershipStatistics", "NodeInfo"]


@dataclass(frozen=True, slots=True)
class MembershipStatistics:
    """Counts of one table: members by state (this node among them), and rumours ever refused."""

    alive: int
    suspect: int
    departed: int
    refused: int


def _rank(member: Member) -> tuple[object, ...]:
    """The total order that `merge` takes the maximum of; equal ranks are equal records."""
    node = member.node
    return (
        member.state is MemberState.LEFT,
        -node.started_ms,  # who started first keeps the id
        node.name,
        node.cluster,
        member.incarnation,
        member.state,
        node.succession,  # only ever raised
        # An honest node changes these only with its incarnation; ordering them keeps views equal
        # when a dishonest one does not.
        node.address,
        tuple(sorted(node.labels.items())),
    )


class Membership:
    """One node's view of the cluster, itself included. Not safe for use by two threads at once."""

    def __init__(
        self, own: NodeInfo, *, max_members: int = MAX_MEMBERS, max_departed: int = MAX_DEPARTED
    ) -> None:
        """A cluster of one. `max_members` caps live members, `max_departed` remembered dead and left ones.

        Raises InvalidError if `own` is malformed.
        """
        check_node(own)
        assert min(max_members, max_departed) >= 1, "this node itself needs room, alive and after it left"
        self._own_id = own.id
        self._max_members = max_members
        self._max_departed = max_departed
        self._live: dict[int, Member] = {own.id: Member(own)}
        self._departed: dict[int, Member] = {}  # in the order of their departure, which is that of forgetting
        self._ids_by_name: dict[str, set[int]] = {own.name: {own.id}}  # live members only
        self._refused = 0

    # --- Looking ---

    @property
    def own(self) -> Member:
        """This node as the others should see it."""
        return self._live.get(self._own_id) or self._departed[self._own_id]

    def get(self, node_id: int) -> Member | None:
        """What is known of `node_id`, live or departed."""
        return self._live.get(node_id) or self._departed.get(node_id)

    def find(self, name: str) -> Member | None:
        """The live member called `name`; of several the alive one that stays."""
        holders = [self._live[node_id] for node_id in self._ids_by_name.get(name, ())]
        return min(holders, key=lambda m: (m.state, standing(m.node)), default=None)

    def live(self) -> list[Member]:
        """Alive and suspect members, this node among them unless it left, by id."""
        return [self._live[node_id] for node_id in sorted(self._live)]

    def peers(self) -> list[Member]:
        """Live members but this node, by id."""
        return [member for member in self.live() if member.node.id != self._own_id]

    def snapshot(self) -> list[Member]:
        """Everything worth telling a peer: this node, the live members, then the departed, latest first."""
        own = self.own
        others = [*self.peers(), *reversed(self._departed.values())]
        return [own, *(member for member in others if member.node.id != self._own_id)]

    def statistics(self) -> MembershipStatistics:
        """A frozen record of counts."""
        suspect = sum(member.state is MemberState.SUSPECT for member in self._live.values())
        return MembershipStatistics(len(self._live) - suspect, suspect, len(self._departed), self._refused)

    # --- Rumours ---

    def merge_all(self, rumours: Iterable[Member]) -> list[Event]:
        """`merge` each of `rumours`."""
        return [event for rumour in rumours for event in self.merge(rumour)]

    def merge(self, rumour: Member) -> list[Event]:
        """Take in what a peer says of a node; return what changed. No event: nothing did."""
        if rumour.node.cluster != self.own.node.cluster:
            return self._refuse(rumour)
        if rumour.node.id == self._own_id:
            return self._merge_about_self(rumour)
        known = self.get(rumour.node.id)
        if known is None:
            return self._add(rumour)
        return self._change(known, rumour) if _rank(rumour) > _rank(known) else []

    def _add(self, rumour: Member) -> list[Event]:
        if not rumour.live:
            # Never seen alive here, but to be remembered: its last signs of life may still be under way.
            self._depart(rumour)
            return []
        if len(self._live) >= self._max_members:
            return self._refuse(rumour)
        self._keep_live(rumour)
        events = [Event(EventKind.JOINED, rumour)]
        if rumour.state is MemberState.SUSPECT:
            # Whoever suspected it may be gone: without our own deadline it could stay a suspect for ever.
            events.append(Event(EventKind.SUSPECTED, rumour))
        return events + self._name_conflicts(rumour, None)

    def _change(self, known: Member, now: Member) -> list[Event]:
        """Replace `known` by the greater record `now`."""
        node_id = now.node.id
        if not known.live:
            if now.live:  # it was declared dead, and says that it is not
                if len(self._live) >= self._max_members:
                    return self._refuse(now)
                del self._departed[node_id]
                return self._add(now)
            self._departed[node_id] = now  # it turns out that it left, or with which incarnation it died
            return []
        if not now.live:
            self._remove_live(known)
            self._depart(now)
            kind = EventKind.LEFT if now.state is MemberState.LEFT else EventKind.DIED
            return [Event(kind, now, known)]
        self._remove_live(known)
        self._keep_live(now)
        if now.state is MemberState.SUSPECT:  # also anew, after a refutation that was not heard of here
            kind = EventKind.SUSPECTED
        else:
            kind = EventKind.RECOVERED if known.state is MemberState.SUSPECT else EventKind.UPDATED
        return [Event(kind, now, known), *self._name_conflicts(now, known)]

    def _merge_about_self(self, rumour: Member) -> list[Event]:
        own = self.own
        if not own.live:  # it left, or knows that it must stop: nothing more to defend
            return []
        if rumour.state is MemberState.LEFT:
            return [Event(EventKind.DECLARED_GONE, own, rumour)]
        if _rank(rumour) <= _rank(own):  # also that of a later node with our id: it goes when it hears of us
            return []
        if rumour.node.identity != own.node.identity:
            return [Event(EventKind.ID_CONFLICT, own, rumour)]
        # A suspicion, a verdict, or a record of us that we never published: outbid it.
        return self.refute(rumour.incarnation)

    # --- This node's own verdicts ---

    def suspect(self, node_id: int) -> list[Event]:
        """`node_id` does not answer this node; spread the event's member. No-op unless it is alive."""
        return self._judge(node_id, MemberState.SUSPECT)

    def declare_dead(self, node_id: int) -> list[Event]:
        """Nobody reaches `node_id` any more. Only itself can refute that. No-op unless it is live."""
        return self._judge(node_id, MemberState.DEAD)

    def mark_left(self, node_id: int) -> list[Event]:
        """`node_id` itself said that it leaves. Final."""
        return self._judge(node_id, MemberState.LEFT)

    def _judge(self, node_id: int, state: MemberState) -> list[Event]:
        known = self.get(node_id)
        if known is None or node_id == self._own_id:
            return []
        verdict = replace(known, state=state)
        return self._change(known, verdict) if _rank(verdict) > _rank(known) else []

    # --- This node itself ---

    def refute(self, incarnation: int) -> list[Event]:
        """Somebody takes this node for suspect or dead at `incarnation`: live on at a higher one."""
        own = self.own
        if not own.live or own.incarnation > incarnation:
            return []
        now = replace(own, incarnation=min(incarnation + 1, MAX_INCARNATION))
        self._keep_live(now)
        return [Event(EventKind.REFUTED, now, own)]

    def succeed(self) -> list[Event]:
        """Take the place of those with this node's name that were declared dead; spread the event's member.

        Nothing changes before this node has met one of another name, nor when it is itself the one to go.
        """
        own = self.own
        is_alone = all(member.node.name == own.node.name for member in self._live.values())
        if is_alone or self.find(own.node.name) is not own:
            return []
        before = (
            member.node.succession
            for member in self._departed.values()
            if member.state is MemberState.DEAD and member.node.name == own.node.name
        )
        place = min(max(before, default=0) + 1, MAX_SUCCESSION)
        if own.node.succession >= place:
            return []
        # With a higher incarnation: a verdict on a record of before must not hide the place.
        incarnation = min(own.incarnation + 1, MAX_INCARNATION)
        now = replace(own, node=replace(own.node, succession=place), incarnation=incarnation)
        self._keep_live(now)
        return [Event(EventKind.UPDATED, now, own), *self._name_conflicts(now, own)]

    def leave(self) -> Member:
        """This node leaves; returns the record to spread. A second call changes nothing."""
        own = self.own
        if own.live:
            self._remove_live(own)
            self._depart(replace(own, state=MemberState.LEFT))
        return self.own

    def update_own(self, *, address: str | None = None, labels: dict[str, str] | None = None) -> Member:
        """Change this node's address or labels; returns the record to spread.

        Raises InvalidError if one is malformed, ClosedError if this node has left.
        """
        own = self.own
        if not own.live:
            raise ClosedError(f"node {own.node.name} has left the cluster")
        node = replace(
            own.node,
            address=own.node.address if address is None else address,
            labels=own.node.labels if labels is None else labels,
        )
        incarnation = min(own.incarnation + 1, MAX_INCARNATION)
        self._keep_live(Member(check_node(node), MemberState.ALIVE, incarnation))
        return self.own

    # --- The tables ---

    def _keep_live(self, member: Member) -> None:
        self._live[member.node.id] = member
        self._ids_by_name.setdefault(member.node.name, set()).add(member.node.id)

    def _remove_live(self, member: Member) -> None:
        del self._live[member.node.id]
        holders = self._ids_by_name[member.node.name]
        holders.remove(member.node.id)
        if not holders:
            del self._ids_by_name[member.node.name]

    def _depart(self, member: Member) -> None:
        self._departed[member.node.id] = member
        if len(self._departed) > self._max_departed:
            oldest = next(node_id for node_id in self._departed if node_id != self._own_id)
            del self._departed[oldest]

    def _refuse(self, rumour: Member) -> list[Event]:
        self._refused += 1
        return [Event(EventKind.REFUSED, rumour)]

    def _name_conflicts(self, member: Member, before: Member | None) -> list[Event]:
        """The conflicts with alive members of its name that `member` has, and did not have as `before`."""
        alive = MemberState.ALIVE
        held = before is not None and before.state is alive and standing(before.node) == standing(member.node)
        if held or member.state is not alive:
            return []
        events = []
        for node_id in sorted(self._ids_by_name[member.node.name] - {member.node.id}):
            other = self._live[node_id]
            if other.state is alive:
                loser, winner = (member, other) if must_go(member.node, other.node) else (other, member)
                events.append(Event(EventKind.NAME_CONFLICT, loser, winner))
        return events
