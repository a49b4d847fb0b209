"""When addresses are met: at the start, again and again, and when they are discovered."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from luna.cluster.keeping import DEFAULT_TIMINGS
from luna.cluster.members import Member, NodeInfo
from luna.cluster.membership import Membership
from luna.node.config import Address
from luna.node.joining import MAX_FOUND, MAX_RETRY_S, NAME_PATIENCE_WINDOWS, Joiner
from luna.node.status import JoinRefusedError, SelfJoinError
from luna.proto import node_pb2
from luna.proto.errors import BrokenError, InvalidError, LunaError, StaleError

TARGET = Address("127.0.0.1", 7011)


class FakePeers:
    """Answers each join with the next outcome, the last one for ever; notes when it was asked."""

    timings = DEFAULT_TIMINGS

    def __init__(self, *outcomes: LunaError | NodeInfo) -> None:
        self.own = NodeInfo(1, "own", "test", "127.0.0.1:7010")
        self.membership = Membership(self.own)
        self.asked: list[tuple[str, float]] = []
        self._outcomes = list(outcomes)

    async def join(self, address: str) -> NodeInfo:
        await trio.lowlevel.checkpoint()
        self.asked.append((address, round(trio.current_time(), 1)))
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, LunaError):
            raise outcome
        self.membership.merge(Member(outcome))
        return outcome

    async def wait_connected(self, node_id: int) -> None:
        await trio.lowlevel.checkpoint()


OTHER = NodeInfo(2, "other", "test", str(TARGET))
TAKEN = JoinRefusedError("the name is taken", node_pb2.NAME_TAKEN)
DOWN = BrokenError("does not answer")


class Rig:
    def __init__(self, *outcomes: LunaError | NodeInfo) -> None:
        self.peers = FakePeers(*outcomes)
        self.errors: list[LunaError] = []
        self.joiner = Joiner(cast(Any, self.peers), self.errors.append)


async def test_the_first_round_joins_who_answers_and_goes_on_without_the_others(
    autojump_clock: MockClock,
) -> None:
    rig = Rig(OTHER)
    await rig.joiner.join_first([TARGET])
    rig = Rig(DOWN)
    await rig.joiner.join_first([TARGET])
    rig = Rig(SelfJoinError("this node itself"))
    await rig.joiner.join_first([TARGET])


@pytest.mark.parametrize(
    "error", [JoinRefusedError("other cluster", node_pb2.OTHER_CLUSTER), InvalidError("not a node")]
)
async def test_a_refusal_in_the_first_round_is_raised(error: LunaError, autojump_clock: MockClock) -> None:
    with pytest.raises(type(error)):
        await Rig(error).joiner.join_first([TARGET])


async def test_a_node_that_was_expelled_is_stale_and_not_merely_refused(
    autojump_clock: MockClock,
) -> None:
    expelled = JoinRefusedError("it was expelled", node_pb2.EXPELLED)
    with pytest.raises(StaleError, match="expelled") as caught:
        await Rig(expelled).joiner.join_first([TARGET])
    assert caught.value.hint is not None
    rig = Rig(expelled)
    with trio.move_on_after(1):
        await rig.joiner.keep_joined(TARGET)
    assert {type(error) for error in rig.errors} == {StaleError}


async def test_a_taken_name_is_asked_for_again_for_a_while(autojump_clock: MockClock) -> None:
    rig = Rig(TAKEN, TAKEN, OTHER)
    await rig.joiner.join_first([TARGET])
    assert len(rig.peers.asked) == 3
    began = trio.current_time()
    with pytest.raises(JoinRefusedError):
        await Rig(TAKEN).joiner.join_first([TARGET])
    patience_s = NAME_PATIENCE_WINDOWS * DEFAULT_TIMINGS.window_s
    assert patience_s <= trio.current_time() - began < patience_s + 1


async def test_a_target_that_does_not_answer_is_tried_less_and_less_often(autojump_clock: MockClock) -> None:
    rig = Rig(DOWN)
    with trio.move_on_after(60):
        await rig.joiner.keep_joined(TARGET)
    times = [time for _, time in rig.peers.asked]
    gaps = [round(later - earlier, 1) for earlier, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert max(gaps) == pytest.approx(MAX_RETRY_S, abs=0.2)
    assert rig.errors == []


async def test_a_target_is_met_again_when_it_is_no_member_any_more(autojump_clock: MockClock) -> None:
    rig = Rig(OTHER)
    with trio.move_on_after(30):
        await rig.joiner.keep_joined(TARGET)
    assert len(rig.peers.asked) == 1
    rig.peers.membership.declare_dead(OTHER.id)
    with trio.move_on_after(1):
        await rig.joiner.keep_joined(TARGET)
    assert len(rig.peers.asked) >= 2


async def test_a_target_that_calls_itself_otherwise_is_met_once(autojump_clock: MockClock) -> None:
    rig = Rig(NodeInfo(2, "other", "test", "10.0.0.9:7011"))
    with trio.move_on_after(60):
        await rig.joiner.keep_joined(TARGET)
    assert len(rig.peers.asked) == 1


async def test_a_target_that_is_this_node_itself_is_given_up(autojump_clock: MockClock) -> None:
    rig = Rig(SelfJoinError("this node itself"))
    await rig.joiner.keep_joined(TARGET)
    assert len(rig.peers.asked) == 1


async def test_a_later_refusal_that_means_this_node_is_fatal(autojump_clock: MockClock) -> None:
    rig = Rig(JoinRefusedError("taken", node_pb2.ID_TAKEN))
    with trio.move_on_after(1):
        await rig.joiner.keep_joined(TARGET)
    assert rig.errors
    rig = Rig(JoinRefusedError("other", node_pb2.OTHER_CLUSTER))
    with trio.move_on_after(1):
        await rig.joiner.keep_joined(TARGET)
    assert rig.errors == []


async def test_discovered_nodes_of_the_own_cluster_are_met_once(autojump_clock: MockClock) -> None:
    rig = Rig(OTHER)
    rig.joiner.found(str(TARGET), 2, "other", "test")
    rig.joiner.found("127.0.0.1:1", 3, "stranger", "elsewhere")
    with trio.move_on_after(1):
        await rig.joiner.meet_found()
    rig.joiner.found(str(TARGET), 2, "other", "test")
    with trio.move_on_after(1):
        await rig.joiner.meet_found()
    assert [address for address, _ in rig.peers.asked] == [str(TARGET)]


async def test_a_flood_of_announcements_is_bounded(autojump_clock: MockClock) -> None:
    rig = Rig(DOWN)
    for number in range(2 * MAX_FOUND):
        rig.joiner.found(f"127.0.0.1:{number + 1}", number + 10, "x", "test")
    with trio.move_on_after(1):
        await rig.joiner.meet_found()
    assert len(rig.peers.asked) == MAX_FOUND
