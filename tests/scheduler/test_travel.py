"""What a message takes to another node: data and modules; of everything else the sender is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.scheduler import ExitKind, Request
from luna.scheduler.requests import FoundModule, GuestTrap

from .lab import Lab, open_lab, wait_for
from .pump import A, B, Pump, pid

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
SMALL = '(module (func (export "child")))'
COMPILE = f"""(is32 (process.compile_module @"{SMALL.replace('"', chr(92) + '"')}" 16:i32) 0:i32)"""
MODULE = "(i64.load 16:i32)"
SESSION = 5
FRAME_BYTES = 1 << 20

UNSENDABLE = {
    "socket": """(i32.store 32:i32 0x0100007f:i32)
        (is32 (networking.udp_bind 4:i32 32:i32 0:i32 0:i32 0:i32 40:i32) 0:i32)
        (message.create_data 0:i64 0:i64)
        (drop (message.push_udp_socket (i64.load 40:i32)))""",
    "notice": f"{SURVIVE} (process.link 1:i64 999:i64) (is32 (call $receive_any -1:i64) 1:i32)",
    "modules": f"""{COMPILE} (message.create_data 0:i64 0:i64)
        (loop $again (br_if $again (i64.lt_u (message.push_module {MODULE}) 64:i64)))""",
}


@pytest.mark.parametrize("calls", UNSENDABLE.values(), ids=UNSENDABLE.keys())
@pytest.mark.parametrize(
    "send",
    [
        f"message.send {pid(B, 1)}:i64",
        f"distributed.send {B}:i64 {pid(B, 1)}:i64",
        f"message.send_receive_skip_search {pid(B, 1)}:i64 5:i64 -1:i64",
        f"distributed.send_receive_skip_search {B}:i64 {pid(B, 1)}:i64 5:i64 -1:i64",
    ],
)
async def test_what_cannot_travel_is_an_error_and_lost(pump: Pump, calls: str, send: str) -> None:
    await pump.a.passes(f"""{START} {calls}
        (is32 ({send}) 1:i32)
        (message.create_data 7:i64 0:i64)
        (is32 (message.send (process.process_id)) 0:i32)
        (is32 (call $receive_tag 7:i64 -1:i64) 0:i32))""")
    assert pump.a.runtime.peers.statistics(B).envelopes_out == 0


@pytest.mark.parametrize("calls", UNSENDABLE.values(), ids=UNSENDABLE.keys())
@pytest.mark.parametrize(
    "send", [f"message.send@0.11 {pid(B, 1)}:i64", f"(drop (timer.send_after {pid(B, 1)}:i64 0:i64))"]
)
async def test_calls_without_a_result_for_it_trap(pump: Pump, calls: str, send: str) -> None:
    text = send if send.startswith("(") else f"({send})"
    reason = await pump.a.traps(f"{START} {calls} {text})")
    assert "to another node" in reason


async def test_nothing_to_send_is_a_trap(pump: Pump) -> None:
    assert "there is no message" in await pump.a.traps(f"{START} (drop (message.send {pid(B, 1)}:i64)))")


TAKER = f"""
    {START}
      (is32 (call $receive_any -1:i64) 0:i32)
      (is64 (call $read) 42:i64)
      (is32 (process.spawn 0:i64 -1:i64 (message.take_module 1:i64) @"child" 0:i32 0:i32 64:i32) 0:i32)
      (is32 (process.spawn 0:i64 -1:i64 (message.take_module 0:i64) @"child" 0:i32 0:i32 64:i32) 0:i32)
      (report 1:i64))"""


def sender(target: int) -> str:
    return f"""
    {START}
      {COMPILE}
      (call $write 0:i64 42:i64)
      (is64 (message.push_module {MODULE}) 0:i64)
      (is64 (message.push_module {MODULE}) 1:i64)
      (is32 (message.send {target}:i64) 0:i32)
      (gate))"""


async def test_a_module_that_is_there_is_taken_at_once(pump: Pump) -> None:
    await pump.b.runtime.load_module(SMALL.encode(), "small")
    taker = await pump.b.spawn(TAKER)
    await pump.a.spawn(sender(taker))
    status = await pump.b.wait_exit(taker)
    assert status.kind is ExitKind.NORMAL, status


async def test_a_module_that_is_not_there_is_asked_for_while_the_guest_waits(pump: Pump) -> None:
    asked: list[tuple[bytes, int]] = []

    async def obtain(request: Request) -> FoundModule:
        found = request.native.message_module(int(request.args[0]))
        assert found is not None
        asked.append(found)
        await pump.b.gate.wait()
        return FoundModule(await pump.b.runtime.load_module(SMALL.encode(), "small"))

    pump.b.runtime.set_handler("lunatic::message", "take_module", obtain)
    taker = await pump.b.spawn(TAKER)
    from_ = await pump.a.spawn(sender(taker))
    await wait_for(lambda: asked)
    pump.b.gate.set()
    status = await pump.b.wait_exit(taker)
    assert status.kind is ExitKind.NORMAL, status
    module = await pump.b.runtime.load_module(SMALL.encode(), "small")
    assert asked == [(module.sha256, from_)]  # the second one was there by then


async def test_a_module_that_cannot_be_had_traps_who_takes_it(pump: Pump) -> None:
    def refuse(request: Request) -> int:
        raise GuestTrap("it cannot be had")

    pump.b.runtime.set_handler("lunatic::message", "take_module", refuse)
    taker = await pump.b.spawn(TAKER)
    await pump.a.spawn(sender(taker))
    status = await pump.b.wait_exit(taker)
    assert status.kind is ExitKind.FAILURE
    assert "it cannot be had" in status.reason


async def test_a_guest_that_dies_while_it_waits_for_a_module_leaves_nothing(pump: Pump) -> None:
    async def obtain(request: Request) -> FoundModule:
        pump.b.reports.append(1)
        await pump.b.gate.wait()
        raise AssertionError

    pump.b.runtime.set_handler("lunatic::message", "take_module", obtain)
    taker = await pump.b.spawn(TAKER)
    await pump.a.spawn(sender(taker))
    await wait_for(lambda: pump.b.reports == [1])
    pump.b.runtime.kill(taker)
    await pump.b.wait_exit(taker)


async def test_a_module_travels_on_unseen(pump: Pump) -> None:
    """By its hash alone, through a node that does not have it."""
    taker = await pump.a.spawn(TAKER)
    relay = await pump.b.spawn(f"""{START}
        (is32 (call $receive_any -1:i64) 0:i32) (is32 (message.send {taker}:i64) 0:i32))""")
    await pump.a.spawn(sender(relay))
    status = await pump.a.wait_exit(taker)
    assert status.kind is ExitKind.NORMAL, status


# -- the bytes of a peer ---------------------------------------------------------------------------


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """Node A, which has node B for a peer; the test plays B."""
    async with open_lab(A, held=()) as lab:
        lab.runtime.peers.add_peer(B, SESSION)
        yield lab


def frame(target: int, **fields: Any) -> bytes:
    ends: Any = {"from": pid(B, 1), "to": target}
    message = node_pb2.Message(environment=1, **ends, **fields)
    return node_pb2.Frame(envelopes=[node_pb2.Envelope(message=message)]).SerializeToString()


async def test_modules_go_as_hashes_by_their_index(lab: Lab) -> None:
    module = await lab.runtime.load_module(SMALL.encode(), "small")
    await lab.passes(f"""{START}
        {COMPILE}
        (call $write 9:i64 42:i64)
        (drop (message.push_module {MODULE})) (drop (message.push_module {MODULE}))
        (drop (message.take_module 0:i64))
        (is32 (message.send {pid(B, 1)}:i64) 0:i32))""")
    data = lab.runtime.peers.take_frame(B, SESSION, FRAME_BYTES, b"")
    assert data is not None
    (envelope,) = node_pb2.Frame.FromString(data).envelopes
    assert list(envelope.message.modules) == [b"", module.sha256]
    assert envelope.message.data == (42).to_bytes(8, "little")
    assert envelope.message.tag == 9


@pytest.mark.parametrize("modules", [[b"x"], [b"x" * 31], [b"x" * 33], [b"x" * 32] * 65])
async def test_modules_that_are_no_hashes_or_too_many_are_malformed(lab: Lab, modules: list[bytes]) -> None:
    with pytest.raises(InvalidError):
        lab.runtime.peers.deliver(B, SESSION, frame(pid(A, 1), modules=modules), 0)


async def test_unknown_hashes_in_a_mailbox_are_freed_with_it(lab: Lab) -> None:
    process = await lab.spawn(f"{START} (gate))")
    await wait_for(lambda: lab.at_gate == 1)
    for _ in range(10):
        data = frame(process, modules=[b"x" * 32, b"", b"y" * 32] * 20, data=b"d")
        lab.runtime.peers.deliver(B, SESSION, data, 0)
    lab.gate.set()
    await lab.wait_exit(process)
