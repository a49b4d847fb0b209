"""Whom a missing module is fetched from: members that hold it, lack it, break, lie, or have no time."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from luna.cluster.members import NodeInfo
from luna.node.module_fetch import BUSY_PATIENCE_S, FETCH_PATIENCE_S, LIARS_REMEMBERED, ModuleFetcher
from luna.node.module_spool import Spool, SpoolMemory
from luna.node.status import LimitError
from luna.proto.errors import BrokenError, InvalidError, NotFoundError
from luna.proto.limits import MIB, MODULE_CHUNK_BYTES

DATA = random.Random(1).randbytes(3 * MIB)
SHA = hashlib.sha256(DATA).digest()
PART = 2 * MODULE_CHUNK_BYTES

Behaviour = Callable[[Spool], None]


def holds(data: bytes = DATA) -> Behaviour:
    """Sends all that is wanted."""

    def behave(spool: Spool) -> None:
        spool.expect(len(data))
        spool.write(data[spool.size :])

    return behave


def breaks(data: bytes = DATA, after: int = PART) -> Behaviour:
    """Sends a part each time, and breaks."""

    def behave(spool: Spool) -> None:
        spool.expect(len(data))
        spool.write(data[spool.size :][:after])
        raise BrokenError("the connection was lost")

    return behave


def lacks(spool: Spool) -> None:
    raise NotFoundError("not here")


def is_gone(spool: Spool) -> None:
    raise BrokenError("connection refused")


def is_busy(spool: Spool) -> None:
    raise LimitError("too many transfers")


def sends_nonsense(spool: Spool) -> None:
    raise InvalidError("a malformed chunk")


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """A different one each time; the last one stays."""
    left = list(behaviours)

    def behave(spool: Spool) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(spool)

    return behave


WRONG = bytes(len(DATA))


class Rig:
    """A cluster of members with behaviours; `asked` has (member, offset) of each attempt."""

    def __init__(self, folder: Path, **members: Behaviour) -> None:
        self.members = members
        self.asked: list[tuple[str, int]] = []
        self.spool = Spool(folder / "x.partial", SpoolMemory(0))
        self.fetcher = ModuleFetcher(self._receive, self._live, random.Random(1))

    def _live(self) -> list[NodeInfo]:
        return [
            NodeInfo(number + 1, name, "test", name, started_ms=1) for number, name in enumerate(self.members)
        ]

    async def _receive(self, address: str, sha256: bytes, spool: Spool) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append((address, spool.size))
        self.members[address](spool)

    async def fetch(self, asker: str | None) -> bytes:
        await self.fetcher.fetch(asker, SHA, self.spool)
        assert self.spool.digest() == SHA
        return self.spool.finish(None)[0]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**members: Behaviour) -> Rig:
        rigs.append(Rig(tmp_path, **members))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.spool.close()


async def test_the_asker_comes_first_and_nobody_else_is_asked(make: Callable[..., Rig]) -> None:
    rig = make(a=holds(), b=holds())
    assert await rig.fetch("b") == DATA
    assert rig.asked == [("b", 0)]
    assert (rig.fetcher.counts.fetched, rig.fetcher.counts.bytes_received) == (1, len(DATA))


async def test_an_asker_that_is_no_member_yet_is_asked_all_the_same(make: Callable[..., Rig]) -> None:
    rig = make(a=lacks)
    rig.members = {"x": holds()}
    rig._live = list  # type: ignore[method-assign]
    assert await rig.fetch("x") == DATA


async def test_whoever_holds_it_is_found(make: Callable[..., Rig]) -> None:
    rig = make(a=lacks, b=is_gone, c=lacks, d=holds())
    assert await rig.fetch("a") == DATA
    assert rig.asked[0] == ("a", 0)


async def test_without_an_asker_all_members_are_asked(make: Callable[..., Rig]) -> None:
    assert await make(a=lacks, b=holds()).fetch(None) == DATA


async def test_a_broken_transfer_goes_on_at_the_same_member(make: Callable[..., Rig]) -> None:
    rig = make(a=breaks(), b=holds())
    assert await rig.fetch("a") == DATA
    assert rig.asked == [("a", offset) for offset in range(0, len(DATA), PART)]
    assert rig.fetcher.counts.resumed == len(rig.asked) - 1


async def test_a_transfer_goes_on_at_another_member_where_it_broke(make: Callable[..., Rig]) -> None:
    rig = make(a=in_turn(breaks(), is_gone), b=holds())
    assert await rig.fetch("a") == DATA
    assert rig.asked == [("a", 0), ("a", PART), ("b", PART)]


async def test_what_nobody_holds_is_not_found_at_once(
    make: Callable[..., Rig], autojump_clock: trio.testing.MockClock
) -> None:
    before = trio.current_time()
    with pytest.raises(NotFoundError, match="not here"):
        await make(a=lacks, b=lacks).fetch("a")
    with pytest.raises(NotFoundError, match="no node holds"):
        await make().fetch(None)
    assert trio.current_time() == before


async def test_members_that_are_gone_are_asked_again_for_a_while(
    make: Callable[..., Rig], autojump_clock: trio.testing.MockClock
) -> None:
    assert await make(a=in_turn(is_gone, is_gone, is_gone, holds())).fetch("a") == DATA
    before = trio.current_time()
    rig = make(a=is_gone, b=lacks)
    with pytest.raises(BrokenError, match="connection refused"):
        await rig.fetch("a")
    assert FETCH_PATIENCE_S <= trio.current_time() - before < 2 * FETCH_PATIENCE_S
    assert rig.fetcher.counts.failed == 1


async def test_members_that_are_busy_are_asked_again_for_longer(
    make: Callable[..., Rig], autojump_clock: trio.testing.MockClock
) -> None:
    before = trio.current_time()
    with pytest.raises(LimitError):
        await make(a=is_busy).fetch("a")
    assert BUSY_PATIENCE_S <= trio.current_time() - before < 2 * BUSY_PATIENCE_S


async def test_a_liar_is_found_by_the_hash_and_not_asked_again(make: Callable[..., Rig]) -> None:
    rig = make(a=holds(WRONG), b=holds())
    assert await rig.fetch("a") == DATA
    assert rig.asked == [("a", 0), ("b", 0)]
    assert rig.fetcher.counts.refused == 1
    rig.spool = Spool(Path("/missing/x"), SpoolMemory(len(DATA)))
    assert await rig.fetch("a") == DATA
    assert rig.asked[2:] == [("b", 0)]


async def test_one_that_sends_what_it_must_not_is_not_asked_again(make: Callable[..., Rig]) -> None:
    rig = make(a=in_turn(breaks(), sends_nonsense), b=holds())
    assert await rig.fetch("a") == DATA
    assert rig.asked == [("a", 0), ("a", PART), ("b", 0)]  # what it sent before is not trusted either


@pytest.mark.parametrize("size", [len(DATA), len(DATA) - 1, len(DATA) + 1])
async def test_a_liar_among_several_is_found_by_asking_each_alone(
    make: Callable[..., Rig], size: int, autojump_clock: trio.testing.MockClock
) -> None:
    wrong = bytes(size)
    rig = make(
        a=in_turn(breaks(wrong), is_gone, breaks(wrong)), b=in_turn(breaks(), is_gone, holds()), c=is_gone
    )
    assert await rig.fetch("a") == DATA
    assert rig.fetcher.counts.refused <= 2
    assert all(source.address == "a" for source, _ in rig.fetcher._liars)


async def test_the_honest_part_of_a_mixture_is_not_blamed(
    make: Callable[..., Rig], autojump_clock: trio.testing.MockClock
) -> None:
    rig = make(a=in_turn(breaks(), is_gone, is_gone, holds()), b=holds(WRONG))
    assert await rig.fetch("a") == DATA
    assert [source.address for source, _ in rig.fetcher._liars] == ["b"]


async def test_when_all_lie_it_is_an_error_at_once(
    make: Callable[..., Rig], autojump_clock: trio.testing.MockClock
) -> None:
    rig = make(a=holds(WRONG), b=sends_nonsense, c=lacks)
    with pytest.raises(InvalidError, match="other bytes"):
        await rig.fetch("a")
    with pytest.raises(InvalidError, match="other bytes"):
        await rig.fetch("a")


async def test_a_beginning_of_unknown_origin_that_is_wrong_is_dropped(make: Callable[..., Rig]) -> None:
    rig = make(a=holds())
    rig.spool.expect(len(DATA))
    rig.spool.write(WRONG[:PART])
    assert await rig.fetch("a") == DATA
    assert rig.asked == [("a", PART), ("a", 0)]
    assert not rig.fetcher._liars


async def test_members_that_always_spoil_each_other_s_parts_end_the_fetch(
    make: Callable[..., Rig], autojump_clock: trio.testing.MockClock
) -> None:
    turn = in_turn(*[breaks(WRONG), is_gone] * 10_000)
    with pytest.raises((BrokenError, InvalidError)):
        await make(a=turn, b=turn, c=turn).fetch("a")


async def test_only_so_many_liars_are_remembered(make: Callable[..., Rig]) -> None:
    rig = make(a=holds())
    fetcher = ModuleFetcher(rig._receive, list)
    rig.members = {f"{number}": sends_nonsense for number in range(LIARS_REMEMBERED + 1)}
    for name in rig.members:
        with pytest.raises(InvalidError):
            await fetcher.fetch(name, SHA, rig.spool)
    assert len(fetcher._liars) == LIARS_REMEMBERED
    rig.members["0"] = holds()
    await fetcher.fetch("0", SHA, rig.spool)
