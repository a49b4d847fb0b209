"""Where to start a process: pick a live member by name, by labels, by load. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from luna.cluster.members import Member, MemberState
from luna.proto.errors import NotFoundError

MAX_NAMES_LISTED = 8
"""names in the hint of an error: one line on a terminal."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What is asked of a node: its name, and labels it must carry (all of them). Empty: any node."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


def candidates(members: Iterable[Member], placement: Placement) -> list[Member]:
    """The live members that fit, alive ones before suspects, by name and id within each."""
    fitting = [
        member
        for member in members
        if member.live
        and (not placement.name or member.node.name == placement.name)
        and all(member.node.labels.get(key) == value for key, value in placement.labels.items())
    ]
    return sorted(fitting, key=lambda member: (member.state, member.node.name, member.node.id))


def place(members: Iterable[Member], placement: Placement, load: Mapping[int, float] | None = None) -> Member:
    """The member to use: alive rather than suspect, then the least loaded, then the first by name and id.

    `load` is any measure by node id (processes, say); a node without one counts as unloaded, so that a
    new node gets work before its first report. Of several members of one name (a conflict that is being
    resolved) the one that stays, started first, is used.
    Raises NotFoundError if no live member fits.
    """
    members = list(members)
    loads = load or {}
    fitting = candidates(members, placement)
    if not fitting:
        raise _nothing_fits(members, placement)
    if placement.name:
        return min(fitting, key=lambda member: (member.state, member.node.started_ms, member.node.id))
    alive = [member for member in fitting if member.state is MemberState.ALIVE]
    return min(alive or fitting, key=lambda member: loads.get(member.node.id, 0.0))


def _nothing_fits(members: Iterable[Member], placement: Placement) -> NotFoundError:
    names = sorted({member.node.name for member in members if member.live})
    listed = ", ".join(names[:MAX_NAMES_LISTED]) + (", ..." if len(names) > MAX_NAMES_LISTED else "")
    labels = ", ".join(f"{key}={value}" for key, value in sorted(placement.labels.items()))
    what = f"node named {placement.name}" if placement.name else "node"
    what += f" with {labels}" if labels else ""
    return NotFoundError(f"there is no live {what}", hint=f"live nodes: {listed}" if listed else None)
