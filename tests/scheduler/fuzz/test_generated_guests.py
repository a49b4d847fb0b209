"""Generated guests harm nobody; and if one did, it would be noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import wasmtime

from luna.scheduler import Request
from luna.scheduler.hostcalls import ALL_CALLS

from .harness import Counts, Harmed, run, warm_up
from .program import CALLED, RETURNED, generate

BATCH = 80
SECONDS = 5.0


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    trio.run(warm_up, tmp_path_factory.mktemp("warm"))


@pytest.mark.parametrize("first", range(0, 3 * BATCH, BATCH))
async def test_generated_guests_harm_nobody(tmp_path: Path, first: int) -> None:
    await run(range(first, first + BATCH), tmp_path, seconds=SECONDS)


async def test_generated_guests_make_most_host_calls(tmp_path: Path) -> None:
    counts = Counts()
    await run(range(BATCH), tmp_path, seconds=SECONDS, counts=counts)
    called = sum(bool(counts[row.index, CALLED]) for row in ALL_CALLS)
    returned = sum(bool(counts[row.index, RETURNED]) for row in ALL_CALLS)
    assert called > 0.8 * len(ALL_CALLS)
    assert returned > 0.6 * len(ALL_CALLS)


def test_a_seed_always_gives_the_same_guest() -> None:
    assert generate(7) == generate(7)
    assert generate(7).wat != generate(8).wat


@pytest.mark.parametrize("counting", [False, True])
def test_generated_guests_are_modules(counting: bool) -> None:
    for seed in range(40):
        wasmtime.wat2wasm(generate(seed, counting=counting).wat)


async def test_a_host_call_that_fails_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: Request, pointer: int, value: int) -> None:
        raise ValueError("on purpose")

    monkeypatch.setattr(Request, "write_u64", fail)
    with pytest.raises(Harmed, match=r"on purpose|internal error"):
        await run(range(20), tmp_path, seconds=SECONDS)


async def test_what_is_left_behind_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    take = Request.add_resource

    def keep(request: Request, kind: object, resource: object) -> int:
        kept.append(request.native.module(-1))
        return take(request, kind, resource)  # type: ignore[arg-type]

    monkeypatch.setattr(Request, "add_resource", keep)
    with pytest.raises(Harmed, match="nothing is left"):
        await run(range(20), tmp_path, seconds=SECONDS)
